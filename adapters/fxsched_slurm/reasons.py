"""Slurm's reasons → sentences for the person who waits. Source: squeue(1), "JOB REASON CODES", and Slurm 22.05.8."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fxsched import reasons

_SENTENCES: Final = {
    "Resources": reasons.RESOURCES,
    "Priority": reasons.PRIORITY,
    "Dependency": reasons.DEPENDENCY,
    "DependencyNeverSatisfied": reasons.DEPENDENCY_NEVER,
    "BeginTime": "Waiting for its start time; a job that was requeued waits about two minutes.",
    "JobHeldUser": reasons.HELD_BY_OWNER,
    "JobHeldAdmin": reasons.HELD_BY_ADMIN,
    "Licenses": reasons.LICENCE,
    "Reservation": reasons.RESERVATION,
    "ReservationDeleted": "Its reservation was deleted.",
    "PartitionDown": "The partition is down.",
    "PartitionInactive": "The partition takes no jobs to run at present.",
    "PartitionNodeLimit": "It asks for more nodes than the partition allows; it will never start as it is.",
    "PartitionTimeLimit": "It asks for more time than the partition allows; it will never start as it is.",
    "PartitionConfig": "The partition cannot give what it asks for; it will never start as it is.",
    "AccountNotAllowed": "The account may not use this partition.",
    "BadConstraints": "No node can meet what it asks for.",
    "NodeDown": "A node that it needs is down.",
    "JobLaunchFailure": "Its node failed to launch it.",
    "DeadLine": "It could not end before its deadline.",
    "FrontEndDown": "A front end that it needs is down.",
    "InactiveLimit": "It was inactive for too long.",
    "InvalidAccount": "The account is not valid.",
    "InvalidQOS": "The QOS is not valid.",
    "JobArrayTaskLimit": "Waiting for other tasks of its array.",
    "launch failed requeued held": "Its node failed to launch it; an administrator must release it.",
    "job requeued in held state": "Requeued and held until it is released.",
    "Prolog": reasons.PREPARING,
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": (
        "Waiting for nodes that are down, drained or reserved."
    ),
}
# Why a job ended. All other reasons are those for which it had waited before: squeue goes on showing them.
_ENDS: Final = {
    "JobLaunchFailure": "",  # of every batch script that a signal ended; what was never launched has NOT_LAUNCHED
    "NonZeroExitCode": "",
    "TimeLimit": "",
    "OutOfMemory": "",
    "NodeDown": "",
    "BadConstraints": _SENTENCES["BadConstraints"],
    "DeadLine": _SENTENCES["DeadLine"],
    "InactiveLimit": _SENTENCES["InactiveLimit"],
    "DependencyNeverSatisfied": "Another job, for which it had waited, did not end as required.",
}
NOT_LAUNCHED: Final = "It could not be launched: its node, or the directory for its output, could not be used."
_BEGINNINGS: Final = {
    "ReqNodeNotAvail": "A node that it needs is not available.",
    "AssocGrp": "Waiting: the group or account has reached its limit.",
    "AssocMax": "Waiting: the account's limit is reached.",
    "AssociationJobLimit": "Waiting: the account's limit of jobs is reached.",
    "QOSGrp": "Waiting: the limit of the QOS is reached.",
    "QOSMax": "Waiting: the limit of the QOS for one user is reached.",
    "QOSMin": "It asks for less than the QOS demands.",
    "QOS": "The QOS does not allow it.",
    "MaxGRESPerAccount": "Waiting: the account's limit of GPUs is reached.",
    "BurstBuffer": "Waiting for burst buffers.",
}
_HELD: Final = frozenset(
    {"JobHeldUser", "JobHeldAdmin", "launch failed requeued held", "job requeued in held state", "ReservationDeleted"}
)


def held(reason: str) -> bool:
    """Whether a pending job with this reason waits for a person."""
    return _plain(reason) in _HELD


def end_sentence(reason: str) -> str:
    """Return a sentence for a job that has ended with Slurm's ``reason``; one that no table knows is quoted."""
    reason = _plain(reason)
    if reason in _ENDS:
        return _ENDS[reason]
    if reason in ("", "None") or reason in _SENTENCES or reason.startswith(tuple(_BEGINNINGS)):
        return ""
    return reasons.said("Slurm", reason)


def sentence(reason: str, word: str) -> str:
    """Return a sentence for a job in state ``word`` with Slurm's ``reason``; one that no table knows is quoted."""
    reason = _plain(reason)
    if word == "CONFIGURING":
        return reasons.PREPARING
    if reason in ("", "None"):
        return ""
    if reason in _SENTENCES:
        return _SENTENCES[reason]
    for beginning, text in _BEGINNINGS.items():
        if reason.startswith(beginning):
            return text
    return reasons.said("Slurm", reason)


@lru_cache(maxsize=256)
def _plain(reason: str) -> str:
    """Return a reason as the tables have it: scontrol writes underscores for spaces, and %R adds parentheses."""
    text = reason.strip().removeprefix("(").removesuffix(")")
    return text if text in _SENTENCES or "_" not in text else text.replace("_", " ")
