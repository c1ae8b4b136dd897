"""The ends of jobs: recognised, put on record, and handed over to be tidied up after."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.cluster.evidence import Identity, another, concluded, identity, kept_by
from fxsched.errors import HostError, LedgerError, SchedulerUnavailable
from fxsched.jobs import JobState
from fxsched.records.files import now
from fxsched.session import directory

if TYPE_CHECKING:
    from fxsched.cluster.scheduler import Scheduler
    from fxsched.cluster.tidying import Tidying
    from fxsched.jobs import JobStatus
    from fxsched.records.ledger import Entry, Ledger
    from fxsched.session.directory import Report

_log = logging.getLogger("fxsched.cluster.ends")

OVER: Final = frozenset({JobState.ENDED, JobState.GONE})
"""What says that a job does not live: an end, or perhaps one."""


class Ends:
    """What is done with each answer about a job that the ledger has.

    Args:
        scheduler: whose jobs they are.
        ledger: where an end is written down.
        tidying: what is told of a session that has ended.
        gone_after: seconds between the two answers "no such job" that count as an end.
    """

    def __init__(self, scheduler: Scheduler, ledger: Ledger, tidying: Tidying, gone_after: float) -> None:
        self._scheduler = scheduler
        self._ledger = ledger
        self._tidying = tidying
        self._gone_after = max(gone_after, scheduler.lag, scheduler.end_lag)

    async def follow(self, entry: Entry, status: JobStatus) -> JobStatus:
        """Hold the scheduler's answer against the ledger and the job's own report; return what is known then.

        Where another job has the session, a twin that came late, the answer is that one's, and so is the entry.
        """
        same = identity(status, entry)
        if same is Identity.OTHER:
            status = another(status)
        elif same is Identity.SAME and entry.accepted_at is None and status.submitted_at and status.state not in OVER:
            entry = replace(self._ledger.entry(entry.token) or entry, accepted_at=status.submitted_at)
            self.record(entry)
        if status.submitted_at is None:
            status = replace(status, submitted_at=entry.submitted_at)
        if status.state not in OVER and entry.gone_at is None:
            return status
        # Somebody else may have written down a cancel, or the end, since we asked.
        entry = self._ledger.entry(entry.token) or entry
        if entry.status:
            return entry.status
        if status.state not in OVER:
            self.record(replace(entry, gone_at=None))
            return status
        try:
            report = await directory.read(await self._scheduler.host_of(entry.token, entry.job), entry.token)
        except HostError:
            if entry.cancelled_at is None:
                return status  # the evidence is out of reach: ask again later
            report = directory.Report()
        if status.state is JobState.GONE and not report.started and self._is_late(entry, status):
            return status
        twin = await self._twin(entry, report)
        if twin is not None:
            _log.warning("%s: job %s has the session, not %s", entry.token, twin.id, entry.job)
            self.record(replace(entry, job=twin.id, gone_at=None))
            return twin
        final = concluded(status, report, entry, self._gone_after)
        if final.state is JobState.ENDED:
            self.record(replace(entry, status=final))
            self._tidying.ended(entry)
        elif entry.gone_at is None or (status.observed_at and entry.gone_at > status.observed_at):
            self.record(replace(entry, gone_at=status.observed_at))
        return final

    def _is_late(self, entry: Entry, status: JobStatus) -> bool:
        """Whether a job may be missing only because the scheduler's list lags behind."""
        age = ((status.observed_at or now()) - entry.submitted_at).total_seconds()
        return 0 <= age < self._scheduler.lag

    async def _twin(self, entry: Entry, report: Report) -> JobStatus | None:
        """Return the status of another job that says that it has the session, if there is such a job, and it lives."""
        if not report.started or report.job is None or entry.job is None:
            return None
        if not self._scheduler.job_id_variable or self._scheduler.is_same(entry.job, report.job):
            return None
        try:
            other = kept_by(report, await self._scheduler.find(entry.token), self._scheduler.is_same)
            if other is None or other == entry.job:
                return None
            status = (await self._scheduler.status(frozenset([other])))[other]
        except (SchedulerUnavailable, HostError):
            return None
        if status.state in OVER or identity(status, entry) is not Identity.SAME:
            return None
        return status

    def record(self, entry: Entry) -> None:
        """Write down what was found out. Where that fails, it is true all the same, and will be found out again."""
        try:
            if entry.status:
                self._ledger.end(entry)
            else:
                self._ledger.write(entry)
        except LedgerError as error:
            _log.warning("%s: job %s: %s", entry.token, entry.job, error)
