"""The scheduler's answer, the job's own report and the ledger's memory → what is known of a job. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from fxsched.jobs import EndCause, JobState, JobStatus

if TYPE_CHECKING:
    from fxsched.records.ledger import Entry
    from fxsched.session.directory import Report


def identified(status: JobStatus, entry: Entry) -> JobStatus:
    """Return the status if it is of the entry's job, else GONE.

    A scheduler that lost jobs in a crash gives their ids again: the id alone is no proof, the token in the name is.
    """
    if status.name and not status.name.endswith(entry.token):
        status = JobStatus(
            id=status.id,
            state=JobState.GONE,
            reason="The scheduler has given the job's id to another job.",
            observed_at=status.observed_at,
            source=status.source,
        )
    return status if status.submitted_at else replace(status, submitted_at=entry.submitted_at)


def concluded(status: JobStatus, report: Report, entry: Entry, gone_after: float) -> JobStatus:
    """Complete an answer of ENDED or GONE with the job's own end marker and with the ledger's memory.

    GONE becomes an end on the marker's evidence, or when the scheduler has said it twice, ``gone_after`` seconds apart.
    An end of which the scheduler cannot tell the cause (yet: accounts may lag) gets it from them in the same way, and
    from the cancel that was asked for.
    """
    marked = report.exit_code is not None
    ended = status.state is JobState.ENDED
    if ended and status.cause is not EndCause.UNKNOWN:
        if status.exit_code is None and marked:
            status = replace(status, exit_code=report.exit_code)
        return replace(status, started_at=status.started_at or report.started_at)
    twice = (
        entry.gone_at is not None
        and status.observed_at is not None
        and (status.observed_at - entry.gone_at).total_seconds() >= gone_after
    )
    if not marked and not twice and not (ended and entry.cancelled_at):
        return replace(status, state=JobState.GONE, cause=None)
    forgotten = "The scheduler has forgotten the job, and the job left no word of its end."
    return replace(
        status,
        state=JobState.ENDED,
        cause=_cause(report, entry),
        reason="" if marked else status.reason if ended else forgotten,
        exit_code=report.exit_code if status.exit_code is None else status.exit_code,
        nodes=status.nodes or ((report.node,) if report.node else ()),
        started_at=status.started_at or report.started_at,
        ended_at=status.ended_at or report.ended_at,
        source="session" if marked else status.source if ended else "ledger",
    )


def _cause(report: Report, entry: Entry) -> EndCause:
    if entry.cancelled_at:
        return EndCause.CANCELLED
    if report.exit_code is None:
        return EndCause.UNKNOWN
    return EndCause.FAILED if report.exit_code else EndCause.COMPLETED
