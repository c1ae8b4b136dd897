"""What the programs have in common: how they write to a standard stream."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


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
