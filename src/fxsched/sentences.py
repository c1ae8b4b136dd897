"""A job's status → the sentences that people read, the same in the launcher and on the command line. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fxsched.jobs import EndCause, JobState

if TYPE_CHECKING:
    from fxsched.jobs import JobStatus

_QUOTED: Final = re.compile(r"\w[\w ]* says: ")
_CAUSES: Final = {
    EndCause.COMPLETED: "it ended without an error, so no session is left",
    EndCause.CANCELLED: "it was cancelled",
    EndCause.WALLTIME: "its time limit ran out",
    EndCause.MEMORY: "it used more memory than it had asked for",
    EndCause.NODE_FAILURE: "its node failed",
    EndCause.PREEMPTED: "it had to make room for a job that goes before it",
    EndCause.REJECTED: "the scheduler found that it can never run",
    EndCause.UNKNOWN: "nobody can say why",
}


def end_sentence(status: JobStatus) -> str:
    """Return why a job ended, as the end of a sentence."""
    if status.cause is EndCause.FAILED or status.cause is None:
        if status.signal:
            text = f"it was killed by signal {status.signal}"
        elif status.exit_code is not None:
            text = f"it failed with exit code {status.exit_code}"
        else:
            text = "it failed"
    else:
        text = _CAUSES[status.cause]
    return f"{text} ({status.reason.rstrip('.')})" if status.reason else text


def wait_sentence(status: JobStatus, *, now: datetime | None = None) -> str:
    """Return how a waiting job stands, and why, as the rest of a sentence."""
    word = {JobState.HELD: "is held", JobState.SUSPENDED: "is suspended"}.get(status.state, "is queued")
    text = f"{word}: {_continued(status.reason)}" if status.reason else word
    if status.expected_start is not None and status.state is JobState.QUEUED:
        expected = status.expected_start.astimezone()
        today = (now or datetime.now(UTC)).astimezone().date()
        text += f", about {expected:%H:%M}" if expected.date() == today else f", about {expected:%Y-%m-%d %H:%M}"
    return f"{text}."


def _continued(sentence: str) -> str:
    """Return a sentence as the end of another one; the name of who is quoted keeps its capital."""
    first = sentence[0] if _QUOTED.match(sentence) else sentence[0].lower()
    return f"{first}{sentence[1:].rstrip('.')}"
