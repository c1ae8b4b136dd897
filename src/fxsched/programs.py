"""What the programs have in common: how they open what may be no file, write to a standard stream, stop, and end."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import BinaryIO, NoReturn, TextIO


STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask a program to end."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read it. A pipe in its place, which might never end, is no file.

    Raises:
        OSError: it is not there, cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))


def write_line(stream: TextIO | None, text: str) -> None:
    """Write a line as UTF-8, whatever the locale, and past all buffers: what fails, fails here and not at the exit.

    Raises:
        OSError: it could not be written; the stream may be closed, which makes it None.
    """
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    data = f"{text}\n".encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(stream.fileno(), data) :]


async def until_stopped(work: Callable[[], Awaitable[None]], *, decided: Callable[[], bool]) -> int | None:
    """Do ``work``; a signal that asks the program to end cancels it, as long as it is not ``decided``.

    Returns:
        the signal that did so; None if none did. From then on such signals are ignored: what has been decided stands.
    """
    failure: Exception | None = None
    stopped_by: int | None = None

    async def stop() -> None:
        nonlocal stopped_by
        try:
            with anyio.open_signal_receiver(*STOPS) as signals:
                ready.set()
                async for number in signals:
                    if not decided():
                        stopped_by = stopped_by or number
                        tasks.cancel_scope.cancel()
        finally:
            # Now it is decided, and a signal that ended the program here would make it look otherwise.
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)

    ready = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        await ready.wait()
        try:
            await work()
        except Exception as error:  # kept out of the task group, which would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return stopped_by


def leave(code: int) -> NoReturn:
    """End the process, whatever still hangs: the interpreter would wait for every thread, and complain of every stream.

    A thread that waits for files on a home directory that is out of reach may never end, and nobody needs it any more.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        os._exit(code)
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)
