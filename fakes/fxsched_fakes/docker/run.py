"""run and create: a container is made, and started."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Job, State
from . import containers, words
from .arguments import Given, last, parse

_VALUES = (
    "name label label-file env user group-add workdir network hostname cpus memory memory-swap volume mount entrypoint "
    "restart pull stop-timeout stop-signal gpus device ulimit security-opt userns shm-size tmpfs cap-add cap-drop"
)
_FLAGS = "detach init rm privileged read-only interactive tty"
OPTIONS = {f"--{name}": True for name in _VALUES.split()} | {f"--{name}": False for name in _FLAGS.split()}
OPTIONS |= {"-d": False, "-i": False, "-t": False, "-e": True, "-l": True, "-u": True, "-v": True, "-w": True}
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_LEAST_MEMORY = 6 * 1024**2
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NEVER = 1e12


def run(cluster: Cluster, engine: str, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    """Only `--detach`: the fake shows no container's output."""
    job = _make(cluster, engine, "run", arguments, variables, begin=0)
    while True:  # the real ones answer when its process runs
        with cluster:
            found = cluster.jobs.get(job.id)
        if found is None or found.pid or found.state in (State.ENDED, State.QUEUED):
            return Reply(f"{containers.identifier(job)}\n")
        time.sleep(0.005)


def create(cluster: Cluster, engine: str, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    job = _make(cluster, engine, "create", arguments, variables, begin=_NEVER)
    return Reply(f"{containers.identifier(job)}\n")


def _make(
    cluster: Cluster, engine: str, verb: str, arguments: list[str], variables: Mapping[str, str], begin: float
) -> Job:
    given, (image, *command) = parse(engine, verb, arguments, OPTIONS, anywhere=False)
    with cluster:
        node = cluster.settings.nodes[0]
        job = Job(name=last(given, "--name") or f"quirky_{secrets.token_hex(4)}", queue="engine", queues=["engine"])
        job.cores = 0  # engines limit what runs, and refuse nothing for want of room
        job.begin, job.uid = begin, os.getuid()
        job.workdir = last(given, "--workdir", "/")
        job.extra = {
            "id": secrets.token_hex(32),
            "image": image,
            "argv": json.dumps([*filter(None, [last(given, "--entrypoint")]), *command]),
            "labels": json.dumps(dict(_pair(text) for name in ("--label", "-l") for text in given.get(name, ()))),
            "env": json.dumps([_PATH, *_environment(given, variables)]),
        }
        _check(cluster, engine, job, given)
        if _gpus(engine, given) > node.gpus:
            job.begin = _NEVER  # made, but never started
            cluster.submit(job, b"", {})
            shown = f"{containers.identifier(job)}\n" if engine == "docker" else ""
            raise words.error(engine, "gpus", out=shown, device=last(given, "--device"))
        return cluster.submit(job, b"", {})


def _check(cluster: Cluster, engine: str, job: Job, given: Given) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", job.name):
        raise words.error(engine, "name", name=job.name)
    image = job.extra["image"]
    if image.startswith("nosuch"):
        raise words.error(engine, "image", image=image)
    for source in _sources(given):
        if not os.path.exists(source):
            raise words.error(engine, "source", path=source)
    if not job.workdir.startswith("/"):
        raise words.error(engine, "workdir", path=job.workdir, id=containers.identifier(job))
    memory, cores = _bytes(last(given, "--memory", "0")), cluster.settings.nodes[0].cores
    if 0 < memory < _LEAST_MEMORY and words.objects_to(engine, "memory"):
        raise words.error(engine, "memory")
    if float(last(given, "--cpus", "0")) > cores and words.objects_to(engine, "cpus"):
        raise words.error(engine, "cpus", cores=cores)
    other = containers.named(cluster, job.name)
    if other:
        raise words.error(engine, "taken", name=job.name, id=containers.identifier(other))


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _environment(given: Given, variables: Mapping[str, str]) -> Iterator[str]:
    """A name without a value stands for the caller's own variable, if there is one."""
    for text in (*given.get("--env", ()), *given.get("-e", ())):
        if "=" in text:
            yield text
        elif text in variables:
            yield f"{text}={variables[text]}"


def _sources(given: Given) -> Iterator[str]:
    for text in given.get("--mount", ()):
        yield from (part.partition("=")[2] for part in text.split(",") if part.startswith(("source=", "src=")))
    yield from (text.split(":")[0] for text in (*given.get("--volume", ()), *given.get("-v", ())))


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([bkmg]?)", text.lower())
    return int(found[1]) * _UNITS[found[2]] if found else 0


def _gpus(engine: str, given: Given) -> int:
    if engine == "docker":
        return int(last(given, "--gpus", "0"))
    numbers = [name.partition("nvidia.com/gpu=")[2] for name in given.get("--device", ())]
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)
