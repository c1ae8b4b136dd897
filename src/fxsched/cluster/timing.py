"""How patient a cluster is, and how often it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from fxsched.session.directory import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator


class Timing(Struct, frozen=True, kw_only=True):
    """How patient a cluster is, in seconds."""

    launch: float = 60.0
    """For a whole submission, from the ledger's entry to a settled outcome; and for waiting behind others."""
    settle_pause: float = 2.0
    """Between the two clean answers that prove that there is no job."""
    cancel: float = 60.0
    """How long to watch for the end of a cancelled job; after half of it, harder means are used."""
    poll_interval: float = 10.0
    """How old an answer about a job may be before the scheduler is asked again."""
    gone_after: float = 10.0
    """Between the two answers "no such job" that count as an end, where nothing else tells of it."""
    settle_start: float = 3.0
    """How long a start script that runs may take to print that the session has started, or to fail."""

    @property
    def over(self) -> float:
        """Seconds after which no submission goes on: it may wait, settle, and have files written and removed."""
        return 2 * self.launch + 2 * DEADLINE


def backoff(*, first: float = 0.1, factor: float = 1.6, longest: float = 5.0) -> Iterator[float]:
    """Yield pauses in seconds for ever: short first, so that the usual case is quick; polite later."""
    pause = first
    while True:
        yield pause
        pause = min(pause * factor, longest)
