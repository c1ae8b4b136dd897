"""LSF's words for what the engine knows: states, ends, reasons, times."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..engine import Cluster
from ..model import Cause, Job, Settings, State, Wait

MODERN = "modern"

_REASONS = {
    Wait.HELD_BY_USER: "The job was suspended by the user while pending",
    Wait.HELD_BY_ADMIN: "The job was suspended by LSF admin or root while pending",
    Wait.HELD_REQUEUE: "The job was suspended by the user while pending",
    Wait.BEGIN_TIME: "The job has a specified start time",
    Wait.DEPENDENCY: "Job dependency condition not satisfied",
    Wait.DEPENDENCY_NEVER: "Dependency condition invalid or never satisfied",
    Wait.QUEUE_DOWN: "The queue is inactivated by the administrator",
    Wait.NODES_AWAY: "Closed by LSF administrator",
    Wait.RESOURCES: "Not enough job slot(s)",
    Wait.PRIORITY: "Not enough job slot(s)",
}
_ENDS = {
    Cause.CANCELLED: "TERM_OWNER: job killed by owner.",
    Cause.WALLTIME: "TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
    Cause.MEMORY: "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
    Cause.PREEMPTED: "TERM_PREEMPT: job killed after preemption.",
}
# What a job's shell ends with when LSF ends the job: by INT, or at its run limit by USR2.
_CODES = {Cause.CANCELLED: 130, Cause.WALLTIME: 140, Cause.MEMORY: 130, Cause.PREEMPTED: 130, Cause.LAUNCH: 127}


def number(job: Job) -> int:
    """The id that users see: all elements of an array have the array's."""
    return int(job.extra.get("array", job.id))


def title(job: Job) -> str:
    """The id as paragraphs have it: of an array's element with its index."""
    return f"{number(job)}[{job.extra['index']}]" if "index" in job.extra else str(job.id)


def named(cluster: Cluster, word: str) -> list[Job]:
    """The jobs that an id on a command line means: ``31`` all elements of an array, ``31[2]`` one."""
    return [job for job in cluster.jobs.values() if word in (str(number(job)), title(job))]


def modern(settings: Settings) -> bool:
    return settings.dialect == MODERN


def word(job: Job) -> str:
    match job.state:
        case State.QUEUED:
            return "PSUSP" if job.held else "PEND"
        case State.SUSPENDED | State.STOPPED:
            return "USUSP"
        case State.ENDED:
            return "DONE" if job.cause == Cause.COMPLETED else "EXIT"
    return "RUN"


def waits_for(job: Job, settings: Settings) -> str:
    """Why, and on how many hosts."""
    number = len(settings.nodes)
    reason = _REASONS.get(job.wait, "New job is waiting for scheduling")
    impossible = job.memory > max(node.memory for node in settings.nodes)
    if impossible and job.wait in (Wait.RESOURCES, Wait.NODES_AWAY):  # LSF lets it wait for ever
        reason = "Job's requirements for reserving resource (mem) not satisfied"
    return f"{reason}: {number} host{'s' if number > 1 else ''}"


def exit_code(job: Job) -> int | None:
    """None for a job that never ran, or that ended while its host did not answer."""
    if not job.on or job.cause == Cause.NODE_FAILURE:
        return None
    if job.cause in _CODES:
        return _CODES[job.cause]
    return 128 + job.signal if job.signal else job.exit_code


def end(job: Job) -> str:
    if job.cause == Cause.COMPLETED:
        return "Done successfully. The CPU time used is 0.0 seconds"
    code = exit_code(job)
    if code is None:
        return "Exited The CPU time used is unknown" if job.on else "Exited"
    return f"Exited with exit code {code}. The CPU time used is 0.0 seconds"


def end_reason(job: Job, settings: Settings) -> str:
    return _ENDS.get(job.cause, "") if job.cause and modern(settings) else ""


def hosts(job: Job) -> list[str]:
    """One for each slot."""
    return [name for name in job.on for _ in range(job.cores)]


def long_time(at: float, settings: Settings, variables: Mapping[str, str]) -> str:
    year = " %Y" if with_year(settings, variables) else ""
    return time.strftime(f"%a %b %e %H:%M:%S{year}", time.localtime(at))


def short_time(at: float) -> str:
    return time.strftime("%b %e %H:%M", time.localtime(at))


def column_time(at: float | None, settings: Settings, variables: Mapping[str, str]) -> str:
    if at is None:
        return "-"
    if not modern(settings):
        return time.strftime("%m/%d-%H:%M:%S", time.localtime(at))
    return time.strftime("%b %e %H:%M:%S %Y", time.localtime(at)) if with_year(settings, variables) else short_time(at)


def remembered(cluster: Cluster) -> list[Job]:
    """Every job of the event log, by id; the engine's accounting is what is left of it after its rotation."""
    jobs = {job.id: job for job in cluster.forgotten()} | cluster.jobs
    return [jobs[id] for id in sorted(jobs)]


def with_year(settings: Settings, variables: Mapping[str, str]) -> bool:
    """Whether times show their year; volclava 2.2 does not know the variable, LSF 8 did."""
    return (modern(settings) or "fold" in settings.extra) and variables.get("LSB_DISPLAY_YEAR", "").lower() == "y"
