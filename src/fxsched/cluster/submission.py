"""One submission, from a token to a settled outcome: a job, or one clear error, and never two jobs.

What is in brackets is on disk before the next step is taken. Each step has its share of the launch's time. Before
``adapter.submit`` a submission waits its turn, as long again, while ``AT_ONCE`` others of this process are there.

    token ─► [entry] ─► session directory ─► adapter.submit ─┬─► id ─────────────► [entry with id] ─► Job
                                                 ▲           ├─► refused, or not reached ─► [no entry], error
                                                 │           └─► outcome unknown ─► find(token)
                                                 │                                   ├─► found: adopt one, end twins
                                                 └──── twice a clean "none" ◄────────┤
                                                                                     └─► SubmitUnsettled, [entry] stays

The steps from ``adapter.submit`` on are shielded: a caller that is cancelled meanwhile leaves no job behind, because
the submission is finished first and its job then cancelled (``Cluster.submit``). A process that is killed leaves its
entry, from which ``reconcile`` and the user's next launch find out what came of it. And should a twin slip through all
of this, it finds the session's lock taken, and ends.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec.structs import replace

from fxsched.cluster.evidence import kept_by, shown_token
from fxsched.cluster.timing import Timing, backoff
from fxsched.errors import (
    FxschedError,
    HostError,
    LedgerError,
    OutcomeUnknown,
    SchedulerError,
    SchedulerUnavailable,
    SubmitUnsettled,
)
from fxsched.jobs import JobId, JobState, Token
from fxsched.records.commits import GroupCommit
from fxsched.records.files import now
from fxsched.records.ledger import Entry, Ledger, Owner
from fxsched.session import directory
from fxsched.session.scripts import render_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fxsched.adapter import Adapter
    from fxsched.cluster.scheduler import Scheduler
    from fxsched.hosts import Host
    from fxsched.jobs import JobSpec
    from fxsched.session.directory import After

_log = logging.getLogger("fxsched.cluster.submission")

AT_ONCE: Final = 8
"""Submits of a cluster's at the same time. More only wait for one another in the scheduler, and burden the host."""
_SUBMIT_SHARE: Final = 0.6
"""Of the time that is left, what one submit may take: the rest is for finding out what came of it."""
_SUBMITS: Final = 3
"""A scheduler that answers none of three submits, yet proves that nothing came of them, is not worth a fourth."""


