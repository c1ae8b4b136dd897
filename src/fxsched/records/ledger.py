"""The durable record of every submission: a directory of small JSON files, no server, readable by eye.

    STATE/ledger/live/TOKEN.json     submitted, or about to be
    STATE/ledger/ended/TOKEN.json    seen to end; kept for a while, then purged
    STATE/ledger/bad/                what could not be read, set aside for a person to look at

A new entry is written to a temporary name, fsynced, named, and the directory fsynced: it is whole or not there, also
on NFS and after a power cut. What is learnt later, the job's id first of all, is added as another line, and the last
whole line counts: a power cut may take it again, but never the first one, which leads to the job. Entries that one
process makes at the same moment are lines of one file that bears all their names, because the fsync is what costs: of
each name, the lines with that token count. An entry holds nothing private. Live entries stand apart so that what a
launch costs follows what is live, not what ever was.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fxsched.errors import InvalidRequest, LedgerError
from fxsched.jobs import JobId, JobStatus, Moment, Token
from fxsched.programs import open_regular
from fxsched.records.files import (
    append_line,
    check_own,
    create_whole,
    decode,
    make_directory,
    now,
    write_atomically,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

KEEP_ENDED: Final = 7 * 24 * 3600
"""Seconds that an ended entry, and what its session left behind, are kept."""


REST: Final = 0.1
"""Seconds for which nothing may have changed in a folder before its time stamp is believed to tell the next change: a
file system's clock may tick that seldom."""
TRUST: Final = 60.0
"""Seconds after which a folder is read again in any case: a server's clock may be far from ours."""

Mark = tuple[int, int, int]
"""What tells that a file or folder is not the one it was: inode, time of its last change in ns, size or links."""


