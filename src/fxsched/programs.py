"""What the programs have in common: how they write to a standard stream, and how they end."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn, TextIO


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
