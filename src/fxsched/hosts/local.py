"""This machine. Commands are argument vectors in their own process group; no shell reads them."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing, contextmanager, suppress
from fcntl import fcntl
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen, SubprocessError
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Final

import anyio

from fxsched.errors import CommandNotFound, HostUnreachable
from fxsched.hosts.base import LIMIT, NOTHING, CommandResult, check_deadline, unanswered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from io import FileIO


# Who and where the user is. Everything else could change what a command prints, or what it does.
IDENTITY: Final = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "KRB5CCNAME")
DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_SHARED: Final = "/dev/shm"  # noqa: S108 - what is put there has no name
"""Where files are in memory (shm_overview(7))."""
_LARGE: Final = 1 << 19
"""Bytes that standard output's pipe holds: what most commands print fits, and none of them has to wait. A user may have
64 MiB of such pipes before new ones become small (pipe(7))."""
_SET_SIZE: Final = 1031
"""F_SETPIPE_SZ, which not every build of Python has."""
_PAUSE: Final = 0.02
_BUSY: Final = 0.005
_IDLE: Final = 0.1
"""Seconds between two looks at a command's output: the first, while it prints, and at most while it prints nothing."""
LINGER: Final = 1.0
"""Seconds that processes of a command may still go on printing after its end."""
ENDING: Final = 2.0
"""Seconds that a killed command has to end: one that waits for a file server that hangs does not."""


class LocalHost:
    """Runs commands here. ``keep`` names the variables that survive the cleaning of the environment."""

    label = "this machine"

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self._base = {"PATH": DEFAULT_PATH}
        self._base.update({name: os.environ[name] for name in (*IDENTITY, *keep) if name in os.environ})
        self._base["LC_ALL"] = "C"
        self.home: Path | None = Path(self._base.get("HOME") or os.path.expanduser("~"))
        self._base["HOME"] = str(self.home)
        _heed_children()

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        deadline: float,
    ) -> CommandResult:
        """Run ``argv``; see ``Host.run``."""
        check_deadline(deadline, argv, self.label)
        variables = self._base | dict(environment)
        with _input(stdin) as given, closing(_Output(_LARGE)) as stdout, closing(_Output()) as stderr:
            process = start_process(argv, variables, given, stdout.writer, stderr.writer)
            try:
                stdout.handed_over()
                stderr.handed_over()
                with anyio.fail_after(deadline):
                    await _ended(process, stdout, stderr)
                    code = _exit_code(process)
                    if code is None:
                        raise unanswered(
                            f"{argv[0]} ended on {self.label}, and nobody knows how: this process ignores SIGCHLD, or "
                            "something else in it waits for all children",
                            stdout.content(),
                            stderr.content(),
                        )
                    await _quiet(process.pid, stdout, stderr)
            except TimeoutError:
                why = f"did not answer within {deadline:g} s on {self.label}"
                raise unanswered(f"{argv[0]} {why}", stdout.content(), stderr.content()) from None
            except _FloodError:
                why = f"printed more than {LIMIT} bytes on {self.label}, and was ended"
                raise unanswered(f"{argv[0]} {why}", stdout.content(), stderr.content()) from None
            except OSError as error:
                why = f"was started on {self.label}, but could not be waited for: {error.strerror}"
                raise unanswered(f"{argv[0]} {why}", stdout.content(), stderr.content()) from None
            finally:
                await end_process(process)
            return CommandResult(code if code >= 0 else 128 - code, stdout.content(), stderr.content())


def _heed_children() -> None:
    """Take it back if whoever started us ignores SIGCHLD, which is inherited: exit codes would be thrown away."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN and current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextmanager
def _input(content: bytes) -> Iterator[int]:
    """Give a command's input as a file: nobody has to feed it, and nobody minds if it is not read."""
    if not content:
        yield DEVNULL
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_memory())
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            file.seek(0)
        except OSError as error:
            raise no_start(error) from error
        try:
            yield file.fileno()
        except BaseException:
            file.truncate(0)  # sudo, which we may not end, and which has not begun its command yet, never will
            raise