class Submission:
    """The way of one spec to a settled outcome."""

    def __init__(self, scheduler: Scheduler, ledger: Ledger, timing: Timing, *, cluster: str) -> None:
        self._cluster = cluster
        self._scheduler = scheduler
        self._ledger = ledger
        self._timing = timing
        self._commits = GroupCommit(ledger.create, lambda entry: ledger.forget(entry.token))
        self._turns = anyio.Semaphore(AT_ONCE, fast_acquire=True)
        self._pause = max(timing.settle_pause, scheduler.lag)

    async def run(self, spec: JobSpec, *, awaited: bool = False) -> JobId:
        """Make exactly one job of ``spec``.

        Args:
            spec: what to submit.
            awaited: see ``Cluster.submit``. The job that is returned must be settled.

        Raises:
            SubmitRejected, SchedulerUnavailable, HostError, LedgerError: there is no job, and no trace of one.
            SubmitUnsettled: there may be one; the ledger keeps the entry.
        """
        begin = anyio.current_time()
        name = spec.name.encode(errors="replace").decode()  # it may be any text, but must not spoil the ledger
        entry = Entry(
            token=spec.token,
            cluster=self._cluster,
            name=name,
            submitted_at=now(),
            owner=Owner.me(),
            awaited=awaited,
            walltime=spec.resources.walltime,
        )
        host = await self._place(spec.token)
        made = False

        async def create(write: Callable[[], None], undo: Callable[[], None]) -> None:
            nonlocal made
            await self._commits.run(entry, write, undo)
            made = True

        try:
            until = int(time.time() + self._timing.over) if awaited else None
            place = await self._stage(host, spec, until, create)
        except BaseException:  # whatever bears the token is gone, or somebody else's
            if made:
                self._ledger.forget(spec.token)
            raise
        try:
            public = public_spec(spec, place, self._scheduler.adapter)
            taken = anyio.current_time() - begin
            await checkpoint_if_cancelled()
            await self._wait_for_turn()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.take_back(spec.token)
            raise
        try:
            with anyio.CancelScope(shield=True):
                job = await self._settle(entry, public, anyio.current_time() + self._timing.launch - taken)
        finally:
            self._turns.release()
        return job

    async def _place(self, token: Token) -> Host:
        """Return the host that is to have the session."""
        try:
            with anyio.fail_after(self._timing.launch):
                return await self._scheduler.host_for(token)
        except TimeoutError:
            raise SchedulerUnavailable(
                f"{self._scheduler.name} did not say within {self._timing.launch:g} s where the session is to be"
            ) from None

    async def _wait_for_turn(self) -> None:
        """Wait for those that came before. All that they do has a deadline, and so their turns end."""
        begin = anyio.current_time()
        await self._turns.acquire()
        if anyio.current_time() - begin > self._timing.launch:
            self._turns.release()
            raise SchedulerUnavailable(
                f"{self._scheduler.name} did not take the submissions before this one within "
                f"{self._timing.launch:g} s. No job was submitted"
            )

    async def _settle(self, entry: Entry, spec: JobSpec, end: float) -> JobId:
        """Submit ``spec`` until it is settled, and let the ledger's entry say what came of it."""
        try:
            job = await self._submit_until_settled(spec, end)
        except OutcomeUnknown:
            self._record(replace(entry, owner=None))
            if entry.awaited:  # the caller is told that there is no session, and so none must come
                await self.forbid(spec.token)
            raise
        except FxschedError:
            await self.take_back(spec.token)
            raise
        except BaseException:  # a defect: whoever comes next must be able to settle it
            self._record(replace(entry, owner=None))
            raise
        self._record(replace(entry, owner=entry.owner if entry.awaited else None, job=job))
        return job

    async def forbid(self, token: Token) -> None:
        """Let no job start the session any more, where its directory can be reached."""
        with suppress(HostError):
            await directory.forbid(await self._scheduler.host_of(token), token)

    async def look_up(self, token: Token, until: float) -> tuple[JobId, ...] | None:
        """Return the jobs with this token, or none if two clean answers some time apart said so.

        Returns:
            None if it could not be found out by ``until`` (on the event loop's clock).
        """
        clean = False
        with anyio.move_on_after(until - anyio.current_time()):
            for pause in backoff():
                try:
                    found = await self.ours(token, await self._scheduler.find(token)) or await self.began(token)
                except (SchedulerUnavailable, HostError, OutcomeUnknown):
                    await anyio.sleep(pause)
                    continue
                if found or clean:
                    return found
                clean = True
                await anyio.sleep(self._pause)
        return None

    async def ours(self, token: Token, found: tuple[JobId, ...]) -> tuple[JobId, ...]:
        """Return the jobs that were found by the token, without those whose status says another."""
        if not found:
            return ()
        statuses = await self._scheduler.status(frozenset(found))
        return tuple(id for id in found if shown_token(statuses[id]) in (None, token))

    async def began(self, token: Token) -> tuple[JobId, ...]:
        """Return the job that has reported the start of the session, if one has.

        It existed, whatever the scheduler says: Slurm's controller, killed, forgets jobs that run or have run.

        Raises:
            HostError: the session's directory could not be read.
        """
        job = (await directory.read(await self._scheduler.host_of(token), token)).job
        return (job,) if job and self._scheduler.job_id_variable else ()

    async def take_back(self, token: Token) -> None:
        """Remove what the session's directory and the ledger hold of a submission that certainly made no job."""
        with suppress(HostError):  # an unreachable home may be why we are here
            await directory.remove(await self._scheduler.host_of(token), token)
        self._ledger.forget(token)

    async def choose(self, token: Token, found: Sequence[JobId]) -> JobId:
        """Return which of a session's jobs has it: the one that runs it, else the first submitted one that lives.

        Raises:
            HostError: the session's report could not be read. Then none may be ended as a twin.
        """
        if len(found) == 1:
            return found[0]
        alive = tuple(found)
        with suppress(SchedulerUnavailable):
            statuses = await self._scheduler.status(frozenset(found))
            alive = tuple(id for id in found if statuses[id].state not in (JobState.ENDED, JobState.GONE)) or alive
        report = await directory.read(await self._scheduler.host_of(token, found[0]), token)
        return kept_by(report, alive, self._scheduler.is_same) or alive[0]

    async def end_twins(self, token: Token, kept: JobId, found: Iterable[JobId]) -> None:
        """Cancel all but one of a session's jobs. One that cannot be cancelled ends when it finds the lock taken."""
        for twin in found:
            if twin == kept:
                continue
            _log.warning("%s: job %s has the session, so its twin %s is cancelled", token, kept, twin)
            with suppress(SchedulerError, HostError, OutcomeUnknown):
                await self._scheduler.cancel(twin, token)

    async def _stage(self, host: Host, spec: JobSpec, until: int | None, after: After) -> str:
        """Write what is private into the session's directory, and return its path."""
        reserved = self._scheduler.adapter.reserved
        kept = {name: value for name, value in spec.environment.items() if not name.startswith(reserved)}
        return await directory.stage(host, replace(spec, environment=kept), until=until, after=after)

    async def _submit_until_settled(self, spec: JobSpec, end: float) -> JobId:
        trouble = OutcomeUnknown(f"the session's files took all of the {self._timing.launch:g} s")
        submits = 0
        # What a submit came to must be found out too: another that leaves no time for it is not begun.
        needed = 2 * self._pause / (1 - _SUBMIT_SHARE)
        while submits < _SUBMITS and end - anyio.current_time() > (needed if submits else 0.0):
            submits += 1
            try:
                return await self._submit_once(spec, end)
            except OutcomeUnknown as error:
                trouble = error
            _log.warning("%s: %s; looking for the job", spec.token, trouble)
            found = await self.look_up(spec.token, end)
            if found is None:
                raise SubmitUnsettled(
                    f"{trouble}. Whether there is a job {spec.token} could not be found out within "
                    f"{self._timing.launch:g} s"
                ) from trouble
            if found:
                _log.warning("%s: job %s was found, and is adopted", spec.token, found[0])
                job = found[0]
                with anyio.move_on_after(max(0.0, end - anyio.current_time())), suppress(HostError):
                    job = await self.choose(spec.token, found)
                    await self.end_twins(spec.token, job, found)
                return job
            _log.warning("%s: it made no job", spec.token)
        raise SchedulerUnavailable(
            f"{self._scheduler.name} answered none of {submits} submissions, and none of them made a job. "
            f"The last trouble: {trouble}"
        )

    async def _submit_once(self, spec: JobSpec, end: float) -> JobId:
        share = max(0.0, end - anyio.current_time()) * _SUBMIT_SHARE
        try:
            with anyio.fail_after(share):
                return await self._scheduler.submit(spec)
        except TimeoutError:
            raise OutcomeUnknown(f"{self._scheduler.name} did not answer the submit within {share:.0f} s") from None

    def _record(self, entry: Entry) -> None:
        """Write an entry again. Its first form is on disk and leads to the job, so a full disk is no reason to fail."""
        try:
            self._ledger.write(entry)
        except LedgerError as error:
            _log.warning("%s: job %s is not in the ledger by its id: %s", entry.token, entry.job, error)


def public_spec(spec: JobSpec, place: str, adapter: Adapter) -> JobSpec:
    """Return what an adapter may see of ``spec``, whose private part lies in the session's directory, ``place``."""
    return replace(
        spec,
        command=(),
        body="",
        stdin=b"",
        environment={},
        secrets={},
        script=render_script(place, spec, job_id_variable=adapter.job_id_variable, unset=adapter.unset),
        working_directory=place,
        output=f"{place}/{directory.LOG}",
    )
