"""Small files, written so that nobody sees half of one, and flat directories of them."""

from __future__ import annotations

import os
from contextlib import suppress


def write(path: str, content: bytes, mode: int) -> None:
    """A new file with these permissions from its first moment on."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def replace(path: str, content: str) -> None:
    """The whole new content at once, in place of the old."""
    with open(f"{path}.{os.getpid()}", "w") as file:
        file.write(content)
    os.replace(f"{path}.{os.getpid()}", path)


def remove(directory: str) -> None:
    """A directory that holds files only, even while somebody still writes there; none is no error."""
    while os.path.isdir(directory):
        for name in os.listdir(directory):
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{name}")
        with suppress(OSError):
            os.rmdir(directory)
