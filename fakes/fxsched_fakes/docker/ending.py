"""stop, kill, pause, unpause, rename and rm."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, State
from . import containers, words
from .arguments import last, parse

_GRACE = "10"
_PAUSED = (State.SUSPENDED, State.STOPPED)


def stop(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    """TERM to the container's first process; KILL to all after the grace time."""
    given, names = parse(engine, "stop", arguments, {"-t": True, "--time": True})
    grace = float(last(given, "-t") or last(given, "--time", _GRACE))
    for name in names:
        with cluster:
            job = containers.lookup(cluster, engine, name)
            if job.state in _PAUSED:
                if words.objects_to(engine, "stop-paused"):
                    raise words.error(engine, "stop-paused", id=containers.identifier(job))
                cluster.resume(job)
            _signal(job, signal.SIGTERM)
        if job.live and not _ends(cluster, job, grace):
            with cluster:
                found = cluster.jobs.get(job.id)
                if found:
                    cluster.signal(found, signal.SIGKILL)
            _ends(cluster, job, grace + 10)
    return Reply("".join(f"{name}\n" for name in names))


def kill(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    given, names = parse(engine, "kill", arguments, {"--signal": True, "-s": True})
    word = last(given, "--signal") or last(given, "-s", "KILL")
    number = signal.Signals[f"SIG{word.upper().removeprefix('SIG')}"]
    for name in names:
        with cluster:
            job = containers.lookup(cluster, engine, name, "kill-unknown")
            if not job.live:
                state = containers.state_word(job)
                raise words.error(engine, "not-running", name=name, id=containers.identifier(job), state=state)
            if number == signal.SIGKILL:
                cluster.signal(job, number)
            else:
                _signal(job, number)
    return Reply("".join(f"{name}\n" for name in names))


def pause(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    return _each(cluster, engine, arguments, cluster.suspend)


def unpause(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    def act(job: Job) -> None:
        if job.state not in _PAUSED:
            raise words.error(engine, "not-paused", id=containers.identifier(job))
        cluster.resume(job)

    return _each(cluster, engine, arguments, act)


def rename(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    old, new = arguments
    with cluster:
        job = containers.lookup(cluster, engine, old, "rename-unknown")
        other = containers.named(cluster, new)
        if other is job:
            if words.objects_to(engine, "same-name"):
                raise words.error(engine, "same-name", id=containers.identifier(job))
        elif other is not None:
            id, taken = containers.identifier(job), containers.identifier(other)
            raise words.error(engine, "rename-taken", id=id, name=new, other=taken)
        job.name = new
    return Reply()


def rm(cluster: Cluster, engine: str, arguments: list[str], _: Mapping[str, str]) -> Reply:
    given, names = parse(engine, "rm", arguments, {"--force": False, "-f": False, "--volumes": False, "-v": False})
    force = given.keys() & {"--force", "-f"}
    out = err = ""
    rc = 0
    for name in names:
        try:
            with cluster:
                job = containers.lookup(cluster, engine, name, "rm-unknown")
                if job.live and not force:
                    raise words.error(engine, "running", id=containers.identifier(job))
                cluster.lose(job)
        except CommandError as error:
            if not (force and engine == "podman"):
                err += error.reply.err.decode()
            rc = 0 if force else error.reply.rc
        else:
            out += f"{name}\n"
    return Reply(out, err, rc)


def _each(cluster: Cluster, engine: str, names: list[str], act: Callable[[Job], None]) -> Reply:
    for name in names:
        with cluster:
            act(containers.lookup(cluster, engine, name))
    return Reply("".join(f"{name}\n" for name in names))


def _signal(job: Job, number: int) -> None:
    """To the first process only, as engines do."""
    if job.live and job.pid:
        with suppress(ProcessLookupError):
            os.kill(job.pid, number)


def _ends(cluster: Cluster, job: Job, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with cluster:
            found = cluster.jobs.get(job.id)
            if found is None or found.state == State.ENDED:
                return True
        time.sleep(0.01)
    return False
