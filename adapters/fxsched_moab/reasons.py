"""Why Moab or Maui lets a job wait → sentences.

Sources: Moab's administrator guide, "showq", "checkjob" and "Job Holds"; output of showq and mjobctl that Moab's users
have published; recorded output of Maui 3.5.
"""

from __future__ import annotations

from typing import Final

from fxsched import reasons

TRYING_AGAIN: Final = "It could not be started; the scheduler will try again in a while."
BATCH_HOLD: Final = "Held by the scheduler, because it could not be started; an administrator must release it."
LIMIT: Final = "Waiting: a limit for its user, group, account or queue is reached."

_STATES: Final = {
    "UserHold": reasons.HELD_BY_OWNER,
    "SystemHold": reasons.HELD_BY_ADMIN,
    "BatchHold": BATCH_HOLD,
    "Hold": "Held until it is released.",
    "Deferred": TRYING_AGAIN,
    "NotQueued": "The resource manager's daemon cannot be reached.",
    "Starting": reasons.PREPARING,
    "Staging": reasons.PREPARING,
}
# BlockReason is a word, on newer Moabs with a colon and a text behind it.
_BLOCKS: Final = {
    "ActivePolicy": LIMIT,
    "IdlePolicy": LIMIT,
    "SystemPolicy": LIMIT,
    "Depend": reasons.DEPENDENCY,
    "Dependency": reasons.DEPENDENCY,
    "JobDependency": reasons.DEPENDENCY,
    "ReleaseDate": reasons.BEGIN_TIME,
    "ReleaseTime": reasons.BEGIN_TIME,
    "Resources": reasons.RESOURCES,
    "NoResources": reasons.IMPOSSIBLE,
    "UserHold": reasons.HELD_BY_OWNER,
    "SystemHold": reasons.HELD_BY_ADMIN,
    "BatchHold": BATCH_HOLD,
}
# What checkjob prints last, in parentheses, begins so.
_HINDRANCES: Final = {
    "insufficient idle ": reasons.RESOURCES,
    "idle procs do not meet requirements": reasons.RESOURCES,
}


def of_state(state: str) -> str:
    """Return the sentence for one of Moab's state words; nothing for one that says nothing."""
    return _STATES.get(state, "")


def of_block(block: str) -> str:
    """Return the sentence for a ``BlockReason`` of showq; one that no table knows is quoted."""
    word, _, text = block.partition(":")
    return _BLOCKS.get(word.strip()) or reasons.said("Moab", text or word)


def of_hindrance(text: str) -> str:
    """Return the sentence for what checkjob gives as the reason why a job cannot run; an unknown one is quoted."""
    for beginning, sentence in _HINDRANCES.items():
        if text.startswith(beginning):
            return sentence
    return reasons.said("Maui", text)
