"""Grid Engine's words about a waiting or failed job → sentences for its owner. Source: 8.1.9, as it was seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched import reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the scheduler notes of a job. The first that fits one of the notes is the reason.
_NOTES: Final = (
    (r"hold state", reasons.HELD_BY_OWNER),
    (r"job dependencies", reasons.DEPENDENCY),
    (r"execution time not reached", reasons.BEGIN_TIME),
    (r"advance reservation", reasons.RESERVATION),
    (r"maximum number of .*jobs|user limitations|job limit", reasons.USER_LIMIT),
    (r"exceeds limit", "Waiting: a limit of the site is reached."),
    (r"only offers \d+ slots|offers only|because it is full|overload", reasons.RESOURCES),
    (r"because it is (?:disabled|suspended)|temporarily not available|in error state", reasons.QUEUE_STOPPED),
)
# Notes that explain why some *other* queue was not considered, or that there are none.
_NO_REASON: Final = re.compile(
    r"it is not contained in its|is not requested|turned off|Job is in error state|because its type"
)
_FULL: Final = re.compile(r"because it is full|overload or full")
_STAMP: Final = re.compile(r"^[\d/]+ [\d:]+ \[\d+:\d+\]: (?:error: )?")
_EXIT_100: Final = "exit_status of job start = 100"


def waiting(notes: Iterable[str], general: Iterable[str] = ()) -> str:
    """Return why a job waits, from the scheduler's ``notes`` of it.

    Of the ``general`` ones, which name queues that this job may not even want, only that something is full counts.
    """
    own = [note for note in notes if not _NO_REASON.search(note)]
    for pattern, sentence in _NOTES:
        if any(re.search(pattern, text) for text in own):
            return sentence
    if own:
        return reasons.said("Grid Engine", own[0])
    return reasons.RESOURCES if any(_FULL.search(text) for text in general) else ""


def parked(messages: Iterable[str]) -> str:
    """Return why a job was parked in the state "Eqw", from which it would never start by itself."""
    text = next((_STAMP.sub("", message) for message in messages if message.strip()), "")
    if text == _EXIT_100:
        return "Its script ended with exit code 100, by which a job tells Grid Engine that it cannot run."
    return reasons.said("Grid Engine", text) or "Grid Engine could not start it."
