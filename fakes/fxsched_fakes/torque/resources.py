"""Torque's -l: nodes with so many processors each, a walltime, and memory of the whole job."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..frame import CommandError
from ..model import Job, Settings
from ..pbs_family.values import read_duration, read_size

_KNOWN = ("nodes", "walltime", "mem", "pmem", "vmem", "pvmem", "cput", "ncpus", "naccesspolicy", "qos", "advres")
_BAD_VALUE, _UNKNOWN = 168, 189


def describe(job: Job, resources: Iterable[str], settings: Settings) -> None:
    wanted: dict[str, str] = {"nodes": "1"}
    for text in resources:
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in _KNOWN:
                raise CommandError(f"qsub: submit error (Unknown resource type  Resource_List.{name})\n", _UNKNOWN)
            wanted[name] = value
    _nodes(job, wanted["nodes"], settings)
    for name, value in wanted.items():
        try:
            if name == "walltime":
                job.walltime = read_duration(value)
            elif name == "mem":
                job.memory = -(-read_size(value) // job.nodes)
        except ValueError:
            raise _bad(name) from None
    job.exclusive = wanted.get("naccesspolicy") in ("singlejob", "singletask")
    job.extra["resources"] = ",".join(f"{name}={value}" for name, value in wanted.items() if name != "walltime")


def _nodes(job: Job, text: str, settings: Settings) -> None:
    """`2:ppn=4:gpus=1:bigmem`, or names of nodes."""
    first, *parts = text.split(":")
    if settings.node(first):
        job.wanted = [first]
    elif re.fullmatch(r"[1-9]\d*", first, re.ASCII):
        job.nodes = int(first)
    else:
        raise _bad("nodes")
    for part in parts:
        name, equals, value = part.partition("=")
        if name in ("ppn", "gpus"):
            if not re.fullmatch(r"\d+", value, re.ASCII):
                raise _bad("nodes")
            if name == "ppn":
                job.cores = int(value)
            else:
                job.gpus = int(value)
        elif equals:
            raise _bad("nodes")


def _bad(name: str) -> CommandError:
    return CommandError(
        f"qsub: submit error (Illegal attribute or resource value for Resource_List.{name})\n", _BAD_VALUE
    )
