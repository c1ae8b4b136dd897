"""The ends of jobs: recognised, put on record, and handed over to be tidied up after."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.cluster.evidence import concluded, identified
from fxsched.errors import HostError, LedgerError
from fxsched.jobs import JobState
from fxsched.session import directory

if TYPE_CHECKING:
    from fxsched.adapter import Adapter
    from fxsched.cluster.tidying import Tidying
    from fxsched.jobs import JobStatus
    from fxsched.records.ledger import Entry, Ledger

_log = logging.getLogger("fxsched.cluster.ends")

OVER: Final = frozenset({JobState.ENDED, JobState.GONE})
"""What says that a job does not live: an end, or perhaps one."""


class Ends:
    """What is done with each answer about a job that the ledger has.

    Args:
        adapter: the scheduler's.
        ledger: where an end is written down.
        tidying: what is told of a session that has ended.
        gone_after: seconds between the two answers "no such job" that count as an end.
    """

    def __init__(self, adapter: Adapter, ledger: Ledger, tidying: Tidying, gone_after: float) -> None:
        self._adapter = adapter
        self._ledger = ledger
        self._tidying = tidying
        self._gone_after = gone_after

    async def follow(self, entry: Entry, status: JobStatus) -> JobStatus:
        """Hold the scheduler's answer against the ledger and the job's own report; return what is known then."""
        status = identified(status, entry)
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
            report = await directory.read(await self._adapter.host_of(entry.token, entry.job), entry.token)
        except HostError:
            return status  # the evidence is out of reach: ask again later
        final = concluded(status, report, entry, self._gone_after)
        if final.state is JobState.ENDED:
            self.record(replace(entry, status=final))
            self._tidying.ended(entry)
        elif entry.gone_at is None or (status.observed_at and entry.gone_at > status.observed_at):
            self.record(replace(entry, gone_at=status.observed_at))
        return final

    def record(self, entry: Entry) -> None:
        """Write down what was found out. Where that fails, it is true all the same, and will be found out again."""
        try:
            if entry.status:
                self._ledger.end(entry)
            else:
                self._ledger.write(entry)
        except LedgerError as error:
            _log.warning("%s: job %s: %s", entry.token, entry.job, error)
