"""What the commands tell of jobs, for people and for scripts, and the exit status that it comes to."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final, NoReturn

import click
import msgspec
from msgspec.structs import asdict

from fxsched.errors import FxschedError, HostUnreachable, OutcomeUnknown, SchedulerUnavailable
from fxsched.jobs import JobState, JobStatus
from fxsched.sentences import end_sentence, wait_sentence

NO_SUCH_JOB: Final = 3
UNAVAILABLE: Final = 75
"""Exit status when something could not be asked, and asking later is right; sysexits.h calls it EX_TEMPFAIL."""
_WORSE: Final = (0, NO_SUCH_JOB, UNAVAILABLE, 1)
"""Exit statuses, each worse than those before it."""


class Answer(msgspec.Struct, frozen=True):
    """What can be said of a job: its status, or the last known one and why there is no newer."""

    status: JobStatus | None
    trouble: str = ""


class Outcome:
    """What became of several jobs: each is told of at once, none spoils another's, and the worst decides."""

    code: int = 0
    unheard: OSError | None = None
    """Why nobody can be told. The work is done all the same."""

    def say(self, line: str, code: int = 0) -> None:
        """Tell of a job that was asked for."""
        self.code = max(self.code, code, key=_WORSE.index)
        try:
            if self.unheard is None:
                click.echo(line)
        except OSError as error:  # kept out of the task groups, which would wrap it
            self.unheard = error

    def fail(self, error: FxschedError, about: str = "") -> None:
        """Tell why there is nothing else to tell."""
        self.code = max(self.code, exit_code(error), key=_WORSE.index)
        with suppress(OSError):
            click.echo(f"fxsched: {about}{error}", err=True)

    def leave(self) -> NoReturn:
        """End the command.

        Raises:
            OSError: nobody could be told of all.
        """
        if self.unheard is not None:
            raise self.unheard
        sys.exit(self.code)


def exit_code(error: FxschedError) -> int:
    """Return the exit status for an error: whether to try again later is right."""
    return UNAVAILABLE if isinstance(error, SchedulerUnavailable | OutcomeUnknown | HostUnreachable) else 1


def found_code(status: JobStatus | None) -> int:
    """Return the exit status for what was found of a job."""
    return NO_SUCH_JOB if status and status.state is JobState.GONE else 0


def as_object(status: JobStatus) -> str:
    """Return a status as JSON, with all of its fields, also those that are empty."""
    return msgspec.json.encode(asdict(status)).decode()


def answer_object(id: str, answer: Answer) -> str:
    """Return a status as JSON; where the scheduler could not be asked, the last known one and what was the trouble."""
    status = asdict(answer.status) if answer.status else {"id": id, "state": None}
    return msgspec.json.encode(status | ({"unavailable": answer.trouble} if answer.trouble else {})).decode()


def answer_sentence(id: str, answer: Answer) -> str:
    """Return the same for a person."""
    if not answer.trouble:
        return sentence(answer.status) if answer.status else ""
    if answer.status is None or answer.status.observed_at is None:
        return f"{id} could not be asked for, and nothing is known of it: {answer.trouble}"
    seen = answer.status.observed_at.astimezone()
    return f"{sentence(answer.status)} That was at {seen:%H:%M:%S}; now it could not be asked for: {answer.trouble}"


def sentence(status: JobStatus, ended: str = "has ended") -> str:
    """Return how a job stands; ``ended`` is what is said of one that does no more."""
    match status.state:
        case JobState.ENDED:
            text = f"{ended}: {end_sentence(status)}."
        case JobState.GONE:
            text = "is not known to the scheduler."
        case JobState.RUNNING:
            text = f"is running on {', '.join(status.nodes)}." if status.nodes else "is running."
        case _:
            text = wait_sentence(status)
    return f"{status.id} {text}"
