"""Commands on a host behind SSH, over both transports, held against a real sshd and what happens to it."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.errors import (
    AuthenticationFailed,
    CommandNotFound,
    ConfigurationError,
    HostKeyRejected,
    HostUnreachable,
    OutcomeUnknown,
)
from fxsched.hosts import CommandResult, exchange
from fxsched.hosts.openssh import OpenSshHost
from fxsched.hosts.ssh import SshHost
from fxsched.hosts.target import SshTarget

from ..contract.site import until_dead, until_text
from .ssh_server import ME, Login, SshServer, keygen, make_key, missing_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fxsched.hosts.exchange import SshTransport

pytestmark = pytest.mark.anyio

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make users")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Asyncssh knows nothing else; for the ssh binary there is one test on trio."""
    return "asyncio"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that other users may enter, unlike pytest's own."""
    if missing := missing_programs():
        pytest.fail(f"not installed: {', '.join(missing)}; run tests/real/install.sh openssh")
    with tempfile.TemporaryDirectory(prefix="sshd-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def server_of_all(place: Path) -> Iterator[SshServer]:
    (place / "banner").write_text("*** noise before everything ***\n")
    with SshServer(place / "server", extra=[f"Banner {place}/banner"]) as server:
        yield server


@pytest.fixture
def server(server_of_all: SshServer) -> SshServer:
    """A server that answers, trusted and trusting, whatever an earlier test did to it."""
    server_of_all.authorize()
    server_of_all.trust()
    server_of_all.configure()
    return server_of_all


@pytest.fixture(scope="module")
def login(place: Path) -> Iterator[str]:
    """The name of somebody whose login shell is quick and quiet."""
    if os.getuid() != 0:
        yield ME
        return
    user = Login(f"fx{secrets.token_hex(4)}", "dash", place / "home", {})
    yield user.name
    user.remove()


@pytest.fixture(params=[SshHost, OpenSshHost], ids=["asyncssh", "openssh"])
def kind(request: pytest.FixtureRequest) -> Callable[..., SshTransport]:
    found: Callable[..., SshTransport] = request.param
    return found


@pytest.fixture
def host(kind: Callable[..., SshHost], server: SshServer, login: str) -> SshHost:
    return kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config), connect_timeout=10)


