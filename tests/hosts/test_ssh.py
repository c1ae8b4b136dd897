"""The host behind asyncssh, on a server in this process that does what a real one cannot be made to do when it matters.

What a real sshd does is held in tests/real/test_ssh_hosts.py.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import asyncssh
import pytest

from fxsched.errors import AuthenticationFailed, ConfigurationError, HostKeyRejected, HostUnreachable, OutcomeUnknown
from fxsched.hosts import CommandResult, exchange
from fxsched.hosts.framing import COMMAND_LINE
from fxsched.hosts.ssh import SshHost
from fxsched.hosts.target import SshTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Asyncssh knows nothing else."""
    return "asyncio"


class Server(asyncssh.SSHServer):
    """Lets everybody in, unless it is told to ask for more; remembers what it was asked to run."""

    def __init__(self, far: Far) -> None:
        self._far = far

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._far.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return self._far.asks

    def kbdint_auth_supported(self) -> bool:
        return True


class Far:
    """A far host: ``sh`` runs what is asked for, up to ``most`` commands at a time."""

    def __init__(self) -> None:
        self.asks = False
        self.most = 100
        self.running = self.peak = 0
        self.cut: bytes | None = None
        """The connection is cut as soon as this has been printed; b"" is at once."""
        self.shell: str | None = None
        """What the login shell does in place of what it was asked for."""
        self.commands: list[tuple[str | None, dict[str, str]]] = []
        self.connections: list[asyncssh.SSHServerConnection] = []
        self._processes: set[asyncio.subprocess.Process] = set()

    async def end(self) -> None:
        """End what still runs, and wait until nothing does: a loop that is closed before leaves its pipes behind."""
        for command in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(command.pid, signal.SIGKILL)
        with anyio.fail_after(30):
            while self.running:
                await anyio.sleep(0.01)

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands.append((process.command, dict(process.env)))
        if self.running >= self.most:
            process.exit(1)
            return
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await self._run(process)
        finally:
            self.running -= 1

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if self.cut == b"":
            self.connections[-1].abort()
            return
        command = await asyncio.create_subprocess_exec(
            *("sh", "-c", self.shell or process.command or "false"),
            stdin=-1,
            stdout=-1,
            stderr=-1,
            start_new_session=True,
        )
        self._processes.add(command)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._copy, process.stdin, command.stdin)
                async with anyio.create_task_group() as outputs:
                    outputs.start_soon(self._copy, command.stdout, process.stdout)
                    outputs.start_soon(self._copy, command.stderr, process.stderr)
                code = await command.wait()
                with suppress(OSError, asyncssh.Error):
                    process.exit(code)
                tasks.cancel_scope.cancel()
        finally:
            command._transport.close()  # type: ignore[attr-defined]  # asyncio has no other way
            self._processes.discard(command)

    async def _copy(self, reader: Any, writer: Any) -> None:
        seen = b""
        with suppress(OSError, asyncssh.Error):
            while data := await reader.read(4096):
                with suppress(OSError, asyncssh.Error):  # what nobody reads any more is read to its end all the same
                    writer.write(data)
                seen = (seen + data)[-4096:]
                if self.cut and self.cut in seen:
                    self.cut = None
                    self.connections[-1].abort()


@pytest.fixture
async def far() -> Far:
    return Far()


