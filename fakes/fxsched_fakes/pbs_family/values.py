"""How both write times and sizes, and read them; and which job an id means."""

from __future__ import annotations

import re
import time

from ..engine import Cluster
from ..model import Job, Settings, State, Wait


def moment(at: float) -> str:
    """`Sun Nov 22 15:00:11 2026`, in the caller's zone."""
    return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(at))


def duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def read_duration(text: str) -> int:
    """Seconds of `3600`, `1:00`, `01:30:00`, `1.5`, rounded up. Raises ValueError."""
    if not re.fullmatch(r"\d+(:\d+){0,2}(\.\d*)?", text, re.ASCII):
        raise ValueError(text)
    whole, dot, fraction = text.partition(".")
    seconds = 0
    for part in whole.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds + (1 if dot and int(fraction or 0) else 0)


def read_size(text: str) -> int:
    """A size in MiB, rounded up. Raises ValueError."""
    found = re.fullmatch(r"(\d+)([kmgtp]?)[bw]?", text, re.ASCII | re.IGNORECASE)
    if not found:
        raise ValueError(text)
    size: int = int(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " ")
    return -(-size // 1024**2)


def full_id(job: Job, settings: Settings) -> str:
    """An id as commands print it: with its server, unless Torque's display_job_server_suffix is False."""
    if settings.extra.get("display_job_server_suffix") == "False":
        return str(job.id)
    return f"{job.id}.{settings.name}"


def look_up(cluster: Cluster, word: str) -> Job | None:
    """The job that an id means; None if there is none. Raises ValueError if it is no id of this server's."""
    found = re.fullmatch(r"\s*(\d+)(\[[\d-]*\])?(?:\.([\w.-]+))?(?:@([\w.-]+))?", word, re.ASCII)
    name = cluster.settings.name
    if not found or (found[3] and found[3].lower() != name):
        raise ValueError(word)
    if found[2] or found[1].startswith("0"):  # no job here is an array
        return None
    return cluster.jobs.get(int(found[1]))


def shown_id(word: str, settings: Settings) -> str:
    """An id as messages have it: with its server."""
    return word if "." in word else f"{word.partition('@')[0]}.{settings.name}"


def waits_for_dependency(job: Job) -> bool:
    return job.state == State.QUEUED and job.wait in (Wait.DEPENDENCY, Wait.DEPENDENCY_NEVER)


def hold_types(job: Job) -> str:
    if job.held == Wait.HELD_BY_USER:
        return "u"
    if job.held or waits_for_dependency(job) or "dependency" in job.extra:
        return "s"
    return "n"
