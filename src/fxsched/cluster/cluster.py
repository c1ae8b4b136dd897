"""A cluster: one adapter on one host, and the promises that neither of them makes.

``submission`` makes exactly one job of a spec, ``polling`` asks politely, ``ends`` recognises an end by its evidence,
``starting`` watches a new job, ``tidying`` removes what sessions leave behind, the ledger remembers. This module puts
them together for the three verbs: submit, status, cancel.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec import Struct
from msgspec.structs import replace

from fxsched.cluster.ends import Ends
from fxsched.cluster.evidence import Identity, identity, shown_token
from fxsched.cluster.polling import PartPollers
from fxsched.cluster.scheduler import Scheduler
from fxsched.cluster.starting import Start, Watch
from fxsched.cluster.submission import Submission
from fxsched.cluster.tidying import Tidying
from fxsched.cluster.timing import Timing, backoff
from fxsched.errors import (
    CancelRefused,
    CancelUnverified,
    FxschedError,
    HostError,
    LedgerError,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerError,
    SchedulerUnavailable,
    SubmitUnsettled,
)
from fxsched.hosts.base import connect
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.records.files import now
from fxsched.session import directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fxsched.adapter import Adapter
    from fxsched.jobs import JobSpec
    from fxsched.records.ledger import Entry, Ledger
    from fxsched.session.directory import Report


class Job(Struct, frozen=True, kw_only=True):
    """What a submission made."""

    id: JobId
    token: Token
    cluster: str


class Cancellation(Struct, frozen=True, kw_only=True):
    """What came of a cancel: the job has ended in any case."""

    status: JobStatus
    already: bool
    """Whether it had ended before it was asked to."""


class Cluster:
    """Submits, asks and cancels, with the design's promises. Safe for concurrent use by many tasks."""

    def __init__(self, name: str, adapter: Adapter, ledger: Ledger, *, timing: Timing | None = None) -> None:
        self.name = name
        self.adapter = adapter
        self.scheduler = Scheduler(adapter)
        self.ledger = ledger
        self.timing = timing or Timing()
        self.poller = PartPollers(self.scheduler, ledger.state / "poll", name, interval=self.timing.poll_interval)
        self.submission = Submission(self.scheduler, ledger, self.timing, cluster=name)
        self.tidying = Tidying(name, self.scheduler, ledger)
        self._ends = Ends(self.scheduler, ledger, self.tidying, self.timing.gone_after)

    async def connect(self) -> None:
        """Open the way to the cluster's host now, beside other work. Where that fails, the first command says so."""
        with suppress(FxschedError):
            await connect(self.adapter.host)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Let the errors that pass through name the cluster, and say what to do."""
        try:
            yield
        except (SchedulerError, HostError, OutcomeUnknown) as error:
            error.cluster = error.cluster or self.name
            raise

    # ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, spec: JobSpec, *, awaited: bool = False) -> Job:
        """Make exactly one job of ``spec``, or raise one clear error. A cancelled caller leaves no job.

        Args:
            spec: what to submit.
            awaited: there must be no session unless the caller hears of it, and says so with :meth:`heard`. A job that
                turns up after an error was told, or after the caller was killed, then starts no session, and is
                cancelled, not adopted.

        Raises:
            SubmitRejected, SchedulerUnavailable, HostError, LedgerError: there is no job.
            SubmitUnsettled: there may be one; the ledger has the entry.
        """
        with self.explained():
            job = Job(id=await self.submission.run(spec, awaited=awaited), token=spec.token, cluster=self.name)
            try:
                await checkpoint_if_cancelled()
                if awaited:
                    await directory.settle(await self.scheduler.host_of(job.token, job.id), job.token)
            except BaseException:
                await self.withdraw(job)
                raise
        return job

    async def heard(self, job: Job) -> None:
        """Note that whoever awaited the job's session is about to hear of it: from now on it is wanted.

        Raises:
            LedgerError: it could not be noted. The session must not be told of: it would be cancelled.
        """

        def note() -> None:
            entry = self.ledger.entry(job.token)
            if entry is None:
                raise LedgerError(f"the ledger's entry of job {job.id} cannot be read")
            if entry.status is None:
                self.ledger.write(replace(entry, awaited=False, owner=None))

        try:
            with anyio.fail_after(directory.DEADLINE):
                await to_thread.run_sync(note, abandon_on_cancel=True)
        except TimeoutError:
            raise LedgerError(f"the ledger does not answer within {directory.DEADLINE:g} s") from None

    def _current(self, job: Job) -> JobId:
        """Return the id of the job that has the session by now: a twin may have turned out to have it."""
        entry = self.ledger.entry(job.token)
        return (entry.job if entry else None) or job.id

    async def withdraw(self, job: Job) -> None:
        """Cancel the job of a caller who was cancelled, or told of an error. Cannot be cancelled itself.

        Its session is forbidden first: where the scheduler cannot be asked, the job finds that by itself.

        Raises:
            CancelUnverified: for as long as a cancel may take, the scheduler could not be asked.
        """
        with anyio.CancelScope(shield=True):
            end = anyio.current_time() + self.timing.cancel
            entry = self.ledger.entry(job.token)
            if entry is not None and entry.status is None:  # whoever comes next is to end it, should this fail
                self._ends.record(replace(entry, unwanted=True, owner=None))
            await self.submission.forbid(job.token)
            for pause in backoff():
                try:
                    await self.cancel(self._current(job))
                except FxschedError as error:
                    if isinstance(error, CancelRefused) or anyio.current_time() + pause >= end:
                        unverified = CancelUnverified(
                            f"the launch was given up, but its job {job.id} could not be cancelled, and may start a "
                            f"session: {error.what}"
                        )
                        unverified.cluster, unverified.advice = self.name, f"Cancel it later: fxsched cancel {job.id}"
                        raise unverified from error
                    await anyio.sleep(pause)
                else:
                    return

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, ids: Iterable[JobId], *, max_age: float | None = None) -> dict[JobId, JobStatus]:
        """Return what is known of each job. Jobs that have ended are answered from the ledger.

        Args:
            ids: the jobs.
            max_age: how old an answer may be, in seconds; None: the poll interval; 0: ask in any case.

        Raises:
            SchedulerUnavailable: it could not be asked. What was last known is :meth:`last_known` still.
            PartlyUnavailable: it could be asked about some of the jobs only; what it said is in the error.
        """
        wanted = frozenset(ids)
        entries = self.ledger.by_job(self.name, wanted)
        known = {id: e.status for id, e in entries.items() if e.status}
        if wanted == known.keys():
            return known
        live: list[Entry] = []

        def company() -> Iterable[JobId]:
            live.extend(entry for entry in self.ledger.live(self.name) if entry.job)
            return [entry.job for entry in live if entry.job]

        trouble: PartlyUnavailable | None = None
        with self.explained():
            try:
                answers = await self.poller.status(wanted - known.keys(), company=company, max_age=max_age)
            except PartlyUnavailable as error:
                answers, trouble = dict(error.answers), error
        for entry in live:  # also a former job's, whose id has been given again
            own = entries.get(entry.job) if entry.job else None
            if own is not entry and entry.job in answers and (own is None or own.token != entry.token):
                await self._ends.follow(entry, answers[entry.job])
        for id, status in answers.items():
            if id in wanted and id not in known:
                known[id] = await self._ends.follow(entries[id], status) if id in entries else status
        if trouble:
            trouble.answers = {id: known[id] for id in wanted if id in known}
            with self.explained():
                raise trouble
        return {id: known[id] for id in wanted}

    def last_known(self, ids: Iterable[JobId]) -> dict[JobId, JobStatus]:
        """Return what was last seen of each job, and when, as far as it is remembered. Asks nobody."""
        wanted = frozenset(ids)
        ended = {id: e.status for id, e in self.ledger.by_job(self.name, wanted).items() if e.status}
        return self.poller.last_known(wanted) | ended

    async def report(self, token: Token) -> Report:
        """Return what the job itself says of its session.

        Raises:
            HostError: the session's directory could not be read.
        """
        return await directory.read(await self.scheduler.host_of(token), token)

    # ── start ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def wait_for_start(self, job: Job, seconds: float, *, ready: Callable[[Report], bool]) -> Start:
        """Watch a new job until it is ``ready`` by its own report, has ended, or ``seconds`` have passed.

        Raises:
            SchedulerUnavailable: the scheduler has no such job, though it said that it took it, and no session began.
            SubmitUnsettled: whether there is such a job could not be found out.
        """

        async def report() -> Report:
            try:
                return await directory.read(await self.scheduler.host_of(job.token, job.id), job.token)
            except HostError:
                return directory.Report()

        async def status() -> tuple[JobStatus | None, str]:
            self.ledger.touch(job.token)
            answer, trouble = await self._status_or_trouble(self._current(job))
            return answer, str(trouble or "")

        watch = Watch(self.adapter.name, report, status, settle=self.timing.settle_start)
        start = await watch.until(seconds, ready=ready)
        if start.status is not None and start.status.state is JobState.GONE and not start.report.started:
            with self.explained():
                return await self._looked_up(job, start)
        return start

    async def _looked_up(self, job: Job, start: Start) -> Start:
        """Look for a new job that the scheduler does not know as for one whose submit was not answered."""
        found = await self.submission.look_up(job.token, anyio.current_time() + self.timing.launch)
        if found is None:
            raise SubmitUnsettled(f"{self.scheduler.name} took job {job.id}, but whether it still has it is not known")
        if not found:
            raise SchedulerUnavailable(
                f"{self.scheduler.name} took job {job.id}, and then had no such job: no session was started"
            )
        kept = job.id if job.id in found else await self.submission.choose(job.token, found)
        entry = self.ledger.entry(job.token)
        if entry is not None and kept != job.id:
            self._ends.record(replace(entry, job=kept))
        status, trouble = await self._status_or_trouble(kept)
        return Start(status=status, report=start.report, trouble=str(trouble or ""))

    async def _status_or_trouble(self, id: JobId) -> tuple[JobStatus | None, FxschedError | None]:
        try:
            return (await self.status([id], max_age=0))[id], None
        except FxschedError as error:
            return None, error

    # ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, id: JobId) -> Cancellation:
        """Cancel a job and return once its end has been seen. A job that has ended already is no error.

        Whatever happens on the way, asking again is safe. A scheduler that cannot be asked is not told to cancel: it
        may have crashed and given the id to another job. Nor is it where nothing proves that the job is ours.

        Raises:
            CancelRefused: the scheduler said no, or the job cannot be told to be one of fxsched's.
            CancelUnverified: it said yes, or did not answer, but the job was still there when the time ran out.
            SchedulerUnavailable, HostError: it could not be asked; nothing was changed.
        """
        with self.explained():
            before = (await self.status([id], max_age=0))[id]
            if before.state is JobState.GONE:  # one such answer proves nothing, and a job that is left lives on
                await anyio.sleep(max(self.timing.settle_pause, self.scheduler.lag))
                before = (await self.status([id], max_age=0))[id]
            id = before.id
            entry = self.ledger.by_job(self.name, frozenset([id])).get(id)
            never_seen = entry is not None and entry.accepted_at is None
            if before.state is JobState.ENDED or (before.state is JobState.GONE and not never_seen):
                return Cancellation(status=before, already=True)
            token = await self._claimed(before, entry)
            if entry:
                self._ends.record(replace(entry, cancelled_at=now()))
            try:
                last = await self._ask_for_the_end(id, token, hard=False)
            except (SchedulerError, HostError):
                if entry:
                    self._ends.record(entry)  # whatever ends it now, it is not this
                raise
            return Cancellation(status=await self._end(id, token, last), already=False)

    async def _claimed(self, status: JobStatus, entry: Entry | None) -> Token:
        """Return the token of a job that is to be cancelled, if there is proof that it is the one with this token.

        Raises:
            CancelRefused: there is none.
        """
        if entry is None:
            token = shown_token(status)
            if token is None:
                raise CancelRefused(
                    f"job {status.id} is none of fxsched's, by its name and by the ledger. If it is yours, cancel it "
                    f"with the means of {self.scheduler.name}"
                )
            return token
        # One that was never seen has no name; its id is what the submit returned.
        if status.state is JobState.GONE or identity(status, entry) is Identity.SAME:
            return entry.token
        with suppress(HostError):
            report = await self.report(entry.token)
            same = report.job is not None and self.scheduler.is_same(status.id, report.job)
            if identity(status, entry, report, same=same) is Identity.SAME:
                return entry.token
        if status.id in await self.scheduler.find(entry.token):
            return entry.token
        raise CancelRefused(
            f"job {status.id} may be another one than was submitted: it is called {status.name!r}. If it is the one, "
            f"cancel it with the means of {self.scheduler.name}"
        )

    async def _end(self, id: JobId, token: Token, last: str) -> JobStatus:
        """Watch a job that was asked to end until it has; after half of the time, ask by harder means."""
        begin = anyio.current_time()
        hard = False
        for pause in backoff():
            status, trouble = await self._status_or_trouble(id)
            if status is not None and status.state is JobState.ENDED:
                return status
            if status is not None and status.state is JobState.GONE and not self._has(id):
                return replace(status, state=JobState.ENDED, cause=EndCause.CANCELLED)
            last = trouble.what if trouble else f"it is {status.state}" if status else last
            passed = anyio.current_time() - begin
            if passed >= self.timing.cancel:
                break
            if status is not None and passed >= self.timing.cancel / 2 and not hard:
                hard = True
                last = await self._ask_for_the_end(id, token, hard=True) or last
            await anyio.sleep(pause)
        raise CancelUnverified(f"job {id} was cancelled {self.timing.cancel:g} s ago, but {last}")

    def _has(self, id: JobId) -> bool:
        """Whether the ledger has the job, and so decides when it has ended."""
        return bool(self.ledger.by_job(self.name, frozenset([id])))

    async def _ask_for_the_end(self, id: JobId, token: Token, *, hard: bool) -> str:
        """Ask; return what was wrong with the answer, if none came: whether it worked is seen by watching.

        Raises:
            SchedulerError, HostError: the first time, it was refused or could not be asked.
        """
        try:
            await (self.scheduler.kill(id, token) if hard else self.scheduler.cancel(id, token))
        except (OutcomeUnknown, SchedulerError, HostError) as error:
            if not hard and not isinstance(error, OutcomeUnknown):
                raise
            return error.what
        return ""
