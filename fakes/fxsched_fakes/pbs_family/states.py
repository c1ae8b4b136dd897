"""A job's state as a letter, before its end: the same for both."""

from __future__ import annotations

from ..model import Cause, Job, State, Wait
from .values import waits_for_dependency


def letter(job: Job, ended: str) -> str:
    match job.state:
        case State.QUEUED:
            if job.held or waits_for_dependency(job):
                return "H"
            return "W" if job.wait == Wait.BEGIN_TIME else "Q"
        case State.SUSPENDED | State.STOPPED:
            return "S"
        case State.ENDING:
            return "R" if job.cause in (Cause.CANCELLED, Cause.WALLTIME) else "E"  # until its processes have ended
        case State.ENDED:
            return ended
    return "R"