@asynccontextmanager
async def connected(far: Far, directory: Path, **settings: Any) -> AsyncIterator[SshHost]:
    """A host whose server ``far`` is known."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: Server(far),
        server_host_keys=[key],
        process_factory=far.serve,
        encoding=None,
    )
    port = server.get_port()
    known = directory / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    config = directory / "config"
    config.write_text(f"UserKnownHostsFile {known}\nGlobalKnownHostsFile none\nIdentityFile none\nIdentityAgent none\n")
    try:
        async with SshHost(SshTarget("ada", "127.0.0.1", port), config_file=str(config), **settings) as host:
            yield host
    finally:
        await far.end()
        server.close()
        await server.wait_closed()


async def test_a_command_runs_and_only_a_constant_is_asked_for(far: Far, tmp_path: Path) -> None:
    async with connected(far, tmp_path) as host:
        result = await host.run(
            ["/bin/sh", "-c", 'cat; echo "$A$KEY" >&2; exit 3'],
            stdin=b"\xff\0",
            environment={"A": "a", "KEY": "hunter2"},
            deadline=20,
        )
    assert result == CommandResult(3, b"\xff\0", b"ahunter2\n")
    assert far.commands == [(COMMAND_LINE, {})]


async def test_before_the_command_was_sent_a_cut_is_tried_again_and_then_named(far: Far, tmp_path: Path) -> None:
    far.cut = b""
    async with connected(far, tmp_path) as host:
        with pytest.raises(HostUnreachable, match="closes every connection"):
            await host.run(["touch", str(tmp_path / "ran")], deadline=20)
        assert len(far.connections) == exchange.ATTEMPTS + 1
        assert not (tmp_path / "ran").exists()

        far.cut = None
        assert (await host.run(["echo", "at last"], deadline=20)).text == "at last\n"


async def test_after_the_command_was_sent_a_cut_is_an_unknown_outcome_and_the_command_is_ended(
    far: Far, tmp_path: Path
) -> None:
    far.cut = b"done\n"
    async with connected(far, tmp_path) as host:
        with pytest.raises(OutcomeUnknown, match="was lost before /bin/sh answered"):
            await host.run(
                ["/bin/sh", "-c", 'echo done; sleep 600; echo >"$1"', "sh", str(tmp_path / "late")], deadline=600
            )
        with anyio.fail_after(20):
            while far.running:
                await anyio.sleep(0.01)
    assert len(far.connections) == 2
    assert not (tmp_path / "late").exists()


async def test_no_more_commands_run_at_once_than_there_are_channels(far: Far, tmp_path: Path) -> None:
    async with connected(far, tmp_path, channels=3) as host, anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(lambda: host.run(["sleep", "0.05"], deadline=20))
    assert (far.peak, len(far.connections)) == (3, 1)


async def test_a_server_that_asks_at_the_keyboard_is_not_answered(far: Far, tmp_path: Path) -> None:
    far.asks = True
    async with connected(far, tmp_path) as host:
        with pytest.raises(AuthenticationFailed, match="would take answers at the keyboard"):
            await host.run(["true"], deadline=20)
    assert far.commands == []


async def test_the_message_about_an_unknown_key_has_the_line_to_add(far: Far, tmp_path: Path) -> None:
    async with connected(far, tmp_path) as host:
        known = tmp_path / "known_hosts"
        line = known.read_text()
        known.write_text("")
        with pytest.raises(HostKeyRejected) as caught:
            await host.run(["true"], deadline=20)
        command = re.search(r"confirm this fingerprint: (echo .*)", str(caught.value))
        assert command
        subprocess.run(["sh", "-c", command[1]], check=True)
        assert known.read_text().split() == line.split()[:3]
        assert (await host.run(["true"], deadline=20)).exit_code == 0


@pytest.mark.parametrize(
    "line",
    [
        b"login9",
        b"login9 ssh-ed25519 AAAAgarbage",
        b"127.0.0.1 ssh-odd AAAA",
        b"|2|abc|def ssh-ed25519 AAAA",
        b"10.0.0.0/99 {key}",
        b"# B\xfcro",
        b"b\xfcro {key}",
        b"* {certificate}",
    ],
)
async def test_a_line_of_known_hosts_that_cannot_be_read_hinders_no_other(
    far: Far, tmp_path: Path, line: bytes
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    shown = {b"{key}": key.export_public_key(), b"{certificate}": host_certificate(key)}
    for name, value in shown.items():
        line = line.replace(name, value.strip())
    async with connected(far, tmp_path) as host:
        known = tmp_path / "known_hosts"
        good = known.read_bytes().strip() + b" of a B\xfcro\n"
        known.write_bytes(line + b"\n" + good)
        assert (await host.run(["true"], deadline=20)).exit_code == 0

        host._disconnect()
        known.write_bytes(line + b"\n")
        with pytest.raises(HostKeyRejected, match="is not a known host"):
            await host.run(["true"], deadline=20)


def host_certificate(key: asyncssh.SSHKey) -> bytes:
    """A host's certificate, which somebody has taken for its key."""
    authority = asyncssh.generate_private_key("ssh-ed25519")
    return authority.generate_host_certificate(key, "login9", principals=["127.0.0.1"]).export_certificate()


async def test_a_comment_of_known_hosts_makes_no_host_known(far: Far, tmp_path: Path) -> None:
    async with connected(far, tmp_path) as host:
        known = tmp_path / "known_hosts"
        known.write_bytes(b"# \x0c" + known.read_bytes())
        with pytest.raises(HostKeyRejected, match="is not a known host"):
            await host.run(["true"], deadline=20)


async def test_a_revoked_key_is_let_in_by_no_other_line(far: Far, tmp_path: Path) -> None:
    async with connected(far, tmp_path) as host:
        known = tmp_path / "known_hosts"
        known.write_text(f"@revoked * {known.read_text().partition(' ')[2]}\n{known.read_text()}")
        with pytest.raises(HostKeyRejected, match="revoked"):
            await host.run(["true"], deadline=20)


@pytest.mark.parametrize("line", ["@revoked", "@revoked * ssh-ed25519 AAAAgarbage", "@revoke * {key}", "@ * {key}"])
async def test_a_marker_of_known_hosts_that_cannot_be_read_lets_nothing_in(far: Far, tmp_path: Path, line: str) -> None:
    async with connected(far, tmp_path) as host:
        known = tmp_path / "known_hosts"
        good = known.read_text()
        known.write_text(f"{good}\n{line.replace('{key}', good.partition(' ')[2])}\n")
        with pytest.raises(ConfigurationError, match=f"line 3 of {re.escape(str(known))} cannot be read"):
            await host.run(["true"], deadline=20)
    assert far.connections == []


def test_asyncssh_is_loaded_only_for_a_host_behind_it() -> None:
    code = "import sys, fxsched.hosts, fxsched.hosts.openssh, fxsched.hosts.framing; print('asyncssh' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