class Owner(Struct, frozen=True, kw_only=True, gc=False):
    """The process that is submitting: while it lives, its entry is nobody else's business."""

    host: str
    pid: int
    ticks: str
    """When the process started, in the kernel's clock ticks: a pid alone is used again."""

    @classmethod
    def me(cls) -> Owner:
        """Return the present process."""
        return _process(os.getpid())

    def lives(self) -> bool | None:
        """Whether the process is there still; None if it was on another host, which only that host can tell."""
        if self.host != os.uname().nodename:
            return None
        return _ticks(self.pid) == self.ticks != ""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One submission."""

    token: Token
    cluster: str
    name: str
    submitted_at: Moment
    """When the entry was made, just before the scheduler heard of the job."""
    owner: Owner | None = None
    """Who is submitting, or has not told of it yet; None once all of that is settled."""
    awaited: bool = False
    """Whether there must be no session unless somebody who waits has heard of it: FastX forgets a failed launch."""
    unwanted: bool = False
    """Whether whoever submitted it was told, or will be, that there is no session: its job is to be cancelled."""
    walltime: int | None = None
    """Seconds that the job may run, where that was asked for."""
    job: JobId | None = None
    """None while the submit has not been answered."""
    accepted_at: Moment | None = None
    """When the scheduler says that it took the job, once it was seen there under its token. An id that comes again has
    another such time; a job that was renamed has the same."""
    cancelled_at: Moment | None = None
    """When we were asked to cancel the job."""
    gone_at: Moment | None = None
    """When the scheduler first said that it knows no such job."""
    status: JobStatus | None = None
    """The final one, when the entry has ended."""

    def unsettled(self, patience: float, age: Callable[[], float] | None = None) -> bool:
        """Whether nobody is submitting any more, and yet it is not known what came of it, or nobody has heard of it.

        Args:
            patience: seconds after which a submit on another host is taken to be over.
            age: tells how many seconds ago the entry was written; None: by this machine's clock.
        """
        if self.job is not None and not (self.awaited or self.unwanted):
            return False
        lives = self.owner.lives() if self.owner else False
        if lives is None:
            return (age() if age else (now() - self.submitted_at).total_seconds()) > patience
        return not lives


class _Folder(NamedTuple):
    """What was in a folder."""

    mark: Mark | None
    files: Mapping[str, tuple[Mark, Entry]]
    entries: Sequence[Entry]
    trusted_until: float


_NOTHING: Final = _Folder(None, {}, (), 0.0)


class Ledger:
    """The ledger in one state directory. Every method works on files directly; none waits for anything else."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._live = state / "ledger" / "live"
        self._ended = state / "ledger" / "ended"
        self._bad = state / "ledger" / "bad"
        self._seen: dict[Path, _Folder] = {}

    def create(self, entries: Sequence[Entry]) -> list[InvalidRequest | None]:
        """Make the first entries of some tokens, durably, in one file that bears all their names.

        Returns:
            for each, why there is none: the token has an entry, and was submitted before.

        Raises:
            LedgerError: they could not be written. There is none of them.
        """
        try:
            make_directory(self.state)
            new = [entry for entry in entries if not os.path.exists(self._ended / _file(entry.token))]
            lines = b"\n".join(map(msgspec.json.encode, new))
            made = create_whole(self._live, [_file(entry.token) for entry in new], lines) if new else set()
        except OSError as error:
            raise _unwritable(self._live, error) from error
        refused: list[InvalidRequest | None] = []
        for entry in entries:
            first = _file(entry.token) in made
            made.discard(_file(entry.token))  # a token may come twice, too
            refused.append(None if first else _submitted(entry.token))
        return refused

    def write(self, entry: Entry) -> None:
        """Let ``entry`` stand in place of the token's former one, if that has not ended meanwhile.

        Raises:
            LedgerError: it could not be written; what was there before still is.
        """
        try:
            append_line(self._live / _file(entry.token), msgspec.json.encode(entry))
            os.utime(self._live)  # others see by the folder that something in it has changed
        except FileNotFoundError:
            if not os.path.exists(self._ended / _file(entry.token)):
                self._write(self._live, entry)
        except OSError as error:
            raise _unwritable(self._live, error) from error

    def end(self, entry: Entry) -> None:
        """Move ``entry`` to the ended ones.

        Raises:
            LedgerError: it could not be written; it still is a live one.
        """
        self._write(self._ended, entry)
        try:
            (self._live / _file(entry.token)).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._live, error) from error

    def forget(self, token: Token) -> None:
        """Remove the live entry of a submission that certainly made no job."""
        with suppress(OSError):
            (self._live / _file(token)).unlink()

    def entry(self, token: Token) -> Entry | None:
        """Return the entry of a token as it stands now; None if there is none, or it cannot be read."""
        for folder in (self._live, self._ended):
            try:
                return read_entry(_content(folder / _file(token)), token)
            except FileNotFoundError:
                continue
            except (OSError, ValueError):
                break
        return None

    def live(self, cluster: str) -> list[Entry]:
        """Return the cluster's live entries."""
        return [entry for entry in self._entries(self._live) if entry.cluster == cluster]

    def cut_off(self, cluster: str, patience: float) -> list[Entry]:
        """Return the cluster's live entries that are :meth:`Entry.unsettled`.

        How old an entry is tells the clock of whoever keeps the files: those of two hosts may differ.
        """
        return [
            entry
            for entry in self.live(cluster)
            if entry.unsettled(patience, lambda token=entry.token: self._age(token))  # type: ignore[misc]
        ]

    def touch(self, token: Token) -> None:
        """Note that the submission goes on: :meth:`cut_off` counts from here."""
        with suppress(OSError):
            os.utime(self._live / _file(token))

    def _age(self, token: Token) -> float:
        """Return how many seconds ago a live entry was written; 0, which proves nothing, where that cannot be told."""
        clock = self.state / "ledger" / "clock"
        try:
            written = os.stat(self._live / _file(token)).st_mtime
            os.close(os.open(clock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            os.utime(clock)
            return os.stat(clock).st_mtime - written
        except OSError:
            return 0.0

    def by_job(self, cluster: str, ids: frozenset[JobId]) -> dict[JobId, Entry]:
        """Return the entries of these jobs of a cluster: the live ones, and for the rest the ended ones.

        Where a scheduler gave the same id twice, the later submission counts.
        """
        found: dict[JobId, Entry] = {}
        for folder in (self._live, self._ended):
            missing = ids - found.keys()
            if not missing:
                break
            for entry in self._entries(folder):
                if entry.job in missing and entry.cluster == cluster:
                    other = found.get(entry.job)
                    if other is None or other.submitted_at <= entry.submitted_at:
                        found[entry.job] = entry
        return found

    def knows(self, token: Token) -> bool:
        """Whether there is an entry for the token."""
        return any(os.path.exists(folder / _file(token)) for folder in (self._live, self._ended))

    def bad(self) -> list[Path]:
        """Return the files that were set aside because they could not be read."""
        with suppress(OSError):
            return sorted(path for path in self._bad.iterdir())
        return []

    def old(self, cluster: str, seconds: float = KEEP_ENDED) -> list[Token]:
        """Return the tokens of the cluster's entries that ended so many seconds ago."""
        files = self._read(self._ended).files.values()
        return [e.token for mark, e in files if e.cluster == cluster and mark[1] < (time.time() - seconds) * 1e9]

    def purge(self, token: Token) -> None:
        """Remove an ended entry."""
        with suppress(OSError):
            (self._ended / _file(token)).unlink()

    def _entries(self, folder: Path) -> Iterable[Entry]:
        return self._read(folder).entries

    def _read(self, folder: Path) -> _Folder:
        """Return what is in a folder. Neither it nor a file in it is read again while it is what it was."""
        former = self._seen.get(folder, _NOTHING)
        begin = time.time()
        mark = self._mark(folder)
        if mark == former.mark and former.trusted_until > begin:
            return former
        files: dict[str, tuple[Mark, Entry]] = {}
        whole = True
        for file in self._files(folder):
            try:
                status = file.stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                known = former.files.get(file.name)
                entry = known[1] if known and known[0] == stamp else _read_file(file)
                files[file.name] = (stamp, entry)
            except FileNotFoundError:
                continue  # it has ended since we looked
            except OSError:
                whole = False  # it may be readable another time
            except ValueError:
                self._set_aside(Path(file.path))
        rested = whole and mark is not None and begin - mark[1] / 1e9 > REST
        seen = _Folder(mark, files, [entry for _, entry in files.values()], begin + TRUST if rested else 0.0)
        self._seen[folder] = seen
        return seen

    def _mark(self, folder: Path) -> Mark | None:
        try:
            status = os.stat(folder)
        except OSError:
            return None
        return (status.st_ino, status.st_mtime_ns, status.st_nlink)

    def _files(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            check_own(self.state)
            with os.scandir(folder) as files:
                whole = [file for file in files if file.name.endswith(".json") and file.name[0] != "."]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerError(
                f"the ledger in {error.filename or folder} cannot be read ({error.strerror}). See to its owner and "
                "permissions, or set FXSCHED_STATE to another directory"
            ) from error
        return sorted(whole, key=lambda file: file.name)

    def _write(self, folder: Path, entry: Entry) -> None:
        try:
            make_directory(self.state)
            write_atomically(folder / _file(entry.token), msgspec.json.encode(entry))
        except OSError as error:
            raise _unwritable(folder, error) from error

    def _set_aside(self, path: Path) -> None:
        """Keep a file that is no entry, where it harms nobody and a person finds it."""
        with suppress(OSError):
            make_directory(self._bad)
            path.rename(self._bad / f"{path.parent.name}.{path.name}.{time.time_ns()}")


def _submitted(token: Token) -> InvalidRequest:
    return InvalidRequest(f"the token {token} has been submitted already: ask for its status, or make a new one")


def _unwritable(folder: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"the ledger in {error.filename or folder} cannot be written ({error.strerror}). Nothing is submitted without "
        "it: see to free space and permissions there, or set FXSCHED_STATE to another directory"
    )


def read_entry(lines: bytes, token: str) -> Entry:
    """Return the entry of a token that a file's content stands for: that of its last whole line.

    Raises:
        ValueError: there is none.
    """
    own = [line for line in lines.split(b"\n") if token.encode() in line]
    last = next(_entries_in(reversed(own), token), None)
    if last is None:
        raise ValueError(f"no line tells of {token}")
    if last.awaited or (len(own) > 1 and b'"unwanted":true' in lines):
        # Who adds a line may have read the entry before somebody else added theirs: these two facts are never undone.
        former = list(_entries_in(own, token))
        if not all(entry.awaited for entry in former):
            last = replace(last, awaited=False, owner=None)
        if any(entry.unwanted for entry in former):
            last = replace(last, unwanted=True)
    return last


def _entries_in(lines: Iterable[bytes], token: str) -> Iterator[Entry]:
    for line in lines:
        with suppress(ValueError):
            entry = decode(line, Entry)
            if entry.token == token:
                yield entry


def _read_file(file: os.DirEntry[str]) -> Entry:
    return read_entry(_content(file.path), file.name.removesuffix(".json"))


def _content(path: str | os.PathLike[str]) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _file(token: Token) -> str:
    return f"{token}.json"


@cache
def _process(pid: int) -> Owner:
    return Owner(host=os.uname().nodename, pid=pid, ticks=_ticks(pid))


def _ticks(pid: int) -> str:
    """Return when a process started, as the 22nd word of ``/proc/PID/stat`` has it (proc(5)); "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except (OSError, IndexError):
        return ""
