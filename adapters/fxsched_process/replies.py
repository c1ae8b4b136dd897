"""What ``jobs.sh status`` prints → ``JobStatus``. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token

SOURCE: Final = "processes"

_REASONS: Final = {
    "starting": "It is being started.",
    "unseen": "What was written down of it cannot be read.",
    "elsewhere": "It was started on another machine, which alone can say how it stands.",
    "stillborn": "Its supervisor never started.",
    "rebooted": "The machine was restarted.",
    "unsupervised": "Its supervisor was killed: how it ends will not be known.",
    "dead": "Its processes were killed from outside.",
}


class Burden(Struct, frozen=True):
    """How much there is to do on a host."""

    sessions: int
    """Sessions of ours, of all users as far as they can be seen."""
    load: float
    """The load of the last minute, as the kernel counts it."""
    cores: int
    latest: int
    """When the user's latest job was started there, in seconds since 1970; 0: none is remembered."""


def parse_burden(text: str, host: str) -> Burden:
    """Read what ``jobs.sh burden`` prints.

    Raises:
        SchedulerUnavailable: it is something else.
    """
    found = re.search(r"^burden (\d+) (\d+(?:\.\d+)?) (\d+) (\d+)$", text, re.MULTILINE)
    if not found:
        raise SchedulerUnavailable(f"{host} did not say how much there is to do")
    return Burden(int(found[1]), float(found[2]), max(1, int(found[3])), int(found[4]))


def parse_status(text: str) -> dict[JobId, JobStatus]:
    """Return the status of each job that a line tells of; a line that is not whole tells of none."""
    found = {}
    for line in text.splitlines():
        match line.split():
            case [id, "unknown"]:
                found[JobId(id)] = JobStatus(id=JobId(id), state=JobState.GONE, source=SOURCE)
            case [id, word, host, began, letter, code, ended, asked]:
                found[JobId(id)] = _status(JobId(id), word, host, began, letter, code, ended, asked)
    return found


def _status(id: JobId, word: str, host: str, began: str, letter: str, code: str, ended: str, asked: str) -> JobStatus:
    state, cause, exit_code = _STATES.get(word, JobState.RUNNING), None, None
    if word == "alive" and letter in "Tt":
        state = JobState.SUSPENDED
    if state is JobState.ENDED:
        exit_code = int(code) if code.isdigit() else None
        cause = _cause(word, asked, exit_code)
    return JobStatus(
        id=id,
        state=state,
        token=Token(id.partition("@")[0]),
        native_state=word,
        reason=_REASONS.get(word, "") if asked == "-" else "",
        cause=cause,
        exit_code=exit_code,
        signal=exit_code - 128 if exit_code and exit_code > 128 else None,
        nodes=() if host == "-" else (host,),
        started_at=_time(began),
        ended_at=_time(ended),
        source=SOURCE,
    )


def _cause(word: str, asked: str, exit_code: int | None) -> EndCause:
    if asked != "-":
        return EndCause(asked)
    if word == "rebooted":
        return EndCause.NODE_FAILURE
    if exit_code is None:
        return EndCause.FAILED if word == "stillborn" else EndCause.UNKNOWN
    return EndCause.FAILED if exit_code else EndCause.COMPLETED


_STATES: Final = {
    "starting": JobState.QUEUED,
    "alive": JobState.RUNNING,
    "elsewhere": JobState.RUNNING,
    "unsupervised": JobState.RUNNING,
    "unseen": JobState.RUNNING,
    "stillborn": JobState.ENDED,
    "rebooted": JobState.ENDED,
    "dead": JobState.ENDED,
    "ended": JobState.ENDED,
}


def _time(seconds: str) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() else None
