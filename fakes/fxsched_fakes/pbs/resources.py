"""OpenPBS's -l: chunks and where to place them, a walltime, or the old words for one chunk."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..frame import CommandError
from ..model import Job, Settings
from ..pbs_family.values import read_duration, read_size

_KNOWN = ("arch", "bigmem", "host", "mem", "mpiprocs", "ncpus", "ngpus", "ompthreads", "vmem", "vnode", "cput")
_CHUNK_WIDE = ("arch", "bigmem", "host", "mem", "ncpus", "ngpus", "vnode")
_BAD_VALUE, _UNKNOWN, _NOT_WITH_SELECT, _NODES_AND_SELECT, _NO_SELECT = 166, 187, 5, 6, 7


def describe(job: Job, resources: Iterable[str], _settings: Settings) -> None:
    wanted: dict[str, str] = {}
    for text in resources:
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            wanted[name] = value
    if "walltime" in wanted:
        _walltime(job, wanted.pop("walltime"))
    job.extra["place"] = wanted.pop("place", "")
    _place(job)
    select = wanted.pop("select", None)
    if select is not None:
        if "nodes" in wanted:
            raise CommandError("qsub: Cannot be used with select or place: nodes\n", _NODES_AND_SELECT)
        for name in wanted:
            if name in _CHUNK_WIDE:
                raise CommandError(
                    f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {name}\n',
                    _NOT_WITH_SELECT,
                )
    elif job.extra["place"]:
        raise CommandError("qsub: Cannot use place without select\n", _NO_SELECT)
    for name in wanted:
        if name not in (*_KNOWN, "nodes"):
            raise CommandError(f"qsub: Unknown resource Resource_List.{name}\n", _UNKNOWN)
    if "nodes" in wanted:
        found = re.fullmatch(r"(\d+)(?::ppn=(\d+))?", wanted["nodes"], re.ASCII)
        if not found:
            raise _bad("nodes")
        select = f"{found[1]}:ncpus={found[2] or 1}"
    if select is None:
        chunk = [f"{name}={value}" for name, value in wanted.items() if name in _CHUNK_WIDE]
        select = ":".join(["1", *chunk, *_one_core(wanted)])
        for name in ("ncpus", "mem"):
            _check(name, wanted.get(name, "1"))
    _select(job, select)


def _one_core(wanted: dict[str, str]) -> list[str]:
    return [] if "ncpus" in wanted else ["ncpus=1"]


def _walltime(job: Job, text: str) -> None:
    try:
        job.walltime = read_duration(text)
    except ValueError:
        raise _bad("walltime") from None


def _place(job: Job) -> None:
    words = job.extra["place"].split(":") if job.extra["place"] else []
    for word in words:
        if word not in ("free", "pack", "scatter", "vscatter", "excl", "exclhost", "shared"):
            raise _bad("place")
    job.exclusive = "excl" in words or "exclhost" in words


def _select(job: Job, select: str) -> None:
    """Only chunks that are alike: nothing else is asked of this fake."""
    count, _, chunk = select.partition(":")
    if not re.fullmatch(r"[1-9]\d*", count, re.ASCII):
        raise (
            CommandError("qsub: Illegal attribute or resource value\n", _BAD_VALUE) if count == "0" else _bad("select")
        )
    job.nodes = int(count)
    job.extra["select"] = select
    for part in filter(None, chunk.split(":")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise _bad("select")
        if name not in _KNOWN:
            raise CommandError(f"qsub: Unknown resource: {name}\n", _UNKNOWN)
        number = _check(name, value)
        if name == "ncpus":
            job.cores = number
        elif name == "mem":
            job.memory = number
        elif name == "ngpus":
            job.gpus = number
        elif name in ("host", "vnode"):
            job.wanted = [value]


def _check(name: str, value: str) -> int:
    try:
        if name == "mem":
            return read_size(value)
        if name in ("ncpus", "ngpus", "mpiprocs"):
            return int(value)
    except ValueError:
        raise _bad(name) from None
    return 0


def _bad(name: str) -> CommandError:
    return CommandError(f"qsub: Illegal attribute or resource value Resource_List.{name}\n", _BAD_VALUE)
