"""A cluster: one adapter on one host, and the promises that neither of them makes.

A submission goes through these states; what is in brackets is on disk before the next step is taken:

    token ─► [entry] ─► session directory ─► adapter.submit ─┬─► id ──────────────► [entry with id] ─► Job
                                                 ▲           ├─► refused, or not reached ─► [no entry], error
                                                 │           └─► outcome unknown ─► find(token)
                                                 │                                   ├─► found: adopt one, end twins
                                                 └──── twice a clean "none" ◄────────┤
                                                                                     └─► SubmitUnsettled, [entry] stays

The steps from ``adapter.submit`` on are shielded: a caller that is cancelled meanwhile leaves no job behind, because
the submission is finished first and its job then cancelled.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec import Struct
from msgspec.structs import replace

from fxsched import sessions
from fxsched.errors import (
    CancelUnverified,
    ConfigurationError,
    HostError,
    LedgerError,
    OutcomeUnknown,
    SchedulerError,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUnsettled,
)
from fxsched.hosts import LocalHost
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.jobscript import render_script
from fxsched.ledger import Entry, Ledger, now
from fxsched.registry import load_adapter
from fxsched.strict import convert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fxsched.adapter import Adapter
    from fxsched.jobs import JobSpec
    from fxsched.sessions import Report


class Timing(Struct, frozen=True, kw_only=True):
    """How patient a cluster is, in seconds."""

    settle: float = 60.0
    """How long to look for a job whose submit was not answered."""
    settle_pause: float = 2.0
    """Between the two clean answers that prove that there is none."""
    cancel: float = 60.0
    """How long to watch for the end of a cancelled job."""
    gone: float = 10.0
    """Between the two answers "no such job" that count as an end when there is no other evidence."""
    settle_start: float = 3.0
    """How long a start script that runs may take to print that the session has started, or to fail."""


class Job(Struct, frozen=True, kw_only=True):
    """What a submission made."""

    id: JobId
    token: Token
    cluster: str


class Start(Struct, frozen=True, kw_only=True):
    """What is known of a job some seconds after its submit."""

    status: JobStatus | None
    """None if the scheduler could not be asked."""
    report: Report
    trouble: str = ""
    """Why the scheduler could not be asked."""


_SUBMITS: Final = 3
"""A scheduler that answers none of three submits, yet proves that nothing came of them, is not worth a fourth."""

_COMPANY: Final = 20
"""Other live jobs that a launch asks about."""


class Cluster:
    """Submits, asks and cancels, with the design's promises. Safe for concurrent use by many tasks."""

    def __init__(self, name: str, adapter: Adapter, ledger: Ledger, *, timing: Timing | None = None) -> None:
        self.name = name
        self.adapter = adapter
        self.ledger = ledger
        self._host = adapter.host
        self._timing = timing or Timing()

    # ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, spec: JobSpec) -> Job:
        """Make exactly one job of ``spec``, or raise one clear error. A cancelled caller leaves no job.

        Raises:
            SubmitRejected, SchedulerUnavailable, HostError, LedgerError: there is no job.
            SubmitUnsettled: there may be one; the ledger has the entry.
        """
        entry = Entry(token=spec.token, cluster=self.name, name=spec.name, submitted_at=now())
        self.ledger.write(entry)
        public = await self._stage(spec)
        with anyio.CancelScope(shield=True):
            try:
                job = await self._submit_until_settled(public)
            except (SubmitRejected, SchedulerUnavailable, HostError):
                await self._unstage(spec.token)
                raise
            try:
                self.ledger.write(replace(entry, job=job))
            except LedgerError:
                await self.cancel(job)  # it could not be found again
                await self._unstage(spec.token)
                raise
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.cancel(job)
            raise
        return Job(id=job, token=spec.token, cluster=self.name)

    async def _stage(self, spec: JobSpec) -> JobSpec:
        """Write what is private into the session's directory; return what the adapter may see."""
        reserved = self.adapter.reserved
        kept = {name: value for name, value in spec.environment.items() if not name.startswith(reserved)}
        try:
            directory = await sessions.stage(self._host, replace(spec, environment=kept))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._unstage(spec.token)
            raise
        return public_spec(spec, directory, self.adapter)

    async def _unstage(self, token: Token) -> None:
        """Take back what :meth:`_stage` and the ledger hold of a submission that certainly made no job."""
        with suppress(HostError):  # an unreachable home may be why we are here
            await sessions.remove(self._host, token)
        self.ledger.forget(token)

    async def _submit_until_settled(self, spec: JobSpec) -> JobId:
        trouble: OutcomeUnknown
        for _ in range(_SUBMITS):
            try:
                return await self.adapter.submit(spec)
            except OutcomeUnknown as error:
                trouble = error
            first, *twins = await self._look_up(spec.token, trouble) or (None,)
            for twin in twins:
                await self._end_twin(twin)
            if first is not None:
                return first
        raise SchedulerUnavailable(
            f"{self.adapter.name} on cluster {self.name!r} did not answer {_SUBMITS} submissions in a row. No job "
            f"exists; try again later. The last trouble: {trouble}"
        )

    async def _end_twin(self, id: JobId) -> None:
        with suppress(SchedulerError, HostError, OutcomeUnknown):  # else the session's lock ends it when it starts
            await self.adapter.cancel(id)

    async def _look_up(self, token: Token, trouble: OutcomeUnknown) -> tuple[JobId, ...]:
        """Return the jobs with this token; empty only after two clean answers some time apart said so."""
        clean = False
        try:
            with anyio.fail_after(self._timing.settle):
                for pause in _backoff():
                    try:
                        found = await self.adapter.find(token)
                    except SchedulerUnavailable:
                        await anyio.sleep(pause)
                        continue
                    if found or clean:
                        return found
                    clean = True
                    await anyio.sleep(self._timing.settle_pause)
        except TimeoutError:
            pass
        raise SubmitUnsettled(
            f"{trouble}. Whether the job {token} exists on cluster {self.name!r} could not be found out within "
            f"{self._timing.settle:g} s. Do not start it again before the scheduler answers: look for a job whose "
            "name ends in that token"
        ) from trouble

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, ids: Iterable[JobId]) -> dict[JobId, JobStatus]:
        """Return what is known of each job. Jobs that have ended are answered from the ledger.

        Raises:
            SchedulerUnavailable: it could not be asked; nothing is known, and nothing has changed.
        """
        wanted = frozenset(ids)
        entries = self.ledger.by_job(self.name, wanted)
        known = {id: e.status for id, e in entries.items() if e.status and e.status.state is JobState.ENDED}
        if wanted == known.keys():
            return known
        answers = await self.adapter.status(wanted - known.keys())
        observed = now()
        for id, answer in answers.items():
            status = replace(answer, observed_at=observed)
            if id in entries:
                entry = entries[id]
                status = await self._follow(
                    entry, replace(status, submitted_at=status.submitted_at or entry.submitted_at)
                )
            known[id] = status
        return known

    async def _follow(self, entry: Entry, status: JobStatus) -> JobStatus:
        """Hold the scheduler's answer against the ledger and the job's own report, and record an end."""
        if status.state not in (JobState.ENDED, JobState.GONE):
            if entry.gone_at:
                self.ledger.write(replace(entry, gone_at=None))
            return status
        try:
            report = await sessions.read(self._host, entry.token)
        except HostError:
            return status  # the evidence is out of reach: ask again later
        final = _with_evidence(status, report, entry, self._timing.gone)
        if final.state is JobState.ENDED:
            self.ledger.end(replace(entry, status=final))
            await self._tidy(entry.token)
        elif entry.gone_at is None:
            self.ledger.write(replace(entry, gone_at=status.observed_at))
        return final

    async def _tidy(self, token: Token) -> None:
        """Remove what is private of an ended session, and all that is left of those that ended long ago."""
        with suppress(HostError):  # what stays is unreachable for us, and so for now for everybody
            await sessions.discard(self._host, token)
            for old in self.ledger.purge(self.name):
                await sessions.remove(self._host, old)

    async def report(self, token: Token) -> Report:
        """Return what the job itself says of its session.

        Raises:
            HostError: the session's directory could not be read.
        """
        return await sessions.read(self._host, token)

    async def wait_for_start(self, job: Job, seconds: float, *, ready: Callable[[Report], bool]) -> Start:
        """Watch a new job until it is ``ready`` by its own report, has ended, or ``seconds`` have passed.

        The report is looked at often, the scheduler asked seldom: it is not what a launch should wear out. A command
        that has started gets a moment to become ready, or to fail. The question about the job is also asked about some
        of the user's other live ones: it costs no more, and the ends that nobody asked about get into the ledger.
        """
        others = [entry.job for entry in self.ledger.live(self.name) if entry.job not in (None, job.id)]
        company = [id for id in others[:_COMPANY] if id]
        begin = anyio.current_time()
        deadline = begin + seconds
        asks = _backoff(first=0.5, factor=2.0, longest=8.0)
        ask_at = begin + next(asks)
        seen_running = False
        while True:
            report = await self._report_or_nothing(job.token)
            time = anyio.current_time()
            if report.started and not seen_running:
                seen_running = True
                deadline = min(deadline, time + self._timing.settle_start)
            ended = report.exit_code is not None
            if ended or ready(report) or time >= deadline:
                break
            if time >= ask_at and not seen_running:
                ask_at = time + next(asks)
                status, _ = await self._status_or_trouble(job.id)
                if status is not None and status.state is JobState.ENDED:
                    break
            await anyio.sleep(min(0.1, deadline - time))
        status, trouble = await self._last_status(job.id, company, until_end=ended)
        return Start(status=status, report=await self._report_or_nothing(job.token), trouble=trouble)

    async def _last_status(
        self, id: JobId, company: Iterable[JobId], *, until_end: bool
    ) -> tuple[JobStatus | None, str]:
        """Return the status that a launch ends with, within moments: its user waits.

        A job whose end marker is written gets these moments for its scheduler to notice the end.
        """
        status, trouble = None, f"{self.adapter.name} has not answered yet"
        with anyio.move_on_after(self._timing.settle_start):
            for pause in _backoff():
                status, trouble = await self._status_or_trouble(id, company)
                if status is None or not until_end or status.state in (JobState.ENDED, JobState.GONE):
                    break
                await anyio.sleep(pause)
        return status, trouble

    async def _report_or_nothing(self, token: Token) -> Report:
        try:
            return await sessions.read(self._host, token)
        except HostError:
            return sessions.Report()

    async def _status_or_trouble(self, id: JobId, company: Iterable[JobId] = ()) -> tuple[JobStatus | None, str]:
        try:
            return (await self.status([id, *company]))[id], ""
        except SchedulerUnavailable as error:
            return None, str(error)

    # ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, id: JobId) -> JobStatus:
        """Cancel a job and return its status once its end has been seen. A job that has ended already is no error.

        Raises:
            CancelRefused: the scheduler said no.
            CancelUnverified: it said yes, but the job was still there when the time to watch ran out.
            SchedulerUnavailable, OutcomeUnknown, HostError: it could not be asked.
        """
        entry = self.ledger.by_job(self.name, frozenset([id])).get(id)
        if entry and entry.status:
            return entry.status
        if entry:
            self.ledger.write(replace(entry, cancelled_at=now()))
        await self.adapter.cancel(id)
        last = "nothing was heard of it since"
        with anyio.move_on_after(self._timing.cancel):
            for pause in _backoff():
                status, trouble = await self._status_or_trouble(id)
                if status is not None and status.state in (JobState.ENDED, JobState.GONE):
                    return status
                last = trouble or f"it is {status.state if status else 'unknown'}"
                await anyio.sleep(pause)
        raise CancelUnverified(
            f"job {id} on cluster {self.name!r} was cancelled {self._timing.cancel:g} s ago, but {last}. "
            "Ask for its status later; if it stays, the scheduler's administrator can end it"
        )


