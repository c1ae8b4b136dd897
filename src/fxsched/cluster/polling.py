"""One polite poll per cluster and interval, whatever the number of sessions and processes that ask.

The answers of one user and cluster are shared through a snapshot file. Who finds there what is fresh enough, asks
nobody. Who does not, takes the lock, looks again (somebody may have asked meanwhile), and asks once for everybody: for
the user's live jobs too, since one question about all costs what one about one does.

A scheduler that could not be asked is left alone for a while, longer each time. That is no answer about any job: the
last known one stays, with the time when it was seen.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zlib import crc32

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fxsched.errors import FxschedError, InvalidRequest, PartlyUnavailable, SchedulerUnavailable
from fxsched.jobs import JobId, JobStatus, Moment
from fxsched.programs import open_regular
from fxsched.records.files import check_own, decode, make_directory, now, overwrite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from fxsched.cluster.scheduler import Scheduler


FORGET: Final = timedelta(hours=1)
"""How long the snapshot keeps an answer that nobody renewed."""
PATIENCE: Final = 5.0
"""Seconds for which the answers of some parts wait for those of the others."""
LOCK_PATIENCE: Final = 60.0
"""Seconds to wait for a question of another process, which has deadlines, unless that process was stopped."""
LONGEST_REST: Final = 300.0
"""Seconds that a scheduler is left alone at most."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """What the scheduler last said, and whether it is being left alone."""

    statuses: dict[JobId, JobStatus] = msgspec.field(default_factory=dict)
    failures: int = 0
    """Questions in a row that were not answered."""
    rest_until: Moment | None = None
    trouble: str = ""


class Poller:
    """Asks one cluster on behalf of everybody of one user."""

    def __init__(self, scheduler: Scheduler, directory: Path, cluster: str, *, interval: float) -> None:
        self._scheduler = scheduler
        self._interval = interval
        self._snapshot = directory / f"{cluster}.json"
        self._lock_file = directory / f"{cluster}.lock"
        self._lock: anyio.Lock | None = None
        self._seen: tuple[tuple[int, int, int], Snapshot] = ((0, 0, 0), Snapshot())

    async def status(
        self, ids: Iterable[JobId], *, company: Callable[[], Iterable[JobId]] = tuple, max_age: float | None = None
    ) -> dict[JobId, JobStatus]:
        """Return the status of each job, at most ``max_age`` seconds old (None: the interval).

        Args:
            ids: the jobs that the caller wants to know of.
            company: gives the jobs to ask for besides, should the scheduler be asked; they are in the answer then.
            max_age: 0 asks in any case.

        Raises:
            SchedulerUnavailable: it could not be asked, or is being left alone because it could not be.
            PartlyUnavailable: it could be asked about some of them only; their answers are in the error.
        """
        wanted = frozenset(ids)
        age = timedelta(seconds=self._interval if max_age is None else max_age)
        fresh = _fresh(self.read(), wanted, age) if age else {}
        if wanted <= fresh.keys():
            return fresh
        async with self._locked():
            snapshot = self.read()
            fresh = _fresh(snapshot, wanted, age) if age else {}
            missing = wanted - fresh.keys()
            if not missing:
                return fresh
            time = now()
            if age and snapshot.rest_until and time < snapshot.rest_until <= time + timedelta(seconds=LONGEST_REST):
                until = f"{snapshot.rest_until.astimezone():%H:%M:%S}"
                raise SchedulerUnavailable(f"{snapshot.trouble} (it is left alone until {until})")
            trouble: PartlyUnavailable | None = None
            try:
                answers = await self._ask(missing, frozenset(company()))
            except PartlyUnavailable as error:
                answers, trouble = error.answers, error
            except SchedulerUnavailable as error:
                self._write(self._resting(snapshot, error))
                raise
            time = now()
            seen = {id: replace(status, observed_at=time) for id, status in answers.items()}
            others = {
                id: status for id, status in snapshot.statuses.items() if id not in seen and _recent(status, time)
            }
            self._write(Snapshot(statuses=others | seen))
            if trouble is not None and missing - seen.keys():
                trouble.answers = fresh | seen
                raise trouble
            return fresh | seen

    async def _ask(self, ids: frozenset[JobId], company: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        try:
            return await self._scheduler.status(ids | company)
        except InvalidRequest:
            # An id from the time when the cluster had another adapter must not stand in the way of the others.
            if company <= ids:
                raise
            return await self._scheduler.status(ids)

    def last_known(self, ids: Iterable[JobId]) -> dict[JobId, JobStatus]:
        """Return what was last seen of each job, however long ago, as far as it is remembered."""
        statuses = self.read().statuses
        return {id: statuses[id] for id in ids if id in statuses}

    def read(self) -> Snapshot:
        """Return the snapshot. One that cannot be read is as good as none: it can be asked for again."""
        try:
            check_own(self._snapshot.parent)
            mark = self._mark()
            if mark != self._seen[0]:
                with open_regular(self._snapshot) as file:
                    self._seen = (mark, _read(file.read()))
            return self._seen[1]
        except (OSError, ValueError):
            return Snapshot()

    def _mark(self) -> tuple[int, int, int]:
        """Return what tells that somebody else has written the snapshot."""
        status = os.stat(self._snapshot)
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _write(self, snapshot: Snapshot) -> None:
        with suppress(OSError):  # a snapshot spares questions; without one, more are asked
            content = msgspec.json.encode(snapshot)
            overwrite(self._snapshot, _sum(content) + content)
            self._seen = (self._mark(), snapshot)

    def _resting(self, snapshot: Snapshot, error: SchedulerUnavailable) -> Snapshot:
        failures = snapshot.failures + 1
        rest = min(self._interval * 2 ** (failures - 1), LONGEST_REST) * random.uniform(0.75, 1.0)  # noqa: S311
        return replace(snapshot, failures=failures, rest_until=now() + timedelta(seconds=rest), trouble=str(error))

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Hold the lock, in this process and among all.

        Where it cannot be had (a full or odd disk, a process that was stopped while it had the lock), do without.
        """
        self._lock = self._lock or anyio.Lock()
        async with self._lock:
            try:
                make_directory(self._lock_file.parent)
                descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError:
                yield
                return
            try:
                with anyio.move_on_after(LOCK_PATIENCE):
                    pause = 0.005
                    while not _try_lock(descriptor):
                        await anyio.sleep(pause)
                        pause = min(pause * 1.5, 0.2)
                yield
            finally:
                os.close(descriptor)


