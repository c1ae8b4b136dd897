"""The scheduler's answer, the job's own report and the ledger's memory → what is known of a job. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.jobs import EndCause, JobState, JobStatus
from fxsched.kit import token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fxsched.jobs import JobId, Token
    from fxsched.records.ledger import Entry
    from fxsched.session.directory import Report

_BY_SIGNAL: Final = 128
"""From this exit code on, a signal ended the job: it may have been preempted, and run again."""
_FORGOTTEN: Final = timedelta(days=1)
"""For how long a scheduler must not know a job whose session has started, to be believed without another word."""
_LATE: Final = timedelta(hours=1)
"""After a job's walltime, for a scheduler that ends it late."""


class Identity(Enum):
    """Whether what a scheduler has under an id is the job that a ledger's entry is about."""

    SAME = auto()
    """It is: its token says so, or the time of its submission, or the job itself."""
    UNCLEAR = auto()
    """It may be: such a job is kept alive, but nothing is done to it."""
    OTHER = auto()
    """It is another one: a scheduler that lost jobs in a crash gives their ids again."""


def identity(status: JobStatus, entry: Entry, report: Report | None = None, *, same: bool = False) -> Identity:
    """Return whether ``status`` is of the entry's job.

    A name proves nothing unless a token ends it: its owner, or a site's submit plugin, may have changed it.

    Args:
        status: the scheduler's answer.
        entry: the ledger's memory.
        report: the job's own report, where it was read.
        same: whether the report is by a job of that id.
    """
    token = shown_token(status)
    if token is not None:
        return Identity.SAME if token == entry.token else Identity.OTHER
    if entry.accepted_at is not None and status.submitted_at is not None:
        return Identity.SAME if entry.accepted_at == status.submitted_at else Identity.OTHER
    if report is not None and report.started and report.exit_code is None and same:
        return Identity.SAME
    return Identity.UNCLEAR


def shown_token(status: JobStatus) -> Token | None:
    """Return the token that the scheduler has for a job."""
    return status.token or token_of(status.name)


def another(status: JobStatus) -> JobStatus:
    """Return what is known of a job whose id the scheduler has given to another one."""
    return JobStatus(
        id=status.id,
        state=JobState.GONE,
        reason="The scheduler has given the job's id to another job.",
        observed_at=status.observed_at,
        source=status.source,
    )


def concluded(status: JobStatus, report: Report, entry: Entry, gone_after: float) -> JobStatus:
    """Complete an answer of ENDED or GONE with the job's own end marker and with the ledger's memory.

    GONE becomes an end after a cancel that was accepted, on the marker's evidence, or when the scheduler has said it
    twice, ``gone_after`` seconds apart. A marker of an end by a signal proves nothing, because the job may run again;
    and a session that has told of its start, and of no end, lives on until the scheduler has not known it for long.
    An end of which the scheduler cannot tell the cause (yet: accounts may lag) gets it in the same way.
    """
    marked = report.exit_code is not None and report.exit_code < _BY_SIGNAL
    ended = status.state is JobState.ENDED
    if ended and status.cause is not EndCause.UNKNOWN:
        return _completed(status, report, entry)
    if not (marked or entry.cancelled_at or _said_twice(status, report, entry, gone_after)):
        return replace(status, state=JobState.GONE, cause=None)
    told = report.exit_code is not None
    forgotten = "The scheduler has forgotten the job, and the job left no word of its end."
    return replace(
        status,
        state=JobState.ENDED,
        cause=_cause(report, entry),
        reason="" if told or entry.cancelled_at else status.reason if ended else forgotten,
        exit_code=report.exit_code if status.exit_code is None else status.exit_code,
        nodes=status.nodes or ((report.node,) if report.node else ()),
        started_at=status.started_at or report.started_at,
        ended_at=status.ended_at or report.ended_at,
        source="session" if told else status.source if ended else "ledger",
    )


def _completed(status: JobStatus, report: Report, entry: Entry) -> JobStatus:
    """Return a scheduler's answer of an end with what it left open. What was cancelled did not fail by that signal."""
    code = report.exit_code if status.exit_code is None else status.exit_code
    by_signal = bool(status.signal) or (code is not None and code > _BY_SIGNAL)
    cause = status.cause
    if entry.cancelled_at and cause is EndCause.FAILED and by_signal:
        cause = EndCause.CANCELLED
    return replace(status, cause=cause, exit_code=code, started_at=status.started_at or report.started_at)


def _said_twice(status: JobStatus, report: Report, entry: Entry, gone_after: float) -> bool:
    """Whether the scheduler has not known the job for long enough."""
    if entry.gone_at is None or status.observed_at is None:
        return False
    missing = status.observed_at - entry.gone_at
    if missing < timedelta(seconds=gone_after):
        return False
    if status.state is JobState.ENDED or not report.started or report.exit_code is not None:
        return True
    if entry.walltime and report.started_at:
        over = report.started_at + timedelta(seconds=entry.walltime) + _LATE
        return status.observed_at >= over or missing >= _FORGOTTEN
    return missing >= _FORGOTTEN


def _cause(report: Report, entry: Entry) -> EndCause:
    if entry.cancelled_at:
        return EndCause.CANCELLED
    if report.exit_code is None:
        return EndCause.UNKNOWN
    return EndCause.FAILED if report.exit_code else EndCause.COMPLETED


def kept_by(report: Report, found: tuple[JobId, ...], same: Callable[[JobId, JobId], bool]) -> JobId | None:
    """Return which of a session's jobs has it, by the session's own report; None if none of them says so."""
    if report.job is None:
        return None
    return next((id for id in found if same(id, report.job)), None)
