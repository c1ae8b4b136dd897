"""Why a job waits or ended: the sentences that are the same for every scheduler.

An adapter maps its scheduler's words to these where they fit, writes its own where they do not, and quotes a reason
that no table knows (:func:`said`).
"""

from __future__ import annotations

from typing import Final

RESOURCES: Final = "Waiting for free nodes."
PRIORITY: Final = "Waiting behind jobs with a higher priority."
DEPENDENCY: Final = "Waiting for another job to end."
DEPENDENCY_NEVER: Final = "Waiting for another job that did not end as required; it will never start."
BEGIN_TIME: Final = "Waiting for its start time."
HELD_BY_OWNER: Final = "Held by its owner until it is released."
HELD_BY_ADMIN: Final = "Held by an administrator."
LICENCE: Final = "Waiting for a licence."
RESERVATION: Final = "Waiting for its reservation to begin."
QUEUE_STOPPED: Final = "The queue does not start jobs at present."
USER_LIMIT: Final = "Waiting: the limit of jobs for one user is reached."
QUEUE_LIMIT: Final = "Waiting: the queue's limit of jobs is reached."
IMPOSSIBLE: Final = "No node can meet what it asks for; it will never start as it is."
PREPARING: Final = "Its nodes are being prepared."
NODE_LOST: Final = "Its node cannot be reached."


def said(who: str, text: str) -> str:
    """Return a scheduler's own reason as a sentence, on one line; nothing if it gave none."""
    text = " ".join(text.split()).rstrip(".")
    return f"{who} says: {text}." if text else ""