def _memory() -> FileIO:
    """Open a file that has no name, in memory: it may hold a secret."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("fxsched", os.MFD_CLOEXEC), "w+b", buffering=0)
    from tempfile import TemporaryFile

    return TemporaryFile(buffering=0, dir=_SHARED if os.access(_SHARED, os.W_OK) else None)


def no_start(error: OSError) -> HostUnreachable:
    """Return the error for a command that cannot even be prepared, for want of descriptors, memory or room."""
    return HostUnreachable(f"no command can be started on this machine: {error.strerror}")


class _FloodError(Exception):
    """A command prints without end."""


class _Output:
    """A pipe that a command prints into, and that is read from time to time.

    Its end does not matter: OpenPBS 23.06's qsub leaves a process behind that holds its output for about a minute.
    Nor would a file do, which need not be read meanwhile: ``echo x >/dev/stderr``, in a wrapper, cuts a file off.
    """

    def __init__(self, size: int | None = None) -> None:
        try:
            self._reader, self.writer = os.pipe()
        except OSError as error:
            raise no_start(error) from error
        self._open = {self._reader, self.writer}
        self._content = bytearray()
        os.set_blocking(self._reader, False)
        if size:
            with suppress(OSError):
                fcntl(self._reader, _SET_SIZE, size)

    def handed_over(self) -> None:
        """The command has its end of the pipe now; ours of it is closed."""
        self._open.remove(self.writer)
        os.close(self.writer)

    def read(self) -> int:
        """Take what has been printed meanwhile, and return how much that is."""
        try:
            printed = os.read(self._reader, _LARGE)
        except BlockingIOError:
            return 0
        self._content += printed
        return len(printed)

    def __len__(self) -> int:
        return len(self._content)

    def content(self) -> bytes:
        """Return all that was printed up to now."""
        while len(self) <= LIMIT and self.read() == _LARGE:
            pass  # a page, and so a pipe, is larger on some machines
        return bytes(self._content)

    def close(self) -> None:
        """Let go of it."""
        for end in self._open:
            os.close(end)


def start_process(
    argv: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int, stderr: int
) -> Popen[bytes]:
    """Start ``argv`` as the leader of its own session, so that all of it can be ended together."""
    try:
        return Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True)
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise CommandNotFound(f"{argv[0]} cannot be run on this machine: {error.strerror}") from None
    except (OSError, ValueError, SubprocessError) as error:
        raise HostUnreachable(f"{argv[0]} could not be started on this machine: {error}") from None


async def _ended(process: Popen[bytes], *outputs: _Output) -> None:
    """Wait for a process to end, and read its output from time to time: a pipe that is full would stop it.

    The event loops have ways of their own, which cost more than the start of the process: asyncio makes a thread for
    each, at least before Python 3.12, and readers of pipes, of which the usual short command needs none.
    """
    pause = _PAUSE
    with _end_of(process.pid) as end:
        while True:
            with anyio.move_on_after(pause):
                await end()
                break
            pause = _BUSY if _read(outputs) else min(2 * pause, _IDLE)


def _exit_code(process: Popen[bytes]) -> int | None:
    """Return how a process ended that has ended; None if somebody else was told. ``Popen`` would take that for 0."""
    try:
        _, status = os.waitpid(process.pid, 0)
    except ChildProcessError:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


@contextmanager
def _end_of(pid: int) -> Iterator[Callable[[], Awaitable[None]]]:
    """Give a way to wait for a child to end."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # Python built for old systems; a kernel before 5.3; a container that forbids it
        yield partial(_poll, pid)
        return
    try:
        yield partial(anyio.wait_readable, descriptor)
    finally:
        os.close(descriptor)


async def _poll(pid: int) -> None:
    with suppress(ChildProcessError):
        while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):  # noqa: ASYNC110, ASYNC222 - no event
            await anyio.sleep(_BUSY)


async def _quiet(group: int, *outputs: _Output) -> None:
    """Wait a moment for what a command has left running in its process group, as in ``sbatch "$@" > >(tee log)``."""
    if not _exists(group):
        return
    with anyio.move_on_after(LINGER):
        while _exists(group):
            await anyio.sleep(_BUSY)
            _read(outputs)


def _read(outputs: Collection[_Output]) -> int:
    printed = sum([output.read() for output in outputs])
    if any(len(output) > LIMIT for output in outputs):
        raise _FloodError
    return printed


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def end_process(process: Popen[bytes]) -> None:
    """Leave nothing of the command behind if it was interrupted, but what the kernel itself cannot end yet."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except PermissionError:
                return  # it runs as somebody else, as behind sudo; it has a deadline of its own
        with anyio.move_on_after(ENDING, shield=True):
            await _poll(process.pid)  # which needs nothing that may be wanting
        process.poll()
