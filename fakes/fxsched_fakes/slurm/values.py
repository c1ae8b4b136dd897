"""How Slurm writes times, sizes, node lists and states, and reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..model import Cause, Job, State, Wait

MINUTE = 60
INVALID_TIME = -1  # what 22.05.8 makes of a negative or overflowing --time: accepted, shown as INVALID

STATES = {
    "PENDING": "PD", "RUNNING": "R", "SUSPENDED": "S", "COMPLETED": "CD", "CANCELLED": "CA", "FAILED": "F",
    "TIMEOUT": "TO", "NODE_FAIL": "NF", "PREEMPTED": "PR", "BOOT_FAIL": "BF", "DEADLINE": "DL", "OUT_OF_MEMORY": "OOM",
    "COMPLETING": "CG", "CONFIGURING": "CF", "RESIZING": "RS", "RESV_DEL_HOLD": "RD", "REQUEUED": "RQ",
    "REQUEUE_FED": "RF", "REQUEUE_HOLD": "RH", "REVOKED": "RV", "SIGNALING": "SI", "SPECIAL_EXIT": "SE",
    "STAGE_OUT": "SO", "STOPPED": "ST",
}  # fmt: skip

_STATE_WORDS = {
    State.QUEUED: "PENDING",
    State.RUNNING: "RUNNING",
    State.SUSPENDED: "SUSPENDED",
    State.STOPPED: "STOPPED",
    State.ENDING: "COMPLETING",
}

_END_WORDS = {
    Cause.COMPLETED: "COMPLETED",
    Cause.FAILED: "FAILED",
    Cause.LAUNCH: "FAILED",
    Cause.IMPOSSIBLE: "FAILED",
    Cause.CANCELLED: "CANCELLED",
    Cause.DEPENDENCY: "CANCELLED",
    Cause.WALLTIME: "TIMEOUT",
    Cause.MEMORY: "OUT_OF_MEMORY",
    Cause.NODE_FAILURE: "NODE_FAIL",
    Cause.PREEMPTED: "PREEMPTED",
    Cause.REQUEUED: "REQUEUED",
}

_END_REASONS = {
    Cause.LAUNCH: "JobLaunchFailure",
    Cause.IMPOSSIBLE: "BadConstraints",
    Cause.DEPENDENCY: "DependencyNeverSatisfied",
    Cause.WALLTIME: "TimeLimit",
    Cause.MEMORY: "OutOfMemory",
    Cause.NODE_FAILURE: "NodeDown",
}

_WAIT_WORDS = {
    Wait.NONE: "None",
    Wait.HELD_BY_USER: "JobHeldUser",
    Wait.HELD_BY_ADMIN: "JobHeldAdmin",
    Wait.HELD_REQUEUE: "job requeued in held state",
    Wait.BEGIN_TIME: "BeginTime",
    Wait.DEPENDENCY: "Dependency",
    Wait.DEPENDENCY_NEVER: "DependencyNeverSatisfied",
    Wait.QUEUE_DOWN: "PartitionDown",
    Wait.QUEUE_TIME: "PartitionTimeLimit",
    Wait.QUEUE_NODES: "PartitionNodeLimit",
    Wait.QUEUE_SIZE: "PartitionConfig",
    Wait.RESOURCES: "Resources",
    Wait.PRIORITY: "Priority",
}


def shown_id(job: Job) -> str:
    return f"{job.extra['array']}_{job.extra['task']}" if "task" in job.extra else str(job.id)


def is_meant(job: Job, word: str) -> bool:
    """Whether an id is this job's, its task's, or its whole array's."""
    return word in (str(job.id), shown_id(job), job.extra.get("array"))


def state_word(job: Job) -> str:
    if job.state == State.ENDED and job.cause is not None:
        return _END_WORDS[job.cause]
    return _STATE_WORDS[job.state]


def reason(job: Job) -> str:
    # 22.05.8 leaves the last reason of a job that was cancelled before it ran.
    if job.state == State.QUEUED or (job.cause == Cause.CANCELLED and not job.on):
        if job.wait == Wait.NODES_AWAY:
            return f"ReqNodeNotAvail, UnavailableNodes:{node_list(job.away)}"
        return _WAIT_WORDS[Wait(job.held) if job.cause and job.held else job.wait]
    if job.cause == Cause.FAILED:
        return "JobLaunchFailure" if job.signal else "NonZeroExitCode"
    return "None" if job.cause is None else _END_REASONS.get(job.cause, "None")


