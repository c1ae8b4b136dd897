"""What every kind of host says of a command that gave no answer, and what none of them waits for."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fxsched.errors import ConfigurationError, HostKeyRejected, HostUnreachable, OutcomeUnknown
from fxsched.hosts import LocalHost, exchange, local
from fxsched.hosts.base import quoted
from fxsched.hosts.become import SudoHost
from fxsched.hosts.failover import FailoverHost
from fxsched.hosts.opening import HostSettings, check_hosts
from fxsched.hosts.openssh import OpenSshHost
from fxsched.hosts.pool import Pool
from fxsched.hosts.ssh import SshHost
from fxsched.hosts.target import SshTarget

from .test_become import FAKE_SUDO
from .test_ssh import Far, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fxsched.hosts import Host

pytestmark = pytest.mark.anyio

# A far login that connects at once, and whose sessions are those of this machine.
FAKE_SSH = """#!/bin/sh
for word; do last=$word; done
case " $* " in
*" -G "*) exit ;;
*" -M "*) for word; do [ "$before" != -S ] || : >"$word"; before=$word; done; exit ;;
*" -O "*) exit ;;
esac
eval "$last"
"""
SAYS = ["/bin/sh", "-c", "echo SLURM_CONF is bad >&2; printf 'half \\033[31ma line'; sleep 60"]


@pytest.fixture
def anyio_backend() -> str:
    """Asyncssh knows nothing else."""
    return "asyncio"


@pytest.fixture
def programs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts programs first on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(**texts: str) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    return put


@pytest.fixture(params=["local", "sudo", "asyncssh", "openssh", "failover", "pool", "sudo over asyncssh"])
async def host(request: pytest.FixtureRequest, programs: Any, tmp_path: Path) -> AsyncIterator[Host]:
    """A host of each kind, all of them this machine in the end."""
    programs(sudo=FAKE_SUDO, ssh=FAKE_SSH)
    match request.param:
        case "local":
            yield LocalHost()
        case "sudo":
            yield SudoHost(LocalHost(), "ada")
        case "failover":
            yield FailoverHost([LocalHost(), LocalHost()])
        case "pool":
            yield Pool({"a": LocalHost()})
        case "openssh":
            async with OpenSshHost(SshTarget(None, "login1", None)) as host:
                yield host
        case kind:
            async with connected(Far(), tmp_path) as far:
                yield SudoHost(far, "ada") if "sudo" in kind else far


# ── words are not lost ────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_command_had_printed_when_its_time_was_over_is_told(host: Host) -> None:
    with pytest.raises(OutcomeUnknown, match="did not answer") as caught:
        await host.run(SAYS, deadline=1)

    # "Killed" is the word of the shell that stands for sudo.
    told = str(caught.value).replace("Killed ", "")
    assert told.endswith("It had printed: SLURM_CONF is bad half a line")


async def test_a_command_that_said_nothing_is_not_quoted(host: Host) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        await host.run(["/bin/sleep", "60"], deadline=0.5)

    assert "printed" not in str(caught.value).removesuffix(". It had printed: Killed")


async def test_a_lost_connection_does_not_lose_what_had_come(tmp_path: Path) -> None:
    far = Far()
    far.cut = b"cut here"
    async with connected(far, tmp_path) as host:
        with pytest.raises(OutcomeUnknown, match=r"was lost before .* It had printed: job 7 accepted"):
            await host.run(["/bin/sh", "-c", "echo job 7 accepted; sleep 0.5; echo cut' 'here; sleep 60"], deadline=20)


@pytest.mark.parametrize("kind", ["asyncssh", "openssh"])
async def test_a_login_shell_that_asks_something_is_quoted(kind: str, programs: Any, tmp_path: Path) -> None:
    asks = "printf 'Last login: today\\nPassword: '; exec cat >/dev/null"
    programs(ssh=FAKE_SSH.replace('eval "$last"', asks))
    far = OpenSshHost(SshTarget(None, "login1", None)) if kind == "openssh" else connected(asking(asks), tmp_path)

    async with far as host:
        with pytest.raises(HostUnreachable, match=r"sent\. Its login shell said: Last login: today Password:"):
            await host.run(["true"], deadline=1)


def asking(shell: str) -> Far:
    """A far host whose login shell has a mind of its own."""
    far = Far()
    far.shell = shell
    return far


async def test_what_ssh_said_before_it_was_given_up_is_told(programs: Any) -> None:
    programs(ssh=FAKE_SSH.replace('*" -M "*)', '*" -M "*) echo "Verification code: " >&2; sleep 60;;\nx)'))

    async with OpenSshHost(SshTarget(None, "login1", None), connect_timeout=1.0) as host:
        with pytest.raises(HostUnreachable, match=r"no connection within 1 s. ssh said: Verification code:"):
            await host.run(["true"], deadline=20)


async def test_what_sudo_asks_is_told(programs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsched.hosts.become._ENDING", 0.2)
    programs(sudo="#!/bin/sh\necho 'Duo: approve on your telephone' >&2\nexec sleep 60\n")

    with pytest.raises(OutcomeUnknown, match="It had printed: Duo: approve on your telephone"):
        await SudoHost(LocalHost(), "ada").run(["true"], deadline=0.1)


def test_what_is_quoted_is_one_line_of_moderate_length() -> None:
    assert quoted(b"\x1b]0;title\x07a\r\n\x1b[1;31mb\x00c\xff", b"", b" d ") == "a b c\ufffd d"
    long = quoted(b"begin " + b"x" * 100_000 + b" end")
    assert (long[:5], long[-3:], len(long)) == ("begin", "end", 503)


# ── nothing without end ───────────────────────────────────────────────────────────────────────────────────────────

FLOOD = "echo bad configuration; exec yes >&{}"


@pytest.mark.parametrize("stream", [1, 2])
async def test_a_command_that_prints_without_end_is_ended(
    host: Host, stream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LIMIT", 1_000_000)
    monkeypatch.setattr(exchange, "LIMIT", 1_000_000)

    with pytest.raises(OutcomeUnknown, match=r"more than 1000000 bytes.* It had printed: .*bad configuration"):
        await host.run(["/bin/sh", "-c", f"exec 2>&1; {FLOOD.format(stream)}"], deadline=60)


async def test_a_login_shell_that_prints_without_end_is_not_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LIMIT", 100_000)

    async with connected(asking("yes | head -c 200000; exec cat"), tmp_path) as host:
        with pytest.raises(HostUnreachable, match="more than 100000 bytes"):
            await host.run(["true"], deadline=60)


@pytest.mark.parametrize("deadline", [0, -1, math.inf, math.nan])
async def test_what_is_no_time_for_a_command_runs_none(host: Host, deadline: float, tmp_path: Path) -> None:
    with pytest.raises(HostUnreachable, match="no time for a command"):
        await host.run(["touch", str(tmp_path / "ran")], deadline=deadline)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_connect_timeout_is_a_time(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="more than 0 and finite"):
        check_hosts(HostSettings(connect_timeout=seconds))


@pytest.mark.parametrize("name", ["config", "known_hosts", "key"])
async def test_a_pipe_in_a_file_s_place_is_not_waited_for(name: str, tmp_path: Path) -> None:
    async with connected(Far(), tmp_path) as host:
        os.mkfifo(tmp_path / "fifo")
        config = tmp_path / "config"
        match name:
            case "config":
                host.config_file = str(tmp_path / "fifo")
            case "known_hosts":
                config.write_text(f"UserKnownHostsFile {tmp_path / 'fifo'}\nGlobalKnownHostsFile none\n")
            case "key":
                config.write_text(config.read_text().replace("IdentityFile none", f"IdentityFile {tmp_path / 'fifo'}"))

        if name == "key":
            assert (await host.run(["echo", "in"], deadline=20)).text == "in\n"
        else:
            with pytest.raises((ConfigurationError, HostKeyRejected), match=r"no regular file|is not a known host"):
                await host.run(["echo", "in"], deadline=20)


# ── nothing undeclared ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
async def test_a_tmp_that_cannot_be_written_is_named(
    number: int, programs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(ssh=FAKE_SSH)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse(number))

    async with OpenSshHost(SshTarget(None, "login1", None)) as host:
        with pytest.raises(HostUnreachable, match=f"login1 cannot be reached: .* in /tmp of .*{os.strerror(number)}"):
            await host.run(["true"], deadline=20)


@pytest.mark.parametrize(
    ("call", "number"),
    [("os.pipe", errno.EMFILE), ("os.memfd_create", errno.ENFILE), ("fxsched.hosts.local.Popen", errno.EAGAIN)],
)
async def test_a_command_that_could_not_be_prepared_was_certainly_not_run(
    call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, refuse(number))

    with pytest.raises(HostUnreachable, match=os.strerror(number)):
        await LocalHost().run(["cat"], stdin=b"x", deadline=20)


@pytest.mark.parametrize("call", ["os.pipe", "fxsched.hosts.local.Popen"])
async def test_a_session_for_which_ssh_cannot_be_started_was_certainly_not_run(
    call: str, programs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(ssh=FAKE_SSH)
    async with OpenSshHost(SshTarget(None, "login1", None)) as host:
        await host.connect()
        with monkeypatch.context() as context:
            context.setattr(call, refuse(errno.EMFILE))
            with pytest.raises(HostUnreachable, match=os.strerror(errno.EMFILE)):
                await host.run(["true"], deadline=20)


def refuse(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


async def test_an_input_for_which_there_is_no_room_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr(local, "_memory", lambda: full.open("r+b", buffering=0))

    with pytest.raises(HostUnreachable, match="No space left on device"):
        await LocalHost().run(["touch", str(tmp_path / "ran")], stdin=b"x", deadline=20)

    assert not (tmp_path / "ran").exists()


async def test_a_command_that_cannot_be_waited_for_may_have_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyio.wait_readable", refuse(errno.ENOMEM))

    with pytest.raises(OutcomeUnknown, match=r"was started on this machine, but .*Cannot allocate memory"):
        await LocalHost().run(["/bin/sleep", "60"], deadline=20)


async def test_an_odd_word_starts_nothing(host: Host) -> None:
    with pytest.raises(HostUnreachable, match="could not be started"):
        await host.run(["echo", "half \ud800"], deadline=20)


async def test_a_host_s_name_that_no_resolver_takes_cannot_be_reached() -> None:
    async with SshHost(SshTarget(None, "a" * 70 + ".example", 22), config_file=os.devnull) as host:
        with pytest.raises(HostUnreachable, match="cannot be reached"):
            await host.run(["true"], deadline=20)


def test_streams_that_are_closed_are_no_hindrance() -> None:
    program = (
        "import anyio, os\n"
        "from fxsched.hosts import LocalHost\n"
        "for end in (0, 1, 2): os.close(end)\n"
        "got = anyio.run(lambda: LocalHost().run(['sh', '-c', 'cat; echo err >&2'], stdin=b'in', deadline=20))\n"
        "os._exit(0 if (got.stdout, got.stderr) == (b'in', b'err\\n') else 9)\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
