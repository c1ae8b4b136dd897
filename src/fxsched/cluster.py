"""A cluster: one adapter on one host, and the promises that neither of them makes.

``submission`` makes exactly one job of a spec, ``polling`` asks politely, ``evidence`` weighs the answers, ``starting``
watches a new job, ``ledger`` remembers. This module puts them together for the three verbs: submit, status, cancel.
"""

from __future__ import annotations

import logging
import random
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec import Struct
from msgspec.structs import replace

from fxsched import sessions
from fxsched.errors import (
    AuthenticationFailed,
    CancelRefused,
    CancelUnverified,
    CommandNotFound,
    ConfigurationError,
    FxschedError,
    HostError,
    HostKeyRejected,
    LedgerError,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerError,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.evidence import concluded, identified
from fxsched.files import now
from fxsched.hosts.base import connect
from fxsched.hosts.opening import HostSettings, check_hosts, open_host
from fxsched.jobs import JobId, JobState, JobStatus, Token
from fxsched.ledger import KEEP_ENDED, Entry, Ledger
from fxsched.polling import PartPollers
from fxsched.registry import load_adapter
from fxsched.starting import Start, Watch
from fxsched.strict import convert
from fxsched.submission import Submission, Timing, backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fxsched.adapter import Adapter
    from fxsched.jobs import JobSpec
    from fxsched.sessions import Report


_log = logging.getLogger("fxsched.cluster")

_ADVICE: Final = (
    (SubmitRejected, "Ask for something else, or show this to the cluster's administrator"),
    (CancelRefused, "It may be somebody else's job; if it is not, show this to the cluster's administrator"),
    ((HostKeyRejected, AuthenticationFailed), "Show this to the cluster's administrator"),
    (CommandNotFound, "See to the cluster's options.commands in the configuration, or to the PATH"),
    (FxschedError, "Try again later; if it stays so, show this to the cluster's administrator"),
)


_OVER: Final = frozenset({JobState.ENDED, JobState.GONE})
"""What says that a job does not live: an end, or perhaps one."""


class Job(Struct, frozen=True, kw_only=True):
    """What a submission made."""

    id: JobId
    token: Token
    cluster: str


class Cancelled(Struct, frozen=True, kw_only=True):
    """What came of a cancel: the job has ended in any case."""

    status: JobStatus
    already: bool
    """Whether it had ended before it was asked to."""


class Cluster:
    """Submits, asks and cancels, with the design's promises. Safe for concurrent use by many tasks."""

    def __init__(self, name: str, adapter: Adapter, ledger: Ledger, *, timing: Timing | None = None) -> None:
        self.name = name
        self.adapter = adapter
        self.ledger = ledger
        self.timing = timing or Timing()
        self.poller = PartPollers(adapter, ledger.state / "poll", name, interval=self.timing.poll)
        self.submission = Submission(name, adapter, ledger, self.timing)

    async def connect(self) -> None:
        """Open the way to the cluster's host now, beside other work. Where that fails, the first command says so."""
        with suppress(FxschedError):
            await connect(self.adapter.host)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Let the errors that pass through name the cluster and say what to do. One that names it has said all."""
        try:
            yield
        except (SchedulerError, HostError, OutcomeUnknown) as error:
            text = str(error)
            if f"cluster {self.name!r}" in text:
                raise
            advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), "")
            explained = type(error)(f"cluster {self.name!r}: {text.removesuffix('.')}. {advice}")
            vars(explained).update(vars(error))
            raise explained from error

    # ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, spec: JobSpec) -> Job:
        """Make exactly one job of ``spec``, or raise one clear error. A cancelled caller leaves no job.

        Raises:
            SubmitRejected, SchedulerUnavailable, HostError, LedgerError: there is no job.
            SubmitUnsettled: there may be one; the ledger has the entry.
        """
        with self.explained():
            job = Job(id=await self.submission.run(spec), token=spec.token, cluster=self.name)
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            await self.withdraw(job)
            raise
        return job

    async def withdraw(self, job: Job) -> None:
        """Cancel the job of a caller who was cancelled. Cannot be cancelled itself.

        Raises:
            CancelUnverified: for as long as a cancel may take, the scheduler could not be asked.
        """
        with anyio.CancelScope(shield=True):
            end = anyio.current_time() + self.timing.cancel
            for pause in backoff():
                try:
                    await self.cancel(job.id)
                except (SchedulerUnavailable, OutcomeUnknown, HostError, LedgerError) as error:
                    if anyio.current_time() + pause >= end:
                        raise CancelUnverified(
                            f"the launch was given up, but its job {job.id} on cluster {self.name!r} could not be "
                            f"cancelled, and may start a session: {error}. Cancel it later: fxsched cancel {job.id}"
                        ) from error
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
                await self._follow(entry, answers[entry.job])
        for id, status in answers.items():
            if id in wanted and id not in known:
                known[id] = await self._follow(entries[id], status) if id in entries else status
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

    async def _follow(self, entry: Entry, status: JobStatus) -> JobStatus:
        """Hold the scheduler's answer against the ledger and the job's own report, and record an end."""
        status = identified(status, entry)
        if status.state not in _OVER and entry.gone_at is None:
            return status
        # Somebody else may have written down a cancel, or the end, since we asked.
        entry = self.ledger.entry(entry.token) or entry
        if entry.status:
            return entry.status
        if status.state not in _OVER:
            self._record(replace(entry, gone_at=None))
            return status
        try:
            report = await sessions.read(await self.adapter.host_of(entry.token, entry.job), entry.token)
        except HostError:
            return status  # the evidence is out of reach: ask again later
        final = concluded(status, report, entry, self.timing.poll)
        if final.state is JobState.ENDED:
            self._record(replace(entry, status=final))
            await self._tidy(entry)
        elif entry.gone_at is None or (status.observed_at and entry.gone_at > status.observed_at):
            self._record(replace(entry, gone_at=status.observed_at))
        return final

    def _record(self, entry: Entry) -> None:
        """Write down what was found out. Where that fails, it is true all the same, and will be found out again."""
        try:
            if entry.status:
                self.ledger.end(entry)
            else:
                self.ledger.write(entry)
        except LedgerError as error:
            _log.warning("%s: job %s: %s", entry.token, entry.job, error)

    async def _tidy(self, entry: Entry) -> None:
        """Remove what is private of an ended session, and all that is left of those that ended long ago."""
        with suppress(HostError):  # what stays is unreachable for us, and so for now for everybody
            await sessions.discard(await self.adapter.host_of(entry.token, entry.job), entry.token)
        old = self.ledger.old(self.name)
        random.shuffle(old)  # none is for ever behind one whose host is down
        for token in old:
            try:
                await sessions.remove(await self.adapter.host_of(token), token)
            except HostError:
                if token in self.ledger.old(self.name, 2 * KEEP_ENDED):  # its host has been away for long enough
                    self.ledger.purge(token)
                break
            self.ledger.purge(token)

    async def report(self, token: Token) -> Report:
        """Return what the job itself says of its session.

        Raises:
            HostError: the session's directory could not be read.
        """
        return await sessions.read(await self.adapter.host_of(token), token)

    # ── start ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def wait_for_start(self, job: Job, seconds: float, *, ready: Callable[[Report], bool]) -> Start:
        """Watch a new job until it is ``ready`` by its own report, has ended, or ``seconds`` have passed."""

        async def report() -> Report:
            try:
                return await sessions.read(await self.adapter.host_of(job.token, job.id), job.token)
            except HostError:
                return sessions.Report()

        status = partial(self._status_or_trouble, job.id)
        watch = Watch(self.adapter.name, report, status, settle=self.timing.settle_start)
        return await watch.until(seconds, ready=ready)

    async def _status_or_trouble(self, id: JobId) -> tuple[JobStatus | None, str]:
        try:
            return (await self.status([id], max_age=0))[id], ""
        except FxschedError as error:
            return None, str(error)

    # ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, id: JobId) -> Cancelled:
        """Cancel a job and return once its end has been seen. A job that has ended already is no error.

        Whatever happens on the way, asking again is safe. A scheduler that cannot be asked is not told to cancel: it
        may have crashed and given the id to another job.

        Raises:
            CancelRefused: the scheduler said no.
            CancelUnverified: it said yes, or did not answer, but the job was still there when the time ran out.
            SchedulerUnavailable, HostError: it could not be asked; nothing was changed.
        """
        with self.explained():
            before = (await self.status([id], max_age=0))[id]
            if before.state is JobState.GONE:  # one such answer proves nothing, and a job that is left lives on
                await anyio.sleep(self.timing.settle_pause)
                before = (await self.status([id], max_age=0))[id]
            if before.state in _OVER:
                return Cancelled(status=before, already=True)
            entry = self.ledger.by_job(self.name, frozenset([id])).get(id)
            if entry:
                self._record(replace(entry, cancelled_at=now()))
            try:
                last = await self._ask_for_the_end(id, hard=False)
            except (SchedulerError, HostError):
                if entry:
                    self._record(entry)  # whatever ends it now, it is not this
                raise
            return Cancelled(status=await self._end(id, last), already=False)

    async def _end(self, id: JobId, last: str) -> JobStatus:
        """Watch a job that was asked to end until it has; after half of the time, ask by harder means."""
        begin = anyio.current_time()
        hard = False
        for pause in backoff():
            status, trouble = await self._status_or_trouble(id)
            if status is not None and status.state in _OVER:
                return status
            last = trouble or (f"it is {status.state}" if status else last)
            passed = anyio.current_time() - begin
            if passed >= self.timing.cancel:
                break
            if status is not None and passed >= self.timing.cancel / 2 and not hard:
                hard = True
                last = await self._ask_for_the_end(id, hard=True) or last
            await anyio.sleep(pause)
        raise CancelUnverified(
            f"job {id} on cluster {self.name!r} was cancelled {self.timing.cancel:g} s ago, but {last}. "
            "Ask for its status later; if it stays, the scheduler's administrator can end it"
        )

    async def _ask_for_the_end(self, id: JobId, *, hard: bool) -> str:
        """Ask; return what was wrong with the answer, if none came: whether it worked is seen by watching.

        Raises:
            SchedulerError, HostError: the first time, it was refused or could not be asked.
        """
        try:
            await (self.adapter.kill(id) if hard else self.adapter.cancel(id))
        except (OutcomeUnknown, SchedulerError, HostError) as error:
            if not hard and not isinstance(error, OutcomeUnknown):
                raise
            return str(error)
        return ""


@asynccontextmanager
async def open_cluster(
    name: str,
    *,
    state: Path,
    adapter: str = "local",
    host: str | HostSettings = "local",
    options: Mapping[str, object] | None = None,
    timing: Timing | None = None,
) -> AsyncIterator[Cluster]:
    """Open the cluster ``name`` for the length of an ``async with`` block.

    Args:
        name: what the configuration and the ledger call it.
        state: the state directory, which holds the ledger.
        adapter: the name of an installed adapter.
        host: where its commands run: ``"local"`` is this machine, ``ssh://[user@]host[:port]`` another one, and
            ``HostSettings`` say more.
        options: the adapter's own settings, checked strictly.
        timing: how patient to be.

    Raises:
        ConfigurationError: the adapter, the host or an option is not known.
    """
    kind = load_adapter(adapter)
    settings = convert(options or {}, kind.Options, f"clusters.{name}.options")
    hosts = HostSettings(hosts=(host,)) if isinstance(host, str) else host
    try:
        check_hosts(hosts, pool=kind.pools)
    except ConfigurationError as error:
        raise ConfigurationError(f"clusters.{name}: {error}") from None
    async with open_host(hosts, keep=kind.keeps, pool=kind.pools) as opened:
        yield Cluster(name, kind(opened, settings), Ledger(state), timing=timing)