def exit_status(job: Job) -> str:
    """`code:signal`, with the values that 22.05.8 reports where no process ended by itself."""
    if job.state != State.ENDED:
        return "0:0"
    match job.cause:
        case Cause.LAUNCH:
            return "0:53"
        case Cause.IMPOSSIBLE:
            return "0:1"
        case Cause.MEMORY:
            return "0:125"
        case Cause.PREEMPTED:
            return "0:15"
        case Cause.NODE_FAILURE:
            return "1:0"
    return f"{job.exit_code}:{job.signal}"


def read_time_limit(text: str) -> int | None:
    """--time in minutes, rounded up; None is unlimited. Raises ValueError as 22.05.8 refuses."""
    if text.lower() in ("unlimited", "infinite", "-1"):
        return None
    negative, text = text.startswith("-"), text.removeprefix("-")
    days, dash, clock = text.partition("-")
    if not dash:
        days, clock = "0", text
    parts = clock.split(":")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() for part in (days, *parts)):
        raise ValueError(text)
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = 0, *[*numbers, 0][:2]
    total = ((int(days) * 24 + hours) * 60 + minutes) + -(-seconds // 60)
    if negative or total >= 2**31:
        return INVALID_TIME
    return total or None  # 0 is no limit at all


def read_memory(text: str) -> int:
    """A size in MiB, rounded up. Raises ValueError."""
    digits, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "M")
    if not (digits.isascii() and digits.isdigit()) or unit.upper() not in "KMGT":
        raise ValueError(text)
    size = int(digits)
    return -(-size // 1024) if unit.upper() == "K" else size * {"M": 1, "G": 1024, "T": 1024**2}[unit.upper()]


def duration(seconds: float, *, padded: bool = False) -> str:
    """`1-02:03:04`, `2:03:04`, `3:04`; padded: `02:03:04` as scontrol writes."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, minutes, last = rest // 3600, rest // 60 % 60, rest % 60
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{last:02}"
    if padded:
        return f"{hours:02}:{minutes:02}:{last:02}"
    return f"{hours}:{minutes:02}:{last:02}" if hours else f"{minutes}:{last:02}"


def limit(job: Job, *, padded: bool = False) -> str:
    if "invalid_time" in job.extra:
        return "INVALID"
    return "UNLIMITED" if job.walltime is None else duration(job.walltime, padded=padded)


def moment(at: float | None, environment: Mapping[str, str], absent: str = "N/A") -> str:
    """A time in the caller's zone; SLURM_TIME_FORMAT changes it."""
    if at is None:
        return absent
    wanted = environment.get("SLURM_TIME_FORMAT", "standard")
    local = time.localtime(at)
    if wanted == "relative":
        return time.strftime("%H:%M:%S", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S" if wanted == "standard" else wanted, local)


def size(mebibytes: int) -> str:
    """`100M`, `6400M`, `1G`: the largest unit without a rest."""
    units = ["M", "G", "T"]
    while mebibytes and mebibytes % 1024 == 0 and len(units) > 1:
        mebibytes //= 1024
        units.pop(0)
    return f"{mebibytes}{units[0]}"


def node_list(names: list[str]) -> str:
    """`n1`, `n[1-2,4]`, `a,n[1-3]`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        stem = name.rstrip("0123456789")
        groups.setdefault(stem, []).append(name[len(stem) :])
    return ",".join(_bracketed(stem, tails) for stem, tails in groups.items())


def _bracketed(stem: str, tails: list[str]) -> str:
    if len(tails) == 1:
        return stem + tails[0]
    ranges: list[list[str]] = []
    for tail in sorted(tails, key=lambda tail: (len(tail), tail)):
        if ranges and len(tail) == len(ranges[-1][-1]) and int(tail) == int(ranges[-1][-1]) + 1:
            ranges[-1] = [ranges[-1][0], tail]
        else:
            ranges.append([tail])
    return f"{stem}[{','.join('-'.join(ends) for ends in ranges)}]"


def expand_nodes(text: str) -> list[str]:
    """The names in `n1,n[2-3]`."""
    names: list[str] = []
    for part in _split_outside_brackets(text):
        stem, bracket, inner = part.partition("[")
        if not bracket:
            names.append(part)
            continue
        for span in inner.rstrip("]").split(","):
            first, _, last = span.partition("-")
            names += [f"{stem}{number:0{len(first)}}" for number in range(int(first), int(last or first) + 1)]
    return names


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part]