def public_spec(spec: JobSpec, directory: str, adapter: Adapter) -> JobSpec:
    """Return what an adapter may see of ``spec``, whose private part lies in the session's ``directory``."""
    return replace(
        spec,
        command=(),
        body="",
        stdin=b"",
        environment={},
        secrets={},
        script=render_script(directory, spec, job_id_variable=adapter.job_id_variable, unset=adapter.unset),
        working_directory=directory,
        output=f"{directory}/{sessions.LOG}",
    )


def _backoff(*, first: float = 0.1, factor: float = 1.6, longest: float = 5.0) -> Iterator[float]:
    """Yield pauses in seconds for ever: short first, so that the usual case is quick; polite later."""
    pause = first
    while True:
        yield pause
        pause = min(pause * factor, longest)


def _with_evidence(status: JobStatus, report: Report, entry: Entry, gone_after: float) -> JobStatus:
    """Complete an answer of ENDED or GONE with the job's own end marker and with the ledger's memory."""
    marked = report.exit_code is not None
    if status.state is JobState.ENDED:
        if status.exit_code is None and marked:
            status = replace(status, exit_code=report.exit_code)
        return replace(status, started_at=status.started_at or report.started_at)
    twice = (
        entry.gone_at is not None
        and status.observed_at is not None
        and (status.observed_at - entry.gone_at).total_seconds() >= gone_after
    )
    if not marked and not twice:
        return status
    if entry.cancelled_at:
        cause = EndCause.CANCELLED
    elif not marked:
        cause = EndCause.UNKNOWN
    else:
        cause = EndCause.FAILED if report.exit_code else EndCause.COMPLETED
    return replace(
        status,
        state=JobState.ENDED,
        cause=cause,
        reason="" if marked else "The scheduler has forgotten the job, and the job left no word of its end.",
        exit_code=report.exit_code,
        nodes=status.nodes or ((report.node,) if report.node else ()),
        started_at=report.started_at,
        ended_at=report.ended_at,
        source="session" if marked else "ledger",
    )


@asynccontextmanager
async def open_cluster(
    name: str,
    *,
    state: Path,
    adapter: str = "local",
    host: str = "local",
    options: Mapping[str, object] | None = None,
    timing: Timing | None = None,
) -> AsyncIterator[Cluster]:
    """Open the cluster ``name`` for the length of an ``async with`` block.

    Args:
        name: what the configuration and the ledger call it.
        state: the state directory, which holds the ledger.
        adapter: the name of an installed adapter.
        host: where its commands run; ``"local"`` is this machine.
        options: the adapter's own settings, checked strictly.
        timing: how patient to be.

    Raises:
        ConfigurationError: the adapter, the host or an option is not known.
    """
    kind = load_adapter(adapter)
    settings = convert(options or {}, kind.Options, f"clusters.{name}.options")
    if host != "local":
        raise ConfigurationError(f'clusters.{name}.host is {host!r}, but only "local", this machine, is supported')
    yield Cluster(name, kind(LocalHost(kind.keeps), settings), Ledger(state), timing=timing)
