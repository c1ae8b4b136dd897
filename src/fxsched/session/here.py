"""A session's directory where the home directory is at hand as plain files: as in ``directory``, but without a shell.

On the machine where a launch runs, a shell and its programs would cost more than the submit itself. The functions wait
for the file system, which over NFS may be long, and so belong into a thread.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from fxsched.programs import open_regular
from fxsched.records.files import make_directory, write_new

if TYPE_CHECKING:
    from pathlib import Path

TAIL: Final = 65536
"""Bytes of output that a report holds at most."""
LINE: Final = 1024
"""Bytes of a report at most."""
_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError)


def stage(directory: Path, command: bytes, stdin: bytes, until: int | None = None) -> None:
    """Make the session's directory, with what the command reads first and the command last: the job waits for it."""
    make_directory(directory.parent)
    os.mkdir(directory, 0o700)
    try:
        if until is not None:
            write_new(f"{directory}/unsettled", b"%d\n" % until)
        write_new(f"{directory}/stdin", stdin)
        write_new(f"{directory}/command", command)
    except BaseException:
        remove(directory)
        raise


def read(directory: Path) -> bytes:
    """Return what the shell's script prints: the reports, then the tails of output and log, each behind its length.

    Raises:
        OSError: something may be there, but cannot be read.
    """
    with suppress(*_NOT_THERE):
        os.listdir(directory)  # an NFS client looks again for files that it believes not to be there
    parts = []
    for name in ("started", "ended"):
        with suppress(*_NOT_THERE):
            with open_regular(directory / name) as file:
                text = file.read(LINE).decode("ascii", "replace")
            parts.append(f"{name} {text}".encode("ascii", "replace"))
    for name in ("output", "job.log"):
        with suppress(*_NOT_THERE), open_regular(directory / name) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            tail = file.read(TAIL)
            parts.append(f"{name} {len(tail)}\n".encode() + tail)
    return b"".join(parts)


def settle(directory: Path) -> None:
    """Let the job start the session."""
    (directory / "unsettled").unlink(missing_ok=True)


def forbid(directory: Path) -> None:
    """Let no job start the session any more."""
    with suppress(*_NOT_THERE, FileExistsError):
        write_new(directory / "unwanted", b"")


def discard(directory: Path) -> None:
    """Remove what is private."""
    for name in ("command", "stdin"):
        (directory / name).unlink(missing_ok=True)


def remove(directory: Path) -> None:
    """Remove all of it."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
