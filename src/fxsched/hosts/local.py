"""This machine. Commands are argument vectors in their own process group; no shell reads them."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from fxsched.errors import CommandNotFound, HostUnreachable, OutcomeUnknown
from fxsched.hosts.base import NO_SECRETS, NOTHING, CommandResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fxsched.jobs import Secret

# Who and where the user is. Everything else could change what a command prints, or what it does.
IDENTITY: Final = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "KRB5CCNAME")
DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
CHUNK: Final = 1 << 16
"""Bytes of output that are read at a time."""
LINGER: Final = 1.0
"""Seconds that processes of a command may still go on printing after its end."""


class LocalHost:
    """Runs commands here. ``keep`` names the variables that survive the cleaning of the environment."""

    label = "this machine"

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self._base = {"PATH": DEFAULT_PATH}
        self._base.update({name: os.environ[name] for name in (*IDENTITY, *keep) if name in os.environ})
        self._base["LC_ALL"] = "C"
        self.home: Path | None = Path(self._base.get("HOME") or os.path.expanduser("~"))
        self._base["HOME"] = str(self.home)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        secrets: Mapping[str, Secret] = NO_SECRETS,
        deadline: float,
    ) -> CommandResult:
        """Run ``argv``; see ``Host.run``."""
        revealed = {name: secret.reveal() for name, secret in secrets.items()}
        with _memory(stdin) as given, _memory() as stdout, _memory() as stderr:
            process = start_process(argv, self._base | dict(environment) | revealed, given, stdout, stderr)
            try:
                with anyio.fail_after(deadline):
                    await _ended(process)
                    await _quiet(process.pid)
            except TimeoutError:
                raise OutcomeUnknown(f"{argv[0]} did not answer within {deadline:g} s on {self.label}") from None
            finally:
                await end_process(process)
            code = process.returncode
            return CommandResult(code if code >= 0 else 128 - code, _content(stdout), _content(stderr))


@contextmanager
def _memory(content: bytes = b"") -> Iterator[int]:
    """Give a file in memory, to be a command's input or output.

    Unlike a pipe it takes whatever is written without being read meanwhile, and it does not matter who holds it open:
    OpenPBS 23.06's qsub leaves a process behind that keeps its output for about a minute.
    """
    file = os.memfd_create("fxsched", os.MFD_CLOEXEC)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.pwrite(file, rest, len(content) - len(rest)) :]
        yield file
    finally:
        os.close(file)


def _content(file: int) -> bytes:
    content = b""
    while chunk := os.pread(file, CHUNK, len(content)):
        content += chunk
    return content


def start_process(
    argv: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int, stderr: int
) -> Popen[bytes]:
    """Start ``argv`` as the leader of its own session, so that all of it can be ended together."""
    try:
        return Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True)
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise CommandNotFound(f"{argv[0]} cannot be run on this machine: {error.strerror}") from None
    except (OSError, ValueError) as error:
        raise HostUnreachable(f"{argv[0]} could not be started on this machine: {error}") from None


async def _ended(process: Popen[bytes]) -> None:
    """Wait for a process to end.

    The event loops have ways of their own, which cost more than the start of the process: asyncio makes a thread for
    each, at least before Python 3.12, and pipes that nobody needs here.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # a kernel before 5.3, or a container that forbids it
        await to_thread.run_sync(process.wait, abandon_on_cancel=True)
        return
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    process.wait()


async def _quiet(group: int) -> None:
    """Wait a moment for what a command has left running in its process group, as in ``sbatch "$@" > >(tee log)``."""
    if not _exists(group):
        return
    with anyio.move_on_after(LINGER):
        while _exists(group):  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.01)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def end_process(process: Popen[bytes]) -> None:
    """Leave nothing of the command behind if it was interrupted."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except PermissionError:
                return  # it runs as somebody else, as behind sudo; it has a deadline of its own
        with anyio.CancelScope(shield=True):
            await _ended(process)
