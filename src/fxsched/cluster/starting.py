"""A new job is watched until its session has started, it has ended, or its user has waited long enough.

Two sources tell: the job's own report, which is looked at often, and the scheduler, which is asked seldom: it is not
what a launch should wear out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from msgspec import Struct

from fxsched.cluster.timing import backoff
from fxsched.jobs import JobState, JobStatus
from fxsched.session.directory import Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Start(Struct, frozen=True, kw_only=True):
    """What is known of a job some seconds after its submit."""

    status: JobStatus | None
    """None if the scheduler could not be asked."""
    report: Report
    trouble: str = ""
    """Why the scheduler could not be asked."""


class Watch:
    """Watches one job.

    Args:
        who: the scheduler's name.
        report: reads the job's report; an empty one where it cannot be read.
        status: asks the scheduler; where that fails, the status is None and the words say why.
        settle: seconds that a command which runs gets to become ready or to fail, and a scheduler to notice an end.
    """

    def __init__(
        self,
        who: str,
        report: Callable[[], Awaitable[Report]],
        status: Callable[[], Awaitable[tuple[JobStatus | None, str]]],
        *,
        settle: float,
    ) -> None:
        self._who = who
        self._report = report
        self._status = status
        self._settle = settle

    async def until(self, seconds: float, *, ready: Callable[[Report], bool]) -> Start:
        """Watch until the job is ``ready`` by its own report, has ended, or ``seconds`` have passed."""
        begin = anyio.current_time()
        deadline = begin + seconds
        asks = backoff(first=0.5, factor=2.0, longest=8.0)
        ask_at = begin + next(asks)
        seen_running = False
        while True:
            report = await self._report_within(max(self._settle, deadline - anyio.current_time()))
            time = anyio.current_time()
            if report.started and not seen_running:
                seen_running = True
                deadline = min(deadline, time + self._settle)
            ended = report.exit_code is not None
            if ended or ready(report) or time >= deadline:
                break
            if time >= ask_at and not seen_running:
                ask_at = time + next(asks)
                status = None
                with anyio.move_on_after(deadline - time):
                    status, _ = await self._status()
                if status is not None and status.state is JobState.ENDED:
                    break
            await anyio.sleep(max(0.0, min(0.1, deadline - time)))
        status, trouble = await self._last_status(until_end=ended)
        return Start(status=status, report=await self._report_within(self._settle), trouble=trouble)

    async def _report_within(self, seconds: float) -> Report:
        """Return the report; an empty one where the home directory hangs for so long."""
        with anyio.move_on_after(seconds):
            return await self._report()
        return Report()

    async def _last_status(self, *, until_end: bool) -> tuple[JobStatus | None, str]:
        """Return the status that a launch ends with, within moments: its user waits.

        A job whose end marker is written gets these moments for its scheduler to notice the end.
        """
        status, trouble = None, f"{self._who} has not answered yet"
        with anyio.move_on_after(self._settle):
            for pause in backoff():
                status, trouble = await self._status()
                if status is None or not until_end or status.state in (JobState.ENDED, JobState.GONE):
                    break
                await anyio.sleep(pause)
        return status, trouble
