"""checkjob and `mdiag -j`: one job in full. The text is Maui's; `--xml` is Moab's."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job
from .values import (
    attributes,
    clock,
    date,
    deferred,
    document,
    element,
    found,
    is_maui,
    moab_id,
    processors,
    queue_of,
    state_word,
)


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    return _show(cluster, "checkjob", arguments)


def diagnose(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    return _show(cluster, "mdiag", [word for word in arguments if word != "-j"])


def _show(cluster: Cluster, command: str, arguments: list[str]) -> Reply:
    words = [word for word in arguments if not word.startswith("-")]
    with cluster:
        maui = is_maui(cluster.settings)
        job = found(cluster, words[0]) if words else None
        if job is None:
            word = words[0] if words else ""
            if maui:
                raise CommandError(f"ERROR:    '{command}' failed\nERROR:  cannot locate job '{word}'\n\n")
            raise CommandError(f"ERROR:  invalid job specified: {word}\n\n")
        if "--xml" in arguments and not maui:
            return Reply(document([xml(cluster, job)]))
        return Reply(_text(cluster, job, maui=maui))


def xml(cluster: Cluster, job: Job) -> str:
    nodes = ",".join(f"{name}:{job.cores}" for name in job.on)
    needs: dict[str, object] = {"TCReqMin": processors(job), "ReqProcPerTask": 1}
    inside = element("req", needs | ({"AllocNodeList": nodes} if nodes else {}))
    return element("job", attributes(cluster, job) | {"QueueStatus": queue_of(job)}, inside)


def _text(cluster: Cluster, job: Job, *, maui: bool) -> str:
    now, id = cluster.now(), moab_id(job, cluster.settings)
    word, ran, limit = state_word(job, maui=maui), job.ran_for(now), job.walltime or 0
    queued = (job.started if job.on and job.started else now) - job.submitted
    eligible = 0 if queue_of(job) == "blocked" else queued
    started = f"StartTime: {date(job.started)}\n" if job.on else ""
    placed = f"NodeCount: {len(job.on)}\nAllocated Nodes:\n" if job.on else ""
    placed += "".join(f"[{name}:{job.cores}]" for name in job.on) + ("\n" if job.on else "")
    return (
        f"\n\nchecking job {id}\n\nState: {word}{_effective(job, maui=maui)}\n"
        f"Creds:  user:{job.user}  group:{job.extra.get('group', job.user)}  class:{job.queue}  qos:DEFAULT\n"
        f"WallTime: {clock(ran)} of {clock(limit)}\nSubmitTime: {date(job.submitted)}\n"
        f"  (Time Queued  Total: {clock(queued)}  Eligible: {clock(eligible)})\n\n"
        f"{started}Total Tasks: {processors(job)}\n\n"
        f"Req[0]  TaskCount: {processors(job)}  Partition: {'DEFAULT' if job.on else 'ALL'}\n"
        "Network: [NONE]  Memory >= 0  Disk >= 0  Swap >= 0\n"
        f"Opsys: [NONE]  Arch: [NONE]  Features: [NONE]\n{placed}\n\n"
        f"IWD: [NONE]  Executable:  [NONE]\nBypass: 0  StartCount: {1 if job.on else 0}\n"
        f"PartitionMask: [ALL]\nFlags:       RESTARTABLE\n\n{_reservation(job, id, now)}{_holds(job)}"
        f"PE:  {processors(job):.2f}  StartPriority:  {max(1, int(queued // 60))}\n"
        f"{_hindrance(cluster, job, id, word)}\n"
    )


def _effective(job: Job, *, maui: bool) -> str:
    """Maui's own view of a job, where it is another than the resource manager's."""
    return "  EState: Deferred" if maui and deferred(job) and not job.on else ""


def _holds(job: Job) -> str:
    why = deferred(job)
    if not why or job.on:
        return ""
    return f"job is deferred.  Reason:  {why}\nHolds:    Defer  (hold reason:  {why.split()[0]})\n"


def _reservation(job: Job, id: str, now: float) -> str:
    at = job.started if job.on else job.expected if queue_of(job) == "eligible" else None
    if at is None or job.walltime is None:
        return ""
    begin, end = clock(at - now), clock(at + job.walltime - now)
    return f"Reservation '{id}' ({begin} -> {end}  Duration: {clock(job.walltime)})\n"


def _hindrance(cluster: Cluster, job: Job, id: str, word: str) -> str:
    """Why it does not run, with the two empty lines that 3.5 puts behind it."""
    if job.on:
        return ""
    if deferred(job):
        return f"cannot select job {id} for partition DEFAULT (job hold active)\n\n"
    if word != "Idle":
        return f"cannot select job {id} for partition DEFAULT (non-idle state '{word}')\n\n"
    used = sum(processors(other) for other in cluster.jobs.values() if other.live and other.queue == job.queue)
    queue = cluster.settings.queue(job.queue)
    there = sum(node.cores for node in cluster.settings.nodes if queue and node.name in queue.nodes)
    wants = processors(job)
    return (
        "job cannot run in partition DEFAULT (insufficient idle procs available: "
        f"{min(max(0, there - used), wants - 1)} < {wants})\n\n"
    )
