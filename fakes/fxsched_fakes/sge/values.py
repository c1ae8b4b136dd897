"""How Grid Engine 8.1.9 writes down states, times, names and notes."""

from __future__ import annotations

import os
import time

from ..engine import Cluster
from ..model import Cause, Job, State, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_AGAIN, PARK = 99, 100

_NOTES = {
    Wait.HELD_BY_USER: "Job is in hold state",
    Wait.HELD_BY_ADMIN: "Job is in hold state",
    Wait.BEGIN_TIME: "execution time not reached",
    Wait.DEPENDENCY: "job dropped because of job dependencies",
    Wait.DEPENDENCY_NEVER: "job dropped because of job dependencies",
    Wait.QUEUE_DOWN: 'cannot run in queue "{queue}" because it is disabled',
    Wait.NODES_AWAY: 'cannot run in queue "{queue}" because it is disabled',
    Wait.QUEUE_TIME: 'cannot run in queue "other" because it is not contained in its hard queue list (-q)',
    Wait.QUEUE_NODES: 'cannot run in PE "{pe}" because it only offers 0 slots',
    Wait.QUEUE_SIZE: 'cannot run in PE "{pe}" because it only offers 0 slots',
}


def look(cluster: Cluster) -> None:
    """Queues again what exited with 99; inside a transaction, before anything is shown."""
    for job in cluster.jobs.values():
        if job.state == State.ENDED and job.cause == Cause.FAILED and job.exit_code == RUN_AGAIN:
            cluster.requeue(job)
            job.begin = 0


def number(job: Job) -> int:
    """The id that users see: all tasks of an array have the array's."""
    return int(job.extra.get("array", job.id))


def task(job: Job) -> str:
    """The task of an array that it is."""
    return job.extra.get("task", "")


def parked(job: Job) -> bool:
    """It could not start, or said so itself: it is left until somebody deletes it."""
    failed = job.cause == Cause.LAUNCH or (job.cause == Cause.FAILED and job.exit_code == PARK)
    return job.state == State.ENDED and failed and "deleted" not in job.extra


def over(job: Job) -> bool:
    return job.state == State.ENDED and not parked(job)


def ran(job: Job) -> bool:
    """It has been on a host, and so is in the books."""
    return job.state == State.ENDED and bool(job.on)


def letters(job: Job) -> str:
    """The state as qstat shows it."""
    again = "R" if job.attempt else ""
    if parked(job):
        return "Eqw"
    match job.state:
        case State.QUEUED if job.held or job.wait in (Wait.DEPENDENCY, Wait.DEPENDENCY_NEVER):
            return f"h{again}qw"
        case State.QUEUED:
            return f"{again}q" if again else "qw"
        case State.SUSPENDED | State.STOPPED:
            return f"{again}s"
        case State.ENDING if job.cause == Cause.CANCELLED:
            return f"d{again}r"
        case State.ENDED:
            return "z"
    return f"{'h' if job.held else ''}{again}r"


def error(job: Job) -> tuple[int, str, str]:
    """Of a parked job: the code and the words of qacct's "failed", and the shepherd's own words."""
    if job.cause != Cause.LAUNCH:
        return 30, "application error returned", f"exit_status of job start = {PARK}"
    workdir = job.extra["wd"]
    if not os.path.isdir(workdir):
        return 28, "changing into working directory", f"error: can't chdir to {workdir}: No such file or directory"
    path = job.extra["stdout"]
    return 26, "opening input/output file", f'error: can\'t open output file "{path}": No such file or directory'


def stamped(job: Job, words: str) -> str:
    """The shepherd's words as the qmaster keeps them."""
    return f"{time.strftime('%m/%d/%Y %H:%M:%S', time.localtime(job.ended))} [{job.uid}:4217]: {words}"


def note(job: Job) -> str:
    """What the scheduler notes of a waiting job."""
    if parked(job):
        return "Job is in error state"
    text = _NOTES.get(Wait(job.wait or Wait.NONE), "")
    return text.format(queue=job.queue, pe=job.extra.get("pe") or "NONE")


def slots(job: Job) -> int:
    return int(job.extra.get("slots", "1"))


def instance(job: Job) -> str:
    """The queue on a host that a running job is shown in."""
    return f"{job.queue}@{job.on[0]}" if job.live and job.on else ""


def shown_time(job: Job) -> float:
    """The time in a list: of the start for what runs, of the submission for all else."""
    return job.started or job.submitted if job.live else job.submitted


def escaped(text: str) -> str:
    """As -xml writes a text: 8.1.9 mistakes "%" for "&" in one of its entities."""
    for character, entity in (("&", "&amp;"), ("<", "%lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        text = text.replace(character, entity)
    return text


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))


def long_date(at: float | None) -> str:
    """As qacct and qstat -j write a time."""
    return "-/-" if at is None else time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(at))


def matching(cluster: Cluster, words: str) -> Iterator[tuple[str, list[Job]]]:
    """Each id or pattern of names in a list with commas, and the jobs that it means."""
    from fnmatch import fnmatchcase

    for word in words.split(","):
        if word.isdigit():
            yield word, [job for job in cluster.jobs.values() if str(number(job)) == word]
        else:
            yield word, [job for job in cluster.jobs.values() if fnmatchcase(job.name, word)]
