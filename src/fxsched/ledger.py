"""The durable record of every submission: a directory of small JSON files, no server, readable by eye.

    STATE/ledger/live/TOKEN.json     submitted, or about to be
    STATE/ledger/ended/TOKEN.json    seen to end; kept for a while, then purged

An entry is written to a temporary name, fsynced, renamed, and the directory fsynced: it is whole or not there, also on
NFS and after a power cut. It holds what is needed to find the job again and nothing private. Live entries stand apart
so that what a launch costs follows what is live, not what ever was.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from fxsched.errors import LedgerError
from fxsched.jobs import JobId, JobStatus, Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEEP_ENDED: Final = 7 * 24 * 3600
"""Seconds that an ended entry, and what its session left behind, are kept."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One submission."""

    token: Token
    cluster: str
    name: str
    submitted_at: datetime
    """When the entry was made, just before the scheduler heard of the job."""
    job: JobId | None = None
    """None while the submit has not been answered."""
    cancelled_at: datetime | None = None
    """When we were asked to cancel the job."""
    gone_at: datetime | None = None
    """When the scheduler first said that it knows no such job."""
    status: JobStatus | None = None
    """The last one seen; the final one when the entry has ended."""


_DECODER: Final = msgspec.json.Decoder(Entry)


class Ledger:
    """The ledger in one state directory. Every method works on files directly; none waits for anything else."""

    def __init__(self, state: Path) -> None:
        self._live = state / "ledger" / "live"
        self._ended = state / "ledger" / "ended"

    def write(self, entry: Entry) -> None:
        """Make ``entry`` durable as a live one, in place of the token's former entry.

        Raises:
            LedgerError: it could not be written; what was there before still is.
        """
        _write(self._live, entry)

    def end(self, entry: Entry) -> None:
        """Move ``entry`` to the ended ones."""
        _write(self._ended, entry)
        (self._live / _file(entry.token)).unlink(missing_ok=True)

    def forget(self, token: Token) -> None:
        """Remove the live entry of a submission that certainly made no job."""
        (self._live / _file(token)).unlink(missing_ok=True)

    def live(self, cluster: str) -> Iterator[Entry]:
        """Yield the cluster's live entries. One that cannot be read is passed over, not removed."""
        return (entry for entry in _entries(self._live) if entry.cluster == cluster)

    def by_job(self, cluster: str, ids: frozenset[JobId]) -> dict[JobId, Entry]:
        """Return the entries of these jobs of a cluster: the live ones, and for the rest the ended ones.

        Where a scheduler gave the same id twice, the later submission counts.
        """
        found: dict[JobId, Entry] = {}
        for folder in (self._live, self._ended):
            missing = ids - found.keys()
            if not missing:
                break
            entries = (e for e in _entries(folder) if e.cluster == cluster and e.job in missing)
            found |= {e.job: e for e in sorted(entries, key=lambda e: e.submitted_at) if e.job}
        return found

    def purge(self, cluster: str) -> list[Token]:
        """Remove the cluster's entries that ended long ago, and return their tokens."""
        old = [e.token for e in _entries(self._ended, before=time.time() - KEEP_ENDED) if e.cluster == cluster]
        for token in old:
            (self._ended / _file(token)).unlink(missing_ok=True)
        return old


def _file(token: Token) -> str:
    return f"{token}.json"


def _write(folder: Path, entry: Entry) -> None:
    temporary = folder / f".{entry.token}.{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(msgspec.json.encode(entry))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / _file(entry.token))
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise LedgerError(
            f"the ledger in {folder} cannot be written ({error.strerror}). Nothing is submitted without it: "
            "see to free space and permissions there, or set FXSCHED_STATE to another directory"
        ) from error


def _read(path: str) -> bytes:
    """Return a small file's content. A status may read thousands, and open() takes twice as long as all of this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = piece = os.read(descriptor, 8192)
        while piece:
            piece = os.read(descriptor, 65536)
            data += piece
    finally:
        os.close(descriptor)
    return data


def _entries(folder: Path, *, before: float | None = None) -> Iterator[Entry]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and name[0] != ".")
    except FileNotFoundError:
        return
    except OSError as error:
        raise LedgerError(f"the ledger in {folder} cannot be read ({error.strerror})") from error
    for name in names:
        try:
            if before is not None and os.stat(folder / name).st_mtime >= before:
                continue
            yield _DECODER.decode(_read(f"{folder}/{name}"))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
