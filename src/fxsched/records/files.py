"""Small files that must be whole or not there, in directories that are ours."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""To open what should be a file of ours: a pipe in its place, which nobody reads, is an error and no endless wait."""


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents, readable by their owner only.

    Raises:
        OSError: it cannot be made, or what is there is a link, or belongs to somebody else, or others can write it.
    """
    if check_own(path):
        return
    for folder in (*reversed(path.parents), path):
        with suppress(FileExistsError):
            if not folder.exists():
                folder.mkdir(mode=0o700)
    check_own(path)


def check_own(path: Path) -> bool:
    """Return whether there is such a directory; raise if it could be exchanged by somebody else.

    Raises:
        OSError: it is a link, or belongs to somebody else, or others can write it; or it lies in a home directory that
            belongs to somebody else, who could put another in its place.
    """
    own = os.geteuid()
    home = os.path.expanduser("~")
    if str(path).startswith(f"{home}/"):
        with suppress(FileNotFoundError):
            owner = os.stat(home).st_uid
            if owner not in (own, 0):
                raise PermissionError(1, f"the home directory {home} belongs to user {owner}", str(path))
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "it is not a directory, or only a link to one", str(path))
    if status.st_uid != own:
        raise PermissionError(1, f"it belongs to user {status.st_uid}", str(path))
    if status.st_mode & 0o022:
        raise PermissionError(1, "others can write it", str(path))
    return True


def decode(data: bytes, kind: type[T]) -> T:
    """Return the ``kind`` that ``data`` is the JSON of.

    Raises:
        ValueError: it is anything else. msgspec has three ways to say so.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, mode 0600, so that it survives a power cut.

    A reader finds the former content or this one, whole.

    Raises:
        OSError: it could not be written; what was there before still is.
    """
    with _written(path, data) as temporary:
        replaces = os.path.exists(path)
        os.rename(temporary, path)
    if not replaces:  # else the name is on disk already; under it, the former content is whole too
        sync_directory(path.parent)


def create_whole(folder: Path, names: Sequence[str], data: bytes) -> set[str]:
    """Make one file with several names, mode 0600, that a reader finds whole or not at all, also after a power cut.

    Returns:
        the names that it has got: there was no such file before.

    Raises:
        OSError: it could not be written, and has none of them.
    """
    made = set()
    with _written(folder / names[0], data) as temporary:
        try:
            for name in names:
                try:
                    os.link(temporary, folder / name)
                except FileExistsError:  # or NFS has repeated a request that had worked
                    if not os.path.samefile(temporary, folder / name):
                        continue
                made.add(name)
            os.unlink(temporary)
            sync_directory(folder)
        except OSError:
            for name in made:
                with suppress(OSError):
                    os.unlink(folder / name)
            raise
    return made


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[str]:
    """Give a file beside ``path`` that holds ``data`` on disk, to be given its name; none is left if that fails."""
    make_directory(path.parent)
    temporary = f"{path.parent}/.{path.name}.{os.urandom(6).hex()}"
    try:
        write_new(temporary, data, durable=True)
        yield temporary
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: they may not be.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def overwrite(path: Path, data: bytes) -> None:
    """Write ``data`` over what is in a file, mode 0600: a reader may find some of each.

    To replace a file that is written often is no way: ext4 takes ever longer to find an inode where many have just
    been freed.

    Raises:
        OSError: it could not be written.
    """
    make_directory(path.parent)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
    try:
        _write_all(file, data)
        os.ftruncate(file, len(data))
    finally:
        os.close(file)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file; half a line, left where the disk was full or the power cut, stays one of its own.

    Raises:
        OSError: there is no such file, or the line could not be added whole.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | _FLAGS)
    try:
        _write_all(file, b"\n" + line)
    finally:
        os.close(file)


def write_new(path: str | os.PathLike[str], data: bytes, *, durable: bool = False) -> None:
    """Write a file that was not there before, mode 0600.

    Raises:
        OSError: it was there, or could not be written whole.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(file, data)
        if durable:
            os.fsync(file)
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
