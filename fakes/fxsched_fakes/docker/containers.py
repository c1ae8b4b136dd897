"""Containers as both engines show them: ids, names, states, and the members that templates ask for."""

from __future__ import annotations

import json
import time

from ..engine import Cluster
from ..model import Cause, Job, State
from . import words

_STATES = {
    State.QUEUED: "created",
    State.RUNNING: "running",
    State.SUSPENDED: "paused",
    State.STOPPED: "paused",
    State.ENDING: "running",
    State.ENDED: "exited",
}
_KILLED, _LOST = 137, 255
_NEVER = "0001-01-01T00:00:00Z"


def identifier(job: Job) -> str:
    return job.extra["id"]


def lookup(cluster: Cluster, engine: str, name: str, occasion: str = "unknown") -> Job:
    """The container of that id, beginning of an id, or name."""
    found = named(cluster, name) or next(
        (job for job in cluster.jobs.values() if len(name) >= 3 and identifier(job).startswith(name)), None
    )
    if found is None:
        raise words.error(engine, occasion, name=name)
    return found


def named(cluster: Cluster, name: str) -> Job | None:
    return next((job for job in cluster.jobs.values() if job.name == name), None)


def state_word(job: Job) -> str:
    return _STATES[job.state]


def exit_code(job: Job) -> int:
    if job.cause == Cause.MEMORY:
        return _KILLED
    if job.cause == Cause.NODE_FAILURE:
        return _LOST  # so says a daemon that comes back after a crash
    if job.cause == Cause.LAUNCH:
        return 127
    return job.exit_code or (128 + job.signal if job.signal else 0)


def labels(job: Job) -> dict[str, str]:
    found: dict[str, str] = json.loads(job.extra["labels"])
    return dict(sorted(found.items()))


def members(job: Job, engine: str) -> dict[str, object]:
    """What `inspect` shows of it, as far as anybody asks."""
    ended = job.state == State.ENDED
    word = state_word(job)
    state: dict[str, object] = {
        "Status": word,
        "Running": job.live if engine == "docker" else word == "running",
        "Paused": word == "paused",
        "Restarting": False,
        "OOMKilled": job.cause == Cause.MEMORY,
        "Dead": False,
        "Pid": job.pid or 0,
        "ExitCode": exit_code(job) if ended else 0,
        "Error": "",
        "StartedAt": _moment(job.started),
        "FinishedAt": _moment(job.ended) if ended else _NEVER,
    }
    if engine == "docker":
        state = dict(sorted(state.items()))
    else:
        state = {"OciVersion": "1.0.2-dev", **state, "CheckpointedAt": _NEVER, "RestoredAt": _NEVER}
    return {
        "Id": identifier(job),
        "Created": _moment(job.submitted),
        "Name": f"/{job.name}" if engine == "docker" else job.name,
        "State": state,
        "Config": {"Labels": labels(job), "Image": job.extra["image"], "Env": json.loads(job.extra["env"])},
    }


def row(job: Job, now: float) -> dict[str, object]:
    """What `ps` shows of it, as far as anybody asks."""
    word = state_word(job)
    if word == "exited":
        status = f"Exited ({exit_code(job)}) {_span(now - (job.ended or now))} ago"
    elif word == "created":
        status = "Created"
    else:
        status = f"Up {_span(now - (job.started or now))}" + (" (Paused)" if word == "paused" else "")
    return {
        "ID": identifier(job),
        "Names": job.name,
        "Image": job.extra["image"],
        "Status": status,
        "State": word,
        "Labels": ",".join(f"{name}={value}" for name, value in labels(job).items()),
    }


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return _NEVER
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e9):09d}".rstrip("0.") + "Z"
    )


def _span(seconds: float) -> str:
    """A duration as both engines round it: two of the next unit before they use it, as in 25 hours, 3 days."""
    if seconds < 1:
        return "Less than a second"
    amount = int(seconds)
    if amount == 1:
        return "1 second"
    if amount < 60:
        return f"{amount} seconds"
    if amount < 120:
        return "About a minute"
    if amount < 3600:
        return f"{amount // 60} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for unit, length, limit in (
        ("hours", 1, 48),
        ("days", 24, 24 * 14),
        ("weeks", 168, 24 * 60),
        ("months", 720, 24 * 730),
    ):
        if hours < limit:
            return f"{hours // length} {unit}"
    return f"{hours // 24 // 365} years"
