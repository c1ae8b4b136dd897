"""Which queued jobs start now, and why the others wait: first in, first out, with simple backfill.

The first job of a queue that does not fit gets a reservation where and when it will; a later job may overtake it only
if it ends before that, or runs elsewhere. No I/O: it looks at jobs and settings, fills in `wait` and `expected`, and
returns what to start.
"""

from __future__ import annotations

from collections.abc import Iterable

from .model import FOREVER, Cause, Job, Queue, Settings, State, Wait

Free = dict[str, tuple[int, int, int, int]]  # cores, memory, gpus, and 1 if no job is there


def place(settings: Settings, jobs: dict[int, Job], away: Iterable[str], now: float) -> list[tuple[Job, list[str]]]:
    """Jobs to start, each with its nodes."""
    away = set(away)
    live = [job for job in jobs.values() if job.live]
    free = _all_free(settings)
    for job in live:
        _take(free, job, job.on)
    reserved: dict[str, tuple[float, list[str]]] = {}
    starts = []
    queued = (job for job in jobs.values() if job.state == State.QUEUED)
    for job in sorted(queued, key=lambda job: (-job.priority, job.id)):
        job.expected = None
        job.wait = _hindrance(job, jobs, now)
        if job.wait:
            continue
        for queue in filter(None, map(settings.queue, job.queues)):
            job.wait = limit_broken(settings, queue, job) or Wait.NONE
            if job.wait:
                continue
            nodes = _fit(queue, job, free, away)
            if nodes and _harmless(job, nodes, reserved, now):
                job.queue = queue.name
                _take(free, job, nodes)
                starts.append((job, nodes))
                live.append(_as_if_running(job, nodes, now))
                break
            if queue.name in reserved:
                job.wait = Wait.PRIORITY
                continue
            job.away = sorted(away & set(job.wanted or queue.nodes))
            job.wait = Wait.NODES_AWAY if not _fit(queue, job, _all_free(settings), away) else Wait.RESOURCES
            if job.wait == Wait.RESOURCES:
                job.expected, where = _earliest(settings, queue, job, live, away)
                reserved[queue.name] = (job.expected or FOREVER, where)
    return starts


def limit_broken(settings: Settings, queue: Queue, job: Job) -> Wait | None:
    """The limit of the queue that keeps this job from ever running there."""
    if not queue.up:
        return Wait.QUEUE_DOWN
    if queue.max_nodes is not None and job.nodes > queue.max_nodes:
        return Wait.QUEUE_NODES
    if queue.max_time is not None and (job.walltime is None or job.walltime > queue.max_time):
        return Wait.QUEUE_TIME
    cores = sum(node.cores for node in settings.nodes if node.name in queue.nodes)
    if job.nodes > len(queue.nodes) or job.nodes * job.cores > cores:
        return Wait.QUEUE_SIZE
    return None


def possible(settings: Settings, queue: Queue, job: Job) -> bool:
    """Would it fit, were the whole queue empty?"""
    return _fit(queue, job, _all_free(settings), set()) is not None


def _hindrance(job: Job, jobs: dict[int, Job], now: float) -> Wait:
    if job.held:
        return Wait(job.held)
    for kind, other_id in job.after:
        other = jobs.get(other_id)
        if other is None:  # forgotten, so satisfied: so does Slurm 22.05.8
            continue
        if kind == "start":
            met, never = other.started is not None, other.state == State.ENDED
        else:
            ended, well = other.state == State.ENDED, other.cause == Cause.COMPLETED
            met = ended and (kind == "any" or well == (kind == "ok"))
            never = ended
        if not met:
            return Wait.DEPENDENCY_NEVER if never else Wait.DEPENDENCY
    return Wait.BEGIN_TIME if job.begin > now else Wait.NONE


def _fit(queue: Queue, job: Job, free: Free, away: set[str]) -> list[str] | None:
    needs = (job.cores, job.memory, job.gpus, int(job.exclusive))
    suitable = [
        name
        for name in queue.nodes
        if name not in away
        and name not in job.excluded
        and all(have >= need for have, need in zip(free[name], needs, strict=True))
    ]
    if any(name not in suitable for name in job.wanted):
        return None
    chosen = [*job.wanted, *(name for name in suitable if name not in job.wanted)][: max(job.nodes, len(job.wanted))]
    return sorted(chosen) if len(chosen) >= job.nodes else None


def _take(free: Free, job: Job, nodes: list[str]) -> None:
    for name in nodes:
        if name not in free:
            continue
        cores, memory, gpus, _ = free[name]
        free[name] = (-1, 0, 0, 0) if job.exclusive else (cores - job.cores, memory - job.memory, gpus - job.gpus, 0)


def _all_free(settings: Settings) -> Free:
    return {node.name: (node.cores, node.memory, node.gpus, 1) for node in settings.nodes}


def _harmless(job: Job, nodes: list[str], reserved: dict[str, tuple[float, list[str]]], now: float) -> bool:
    end = FOREVER if job.walltime is None else now + job.walltime
    return all(end <= start or not set(nodes) & set(where) for start, where in reserved.values())


def _as_if_running(job: Job, nodes: list[str], now: float) -> Job:
    return Job(
        cores=job.cores,
        memory=job.memory,
        gpus=job.gpus,
        exclusive=job.exclusive,
        on=nodes,
        started=now,
        walltime=job.walltime,
    )


def _earliest(
    settings: Settings, queue: Queue, job: Job, live: list[Job], away: set[str]
) -> tuple[float | None, list[str]]:
    """When and where the running jobs will have left enough room, each at its time limit."""
    left = sorted(live, key=lambda other: other.limit_at)
    while left:
        end = left.pop(0).limit_at
        if end == FOREVER:
            break
        free = _all_free(settings)
        for other in left:
            _take(free, other, other.on)
        nodes = _fit(queue, job, free, away)
        if nodes:
            return end, nodes
    return None, queue.nodes