class PartPollers:
    """A poller for each part of a scheduler (``Adapter.part``): one that hangs, or is left alone, delays no other."""

    def __init__(
        self, scheduler: Scheduler, directory: Path, cluster: str, *, interval: float, patience: float = PATIENCE
    ) -> None:
        self._scheduler = scheduler
        self._patience = patience
        self._directory = directory
        self._cluster = cluster
        self._interval = interval
        self._pollers: dict[str, Poller] = {}

    async def status(
        self, ids: Iterable[JobId], *, company: Callable[[], Iterable[JobId]] = tuple, max_age: float | None = None
    ) -> dict[JobId, JobStatus]:
        """Return the status of each job; see :meth:`Poller.status`. Only parts that have one of ``ids`` are asked.

        Raises:
            PartlyUnavailable: some parts could not be asked; what the others said is in the error.
            SchedulerUnavailable: none of them could be asked.
        """
        groups = self._by_part(ids)
        friends: dict[str, list[JobId]] | None = None
        answers: dict[JobId, JobStatus] = {}
        failures: list[FxschedError] = []
        done: set[str] = set()

        def company_of(part: str) -> list[JobId]:
            nonlocal friends
            if friends is None:
                friends = self._by_part(company())
            return friends.get(part, [])

        async def ask(part: str) -> None:
            try:
                answers.update(
                    await self._of(part).status(groups[part], company=lambda: company_of(part), max_age=max_age)
                )
            except FxschedError as error:  # kept out of the task group, which would wrap it
                failures.append(error)
            done.add(part)
            if answers and len(groups) > 1:
                tasks.cancel_scope.deadline = min(tasks.cancel_scope.deadline, anyio.current_time() + self._patience)

        if len(groups) == 1:
            await ask(*groups)
        else:
            async with anyio.create_task_group() as tasks:
                for part in groups:
                    tasks.start_soon(ask, part)
            silent = [part for part in groups if part not in done]
            if silent:
                failures.append(SchedulerUnavailable(f"{', '.join(silent)} did not answer in time"))
        for error in failures:
            if not answers or not isinstance(error, SchedulerUnavailable):
                raise error
        if failures:
            partly = PartlyUnavailable("; ".join(map(str, failures)))
            partly.answers = answers
            raise partly
        return answers

    def last_known(self, ids: Iterable[JobId]) -> dict[JobId, JobStatus]:
        """Return what was last seen of each job, however long ago, as far as it is remembered."""
        groups = self._by_part(ids)
        return {id: status for part in groups for id, status in self._of(part).last_known(groups[part]).items()}

    def _by_part(self, ids: Iterable[JobId]) -> dict[str, list[JobId]]:
        if not self._scheduler.has_parts:
            return {"": list(ids)}
        groups = defaultdict(list)
        for id in ids:
            groups[self._scheduler.part(id)].append(id)
        return groups

    def _of(self, part: str) -> Poller:
        if part not in self._pollers:
            name = f"{self._cluster}@{re.sub('[^A-Za-z0-9.-]', '_', part)}" if part else self._cluster
            self._pollers[part] = Poller(self._scheduler, self._directory, name, interval=self._interval)
        return self._pollers[part]


def _read(data: bytes) -> Snapshot:
    """Return the snapshot that was written whole.

    Raises:
        ValueError: it was not, or not yet: only who has the lock is sure to find it whole.
    """
    line, _, content = data.partition(b"\n")
    if _sum(content) != line + b"\n":
        raise ValueError("torn")
    return decode(content, Snapshot)


def _sum(content: bytes) -> bytes:
    return b"%08x\n" % crc32(content)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _fresh(snapshot: Snapshot, ids: Iterable[JobId], age: timedelta) -> dict[JobId, JobStatus]:
    """Return the answers that are young enough. One from the future, before the clock was set back, is not."""
    time = now()
    return {
        id: status
        for id, status in ((id, snapshot.statuses.get(id)) for id in ids)
        if status and status.observed_at and timedelta(0) <= time - status.observed_at < age
    }


def _recent(status: JobStatus, time: datetime) -> bool:
    return status.observed_at is not None and time - status.observed_at < FORGET