def sh(text: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", text, "sh", *arguments]


def family(directory: Path) -> list[str]:
    """A command that writes down its own pid and that of a child, and stays."""
    return sh('sleep 300 & echo $! $$ >"$1"; wait', str(directory / "pids"))


async def pids(directory: Path) -> list[int]:
    return [int(word) for word in (await until_text(directory / "pids")).split()]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory in which everybody may write."""
    with tempfile.TemporaryDirectory(prefix="shared-") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


# ── login shells ──────────────────────────────────────────────────────────────────────────────────────────────────

PRINTS = "echo noise on stdout; {err}; printf 'no end of line'"
CSH = PRINTS.format(err='sh -c "echo noise >&2"')
POSIX = PRINTS.format(err="echo noise >&2")
SHELLS = {
    "csh": {".cshrc": f"{CSH}\nalias sh echo no\n"},
    "tcsh": {".tcshrc": f"{CSH}\nset echo\nset verbose\n"},
    "fish": {".config/fish/config.fish": f"{POSIX}\nset -x PATH $PATH /opt/bin\n"},
    "zsh": {".zshenv": f"{POSIX}\nsetopt noclobber\n"},
    "dash": {".profile": f"{POSIX}\n"},
    "bash": {".bashrc": f"{POSIX}\nset -u\n"},
}
EXEC = {
    "csh": {".cshrc": "if ( ! $?AGAIN ) then\n  setenv AGAIN 1\n  echo noise\n  exec zsh\nendif\n"},
    "tcsh": {".tcshrc": "if ( ! $?AGAIN ) then\n  setenv AGAIN 1\n  echo noise\n  exec bash\nendif\n"},
    "zsh": {".zshenv": '[ -n "$AGAIN" ] || { export AGAIN=1; echo noise; exec dash; }\n'},
    "bash": {".bashrc": '[ -n "$AGAIN" ] || { export AGAIN=1; echo noise; exec tcsh; }\n'},
}
RC_FILES = [pytest.param(shell, files, id=f"{shell} prints") for shell, files in SHELLS.items()]
RC_FILES += [pytest.param(shell, files, id=f"{shell} execs") for shell, files in EXEC.items()]


@needs_root
@pytest.mark.parametrize(("shell", "files"), RC_FILES)
async def test_behind_any_login_shell_words_bytes_and_exit_codes_are_exact(
    place: Path, server: SshServer, shell: str, files: dict[str, str]
) -> None:
    odd = 'it\'s "odd" $HOME `id` \\ ! \n * é'
    data = bytes(range(256)) * 200
    name = f"fx{secrets.token_hex(4)}"
    user = Login(name, shell, place / name, files)
    try:
        for kind in (SshHost, OpenSshHost):
            async with kind(SshTarget(name, "127.0.0.1", server.port), config_file=str(server.config)) as host:
                result = await host.run(
                    sh('cat; printf "%s|" "$1" "$A" "$KEY" "$HOME" "$AGAIN"; echo err >&2; exit 3', odd),
                    stdin=data,
                    environment={"A": odd, "KEY": "s e\ncret"},
                    deadline=30,
                )
                expected = f"{odd}|{odd}|s e\ncret|{user.home}||".encode()
                assert result == CommandResult(3, data + expected, b"err\n")
    finally:
        user.remove()


async def test_a_login_that_gives_no_shell_is_named_and_nothing_was_sent(
    kind: Callable[..., SshHost], place: Path, login: str, shared: Path
) -> None:
    with SshServer(place / secrets.token_hex(4), extra=["ForceCommand echo This account is for sftp only"]) as server:
        async with kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config)) as host:
            with pytest.raises(HostUnreachable, match=r"started no /bin/sh for us.* This account is for sftp only"):
                await host.run(family(shared), deadline=20)
    assert not (shared / "pids").exists()


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ten_megabytes_go_both_ways(host: SshHost) -> None:
    data = os.urandom(10_000_000)
    async with host:
        assert await host.run(["cat"], stdin=data, deadline=60) == CommandResult(0, data, b"")


async def test_both_outputs_may_be_large(host: SshHost) -> None:
    async with host:
        result = await host.run(sh("head -c 3000000 /dev/zero; head -c 4000000 /dev/zero >&2"), deadline=60)
    assert (len(result.stdout), len(result.stderr)) == (3_000_000, 4_000_000)


async def test_a_program_that_is_not_there_is_named(host: SshHost) -> None:
    async with host:
        with pytest.raises(CommandNotFound, match=f"no-such-program cannot be run on {re.escape(host.label)}"):
            await host.run(["no-such-program"], deadline=20)


async def test_a_process_that_holds_the_output_open_does_not_delay_the_answer(host: SshHost) -> None:
    begin = time.monotonic()
    async with host:
        result = await host.run(sh("sleep 20 & echo 4217"), deadline=60)
    assert (result.text, time.monotonic() - begin < 10) == ("4217\n", True)


async def test_the_deadline_ends_the_whole_process_group(host: SshHost, shared: Path) -> None:
    async with host:
        with pytest.raises(OutcomeUnknown, match=rf"/bin/sh did not answer within 1\.5 s on {re.escape(host.label)}"):
            await host.run(family(shared), deadline=1.5)
    await until_dead(*await pids(shared))


async def test_a_cancelled_caller_leaves_no_process(host: SshHost, shared: Path) -> None:
    async with host, anyio.create_task_group() as tasks:

        async def run() -> None:
            await host.run(family(shared), deadline=60)

        tasks.start_soon(run)
        members = await pids(shared)
        tasks.cancel_scope.cancel()
    await until_dead(*members)


async def test_a_command_that_was_given_up_while_its_session_opened_leaves_none_open(
    kind: Callable[..., SshHost], place: Path, login: str
) -> None:
    with SshServer(place / secrets.token_hex(4), extra=["MaxSessions 2"]) as server:
        async with kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config)) as host:
            await host.run(["true"], deadline=20)

            async def give_up() -> None:
                with pytest.raises(HostUnreachable, match="nothing was sent"):
                    await host.run(["true"], deadline=0.3)

            for _ in range(3):
                async with anyio.create_task_group() as tasks:
                    with server.paused():
                        tasks.start_soon(give_up)
                        await anyio.sleep(0.6)
            assert (await host.run(["echo", "in"], deadline=10)).text == "in\n"
            assert server.connections() == 1


async def test_two_hundred_commands_share_one_connection(host: SshHost, server: SshServer) -> None:
    before = server.connections()
    answers = set()

    async def run(number: int) -> None:
        answers.add((await host.run(["cat"], stdin=str(number).encode(), deadline=100)).text)

    async with host, anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(run, number)
    assert answers == {str(number) for number in range(200)}
    assert server.connections() == before + 1
    assert host.slots.limit == 8


async def test_refused_sessions_halve_their_number_and_it_recovers(
    kind: Callable[..., SshHost], server: SshServer, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config), channels=16)
    done = []

    async def run() -> None:
        done.append(await host.run(["sleep", "1"], deadline=60))

    async with host:
        async with anyio.create_task_group() as tasks:
            for _ in range(24):
                tasks.start_soon(run)
        assert done == [CommandResult(0, b"", b"")] * 24
        limit = host.slots.limit
        assert 2 <= limit <= 8
        monkeypatch.setattr(exchange, "RECOVERY", 0)
        await run()
        assert host.slots.limit == 2 * limit


# ── what is known when it breaks ──────────────────────────────────────────────────────────────────────────────────


async def test_cut_connections_are_made_anew_and_what_ran_is_ended_before_its_outcome_is_unknown(
    host: SshHost, server: SshServer, shared: Path
) -> None:
    begin = time.monotonic()
    async with host:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                with pytest.raises(
                    OutcomeUnknown, match=f"connection to {re.escape(host.label)} was lost before /bin/sh"
                ):
                    await host.run(family(shared), deadline=60)

            tasks.start_soon(run)
            members = await pids(shared)
            server.kill_sessions()
        assert time.monotonic() - begin < 30
        await until_dead(*members)
        assert (await host.run(["echo", "again"], deadline=20)).text == "again\n"


async def test_a_connection_that_died_while_nothing_ran_is_not_noticed(host: SshHost, server: SshServer) -> None:
    async with host:
        for number in range(3):
            assert (await host.run(["echo", str(number)], deadline=20)).text == f"{number}\n"
            server.kill_sessions()


async def test_a_master_that_was_killed_is_replaced(server: SshServer, login: str) -> None:
    async with OpenSshHost(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config)) as host:
        await host.connect()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            if (
                path.exists()
                and b"fxsched-ssh-" in path.read_bytes()
                and f"{server.port}".encode() in path.read_bytes()
            ):
                os.kill(int(path.parent.name), 9)
        assert (await host.run(["echo", "again"], deadline=20)).text == "again\n"


async def test_a_server_that_is_killed_for_good_leaves_an_unknown_outcome_and_no_orphan_beyond_the_deadline(
    kind: Callable[..., SshHost], place: Path, login: str, shared: Path
) -> None:
    with SshServer(place / secrets.token_hex(4)) as server:
        host = kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config), connect_timeout=5)
        outcome: list[Exception] = []
        async with host, anyio.create_task_group() as tasks:

            async def run() -> None:
                with pytest.raises(OutcomeUnknown) as caught:
                    await host.run(family(shared), deadline=4)
                outcome.append(caught.value)

            tasks.start_soon(run)
            members = await pids(shared)
            server.kill()
        assert "was lost before /bin/sh answered" in str(outcome[0])
        await until_dead(*members)

        async with host:
            with pytest.raises(HostUnreachable, match="cannot be reached"):
                await host.run(["true"], deadline=10)
            server.start()
            assert (await host.run(["echo", "back"], deadline=20)).text == "back\n"


async def test_a_server_that_hangs_in_mid_command_has_an_unknown_outcome_and_then_goes_on(
    host: SshHost, server: SshServer, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ENDING", 1.0)
    async with host:
        await host.connect()
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                with pytest.raises(OutcomeUnknown, match="did not answer within 4 s"):
                    await host.run(family(shared), deadline=4)
                done.set()

            done = anyio.Event()
            tasks.start_soon(run)
            members = await pids(shared)
            with server.paused():
                await done.wait()
                # Nobody could tell it to end; it did so by itself.
                await until_dead(*members)
                with pytest.raises(HostUnreachable, match="nothing was sent"):
                    await host.run(["true"], deadline=1)
        assert (await host.run(["echo", "again"], deadline=20)).text == "again\n"


async def test_a_dead_host_costs_one_timeout_however_many_commands_wait(kind: Callable[..., SshHost]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        host = kind(SshTarget(ME, "127.0.0.1", silent.getsockname()[1]), connect_timeout=1.5)
        begin = time.monotonic()

        async def run() -> None:
            with pytest.raises(HostUnreachable, match=r"cannot be reached: no connection within 1\.5 s"):
                await host.run(["true"], deadline=30)

        async with host, anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(run)
        assert time.monotonic() - begin < 5


# ── host keys ─────────────────────────────────────────────────────────────────────────────────────────────────────

NOT_CHECKED = ("StrictHostKeyChecking no", "CheckHostIP no", "NoHostAuthenticationForLocalhost yes")


def mend(error: HostKeyRejected, place: Path) -> None:
    """Do what the message says, and say yes where ssh asks."""
    command = re.search(r"confirm the fingerprint(?: that this shows)?: (.*?)(?:\. ssh said:|$)", str(error), re.DOTALL)
    command = command or re.search(r"confirm this fingerprint: (.*)$", str(error))
    assert command, error
    yes = place / "yes"
    yes.write_text("#!/bin/sh\necho yes\n")
    yes.chmod(0o755)
    environment = {**os.environ, "SSH_ASKPASS": str(yes), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}
    subprocess.run(["sh", "-c", command[1]], env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("known", ["unknown", "changed", "changed and hashed"])
async def test_a_host_that_is_not_known_is_refused_until_the_command_in_the_message_has_run(
    host: SshHost, server: SshServer, place: Path, known: str
) -> None:
    server.configure(*NOT_CHECKED)
    server.known_hosts.write_text("")
    if known != "unknown":
        other = server.client_key.with_suffix(".pub").read_text()
        server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    if "hashed" in known:
        keygen("-H", "-f", str(server.known_hosts))
    words = "is not a known host" if known == "unknown" else "has another key than the known one"
    before = server.connections()

    async with host:
        with pytest.raises(HostKeyRejected, match=f"{re.escape(host.label)} {words}") as caught:
            await host.run(["true"], deadline=20)
        assert server.connections() == before
        mend(caught.value, place)
        assert (await host.run(["echo", "trusted"], deadline=20)).text == "trusted\n"


async def test_no_configuration_turns_checking_off(host: SshHost, server: SshServer) -> None:
    server.configure(*NOT_CHECKED, "UserKnownHostsFile none", "GlobalKnownHostsFile none")
    async with host:
        with pytest.raises(HostKeyRejected):
            await host.run(["true"], deadline=20)


async def test_hashed_hosts_are_known(host: SshHost, server: SshServer) -> None:
    keygen("-H", "-f", str(server.known_hosts))
    async with host:
        assert (await host.run(["echo", "known"], deadline=20)).text == "known\n"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_host_may_show_a_certificate_of_a_known_authority(
    kind: Callable[..., SshHost], place: Path, login: str, trusted: bool
) -> None:
    directory = place / secrets.token_hex(4)
    with SshServer(directory, extra=[f"HostCertificate {directory}/host_key-cert.pub"]) as server:
        server.kill()
        keygen("-s", str(server.ca), "-I", "host", "-h", "-n", "127.0.0.1", str(server.host_key))
        server.start()
        authority = server.ca if trusted else server.client_key
        server.known_hosts.write_text(f"@cert-authority * {authority.with_suffix('.pub').read_text()}")
        async with kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config)) as host:
            if trusted:
                assert (await host.run(["echo", "certified"], deadline=20)).text == "certified\n"
            else:
                with pytest.raises(HostKeyRejected):
                    await host.run(["true"], deadline=20)


# ── logging in ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("validity", ["-1h:+1h", "-2h:-1h"], ids=["valid", "expired"])
async def test_a_certificate_lets_in_until_it_expires(
    host: SshHost, server: SshServer, login: str, validity: str, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "certified")
    keygen("-s", str(server.ca), "-I", "ada", "-n", login, "-V", validity, str(key))
    server.configure(f"CertificateFile {key}-cert.pub", f"IdentityFile {key}", key=key)
    async with host:
        if validity.startswith("-1h"):
            assert (await host.run(["echo", "in"], deadline=20)).text == "in\n"
        else:
            with pytest.raises(AuthenticationFailed, match="with none of our keys, certificates and tickets"):
                await host.run(["true"], deadline=20)


async def test_an_agent_is_enough(
    host: SshHost, server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[..., SshHost]
) -> None:
    keyless = server.directory / "agent_config"
    keyless.write_text(f"UserKnownHostsFile {server.known_hosts}\nIdentityFile /nonexistent\n")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        socket_path = f"{directory}/agent"
        with subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL) as agent:
            try:
                while not os.path.exists(socket_path):
                    await anyio.sleep(0.01)
                environment = {**os.environ, "SSH_AUTH_SOCK": socket_path}
                subprocess.run(["ssh-add", "-q", str(server.client_key)], env=environment, check=True)
                monkeypatch.setenv("SSH_AUTH_SOCK", socket_path)
                async with kind(host.target, config_file=str(keyless)) as with_agent:
                    assert (await with_agent.run(["echo", "in"], deadline=20)).text == "in\n"
                monkeypatch.delenv("SSH_AUTH_SOCK")
                async with kind(host.target, config_file=str(keyless)) as without:
                    with pytest.raises(AuthenticationFailed):
                        await without.run(["true"], deadline=20)
            finally:
                agent.terminate()


async def test_an_account_that_wants_a_password_fails_at_once_and_says_so(
    kind: Callable[..., SshHost], place: Path, login: str
) -> None:
    extra = ["PasswordAuthentication yes", "PubkeyAuthentication no"]
    with SshServer(place / secrets.token_hex(4), extra=extra) as server:
        begin = time.monotonic()
        async with kind(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config)) as host:
            with pytest.raises(AuthenticationFailed, match="it would take a password, which needs a human"):
                await host.run(["true"], deadline=30)
        assert time.monotonic() - begin < 5


# ── configuration ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_jump_hosts_are_passed_one_after_another(
    kind: Callable[..., SshHost], place: Path, server: SshServer, login: str
) -> None:
    with SshServer(place / secrets.token_hex(4)) as gate:
        gate.authorize()
        server.known_hosts.write_text(server.known_hosts.read_text() + gate.known_hosts.read_text())
        gate.keys.write_text(server.keys.read_text())
        server.configure(
            *("Host gate", "HostName 127.0.0.1", f"Port {gate.port}", f"User {login}"),
            *("Host inner", "HostName 127.0.0.1", f"Port {server.port}", f"User {login}", "ProxyJump gate,inner-gate"),
            *("Host inner-gate", "HostName 127.0.0.1", f"Port {server.port}", f"User {login}"),
            *("Host *", "SendEnv LANG", "RequestTTY force", "RemoteCommand none"),
        )
        begin, before = gate.connections(), server.connections()
        async with kind(SshTarget(None, "inner", None), config_file=str(server.config)) as host:
            assert (await host.run(["echo", "inside"], deadline=30)).text == "inside\n"
            assert (await host.run(["id", "-un"], deadline=30)).text == f"{login}\n"
        assert (gate.connections() - begin, server.connections() - before) == (1, 2)

        gate.known_hosts.write_text("")
        server.trust()
        async with kind(SshTarget(None, "inner", None), config_file=str(server.config)) as host:
            with pytest.raises((HostKeyRejected, HostUnreachable), match=r"known host|cannot be reached"):
                await host.run(["true"], deadline=30)


async def test_a_configuration_that_is_not_there_is_an_error(kind: Callable[..., SshHost]) -> None:
    async with kind(SshTarget(None, "login1", None), config_file="/nonexistent/config") as host:
        with pytest.raises(
            ConfigurationError, match=r"SSH configuration for login1 cannot be used.*/nonexistent/config"
        ):
            await host.run(["true"], deadline=20)


async def test_a_master_connection_of_the_user_is_used_and_left_open(
    server: SshServer, login: str, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        server.configure(f"ControlPath {directory}/%C")
        ssh = ["ssh", "-F", str(server.config), "-p", str(server.port), "-l", login]
        subprocess.run([*ssh, "-M", "-N", "-f", "127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        try:
            server.keys.write_text("")  # nobody gets in any more, but by that connection
            async with OpenSshHost(SshTarget(login, "127.0.0.1", server.port), config_file=str(server.config)) as host:
                assert (await host.run(["echo", "in"], deadline=20)).text == "in\n"
            assert subprocess.run([*ssh, "-O", "check", "127.0.0.1"], check=False, capture_output=True).returncode == 0
        finally:
            subprocess.run([*ssh, "-O", "exit", "127.0.0.1"], check=True, capture_output=True)


# ── event loops ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_the_ssh_binary_does_everything_and_asyncssh_says_why_not(
    server: SshServer, login: str, anyio_backend: str
) -> None:
    target = SshTarget(login, "127.0.0.1", server.port)
    async with OpenSshHost(target, config_file=str(server.config)) as host:
        assert await host.run(["cat"], stdin=b"x" * 1_000_000, deadline=20) == CommandResult(0, b"x" * 1_000_000, b"")
    async with SshHost(target, config_file=str(server.config)) as other:
        with pytest.raises(ConfigurationError, match=r'needs asyncio.*write transport = "openssh"'):
            await other.run(["true"], deadline=20)
