"""Small files that must be whole or not there, in directories that are ours."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents, readable by their owner only.

    Raises:
        OSError: it cannot be made, or what is there is a link, or belongs to somebody else, or others can write it.
    """
    check_own(path)
    for folder in (*reversed(path.parents), path):
        with suppress(FileExistsError):
            if not folder.exists():
                folder.mkdir(mode=0o700)
    check_own(path)


def check_own(path: Path) -> None:
    """Raise if what is there could be exchanged by somebody else; that there is nothing is no error.

    Raises:
        OSError: it is a link, or belongs to somebody else, or others can write it; or it lies in a home directory that
            belongs to somebody else, who could put another in its place.
    """
    own = os.geteuid()
    home = Path(os.path.expanduser("~"))
    if home in path.parents and home.exists() and home.stat().st_uid not in (own, 0):
        raise PermissionError(1, f"the home directory {home} belongs to user {home.stat().st_uid}", str(path))
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "it is not a directory, or only a link to one", str(path))
    if status.st_uid != own:
        raise PermissionError(1, f"it belongs to user {status.st_uid}", str(path))
    if status.st_mode & 0o022:
        raise PermissionError(1, "others can write it", str(path))


def decode(data: bytes, kind: type[T]) -> T:
    """Return the ``kind`` that ``data`` is the JSON of.

    Raises:
        ValueError: it is anything else. msgspec has three ways to say so.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_atomically(path: Path, data: bytes, *, durable: bool, new: bool = False) -> None:
    """Write ``data`` to ``path``, mode 0600: a reader finds the former content or this one, whole.

    Args:
        path: where; its directory is made if need be.
        data: the content.
        durable: whether it must survive a power cut from here on.
        new: refuse, with FileExistsError, to replace a file.

    Raises:
        OSError: it could not be written; what was there before still is.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    replaces = path.exists()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if new:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    if durable and not replaces:  # the name is on disk already; under it, the former content is whole too
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
