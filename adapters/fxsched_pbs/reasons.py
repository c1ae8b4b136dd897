"""What the schedulers of OpenPBS and Torque note beside a job (its ``comment``) → sentences for the person who waits.

Sources: recorded output of OpenPBS 23.06, and the messages in the source of its scheduler and of Torque's pbs_sched.
Maui and Moab note nothing.
"""

from __future__ import annotations

import re
from typing import Final

from fxsched import reasons

COULD_NOT_START: Final = "It could not be started on its node."
MOVED: Final = "It was moved to another server."
NOT_STAGED: Final = "Its files could not be brought to the node."
UNREADABLE: Final = "What the scheduler says of it cannot be read."
CPU_TIME: Final = "It used more CPU time than it may."

_NOT_RUNNING: Final = re.compile(r"^Not Running(?: -|:)\s*")
_IMPOSSIBLE: Final = "Can Never Run"

# In this order: the first that is found in the comment.
_WAITS: Final = (
    ("Queue not started", reasons.QUEUE_STOPPED),
    ("Not enough free nodes", reasons.RESOURCES),
    ("Not enough of the right type of nodes", reasons.RESOURCES),
    ("Insufficient amount of", reasons.RESOURCES),
    ("exclusive node and node is in use", reasons.RESOURCES),
    ("No available resources on nodes", reasons.RESOURCES),
    ("too few free resources", reasons.RESOURCES),
    ("timesharing nodes are too loaded", reasons.RESOURCES),
    ("conflict with reservation or top job", reasons.PRIORITY),
    ("Draining system to allow starving job", reasons.PRIORITY),
    ("Strict fifo order", reasons.PRIORITY),
    ("User has reached", reasons.USER_LIMIT),
    ("per-user limit", reasons.USER_LIMIT),
    ("job limit", reasons.QUEUE_LIMIT),
    ("running limit", reasons.QUEUE_LIMIT),
)


def waiting(comment: str, who: str) -> str:
    """Return why a job waits; a comment that no table knows is quoted."""
    if comment.startswith(_IMPOSSIBLE):
        return reasons.IMPOSSIBLE
    for words, sentence in _WAITS:
        if words in comment:
            return sentence
    return reasons.said(who, _NOT_RUNNING.sub("", comment))
