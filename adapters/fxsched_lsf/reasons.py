"""LSF's reasons → sentences for the person who waits. Sources: bjobs(1), and what volclava 2.2 was seen to print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched import reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMORY: Final = "Waiting for free memory."
# Words of a reason → the sentence. The first that fits counts; versions differ in articles and capitals around them.
_SENTENCES: Final = {
    "suspended by the user": reasons.HELD_BY_OWNER,
    "suspended by user": "Suspended by its owner.",
    "suspended by LSF admin": reasons.HELD_BY_ADMIN,
    "waiting for scheduling": "",  # LSF has not looked at it yet
    "waiting for re-scheduling": "",
    "waiting for rescheduling": "",
    "has a specified start time": reasons.BEGIN_TIME,
    "invalid or never satisfied": reasons.DEPENDENCY_NEVER,
    "dependency condition not satisfied": reasons.DEPENDENCY,
    "queue is inactivated": reasons.QUEUE_STOPPED,
    "dispatch windows closed": reasons.QUEUE_STOPPED,
    "queue has reached its job slot limit": reasons.QUEUE_LIMIT,
    "queue's per-": reasons.QUEUE_LIMIT,
    "has reached the per-user job slot limit": reasons.USER_LIMIT,
    "not enough per-user job slots": reasons.USER_LIMIT,
    "user has reached his/her job slot limit": reasons.USER_LIMIT,
    "host's per-user job slot limit": reasons.USER_LIMIT,
    "user's groups has reached its job slot limit": "Waiting: the limit of the group is reached.",
    "not enough job slot": reasons.RESOURCES,
    "job slot limit reached": reasons.RESOURCES,
    "not enough slots": reasons.RESOURCES,
    "not enough processors to meet the": reasons.RESOURCES,
    "not enough hosts to meet the": reasons.RESOURCES,
    "reserving resource (mem)": MEMORY,
    "resource reservation (mem)": MEMORY,
    "no suitable hosts": "No host suits it: it asks for more than there is, or for hosts that are away.",
    "requirements for resource reservation not satisfied": reasons.RESOURCES,
    "requirements for reserving resource": reasons.RESOURCES,
    "resource requirements not satisfied": reasons.RESOURCES,
    "requirement for exclusive execution not satisfied": reasons.RESOURCES,
    "running an exclusive job": reasons.RESOURCES,
    "load threshold reached": reasons.RESOURCES,
    "just started a job recently": reasons.RESOURCES,
    "will not finish": "It might not end before its queue or node closes.",
    "licen": reasons.LICENCE,
    "advance reservation": reasons.RESERVATION,
}
_KNOWN: Final = tuple((words.lower(), sentence) for words, sentence in _SENTENCES.items())
_HOSTS: Final = re.compile(r"(: \d+ hosts?)?;?$", re.ASCII)


def sentence(texts: Iterable[str]) -> str:
    """Return a sentence for the first of LSF's reasons for a job that is known; if none is, the first is quoted."""
    unknown = ""
    for text in texts:
        text = _HOSTS.sub("", text.strip())
        plain = text.lower()
        for words, known in _KNOWN:
            if words in plain:
                return known
        unknown = unknown or text
    return reasons.said("LSF", unknown)
