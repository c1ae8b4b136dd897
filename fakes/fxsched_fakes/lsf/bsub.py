"""bsub: takes a command, or a script on standard input, and hands it to the cluster."""

from __future__ import annotations

import math
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, Queue, Settings, State, Wait
from .options import Options, parse
from .values import exit_code, modern, number

_LETTERS = (
    "K E= T= w= f= k= R= m= J= L= u= i= o= e= n= q= b= t= sp= s= c= W= F= D= S= C= M= P= p= v= Ip Is I r H x N B h V X="
)
_WORDS = "app= cwd= env= eo= gpu= jsdl= oo= outdir= rn rnc sla= ti U= g="
_UNITS = {"": 1, "KB": 1 / 1024, "MB": 1, "GB": 1024, "TB": 1024**2}
_MOST = 250
_RESOURCES = {
    "mem", "swp", "tmp", "ut", "r15s", "r1m", "r15m", "pg", "io", "ls", "it", "type", "model", "ncpus", "ndisks",
    "maxmem", "maxswp", "maxtmp", "cpu", "ngpus", "ngpus_physical", "duration", "decay", "hname", "status", "server",
}  # fmt: skip


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    with cluster:
        settings = cluster.settings
    known = f"{_LETTERS} {_WORDS}" if modern(settings) else _LETTERS
    own, words = parse("bsub", known, arguments, permute=False)
    script = " ".join(words).encode("utf-8", "surrogateescape") if words else sys.stdin.buffer.read()
    if not script.strip():
        raise _refusal("No command is specified")
    options, _ = parse("bsub", known, [] if words else _directives(script), permute=True)
    options |= own
    for unsupported in ("I", "Ip", "Is"):
        if unsupported in options:
            raise CommandError(f"bsub: this fake does not simulate -{unsupported}\n", 255)
    job = _describe(
        options, settings, " ".join(words) or script.decode("utf-8", "surrogateescape"), variables.get("HOME", "")
    )
    name = options.get("q") or variables.get("LSB_DEFAULTQUEUE")
    script = script if script.startswith(b"#!") else b"#!/bin/sh\n" + script
    with cluster:
        _check_conditions(options, cluster)
        for element in _elements(job):
            job = cluster.submit(element, script, dict(variables))
            if "index" in job.extra:
                job.extra["array"] = str(job.id - int(job.extra["index"]) + 1)
    answer = f"Job <{number(job)}> is submitted to {'' if name else 'default '}queue <{job.queue}>.\n"
    return _wait(cluster, job, answer) if "K" in options else Reply(answer)


def _wait(cluster: Cluster, job: Job, answer: str) -> Reply:
    """What -K does: bsub ends as the job does."""
    while True:
        with cluster:
            job = cluster.jobs.get(job.id, job)
        if job.state == State.ENDED:
            return Reply(answer, "<<Waiting for dispatch ...>>\n<<Job is finished>>\n", exit_code(job) or 0)
        time.sleep(0.05)


def _elements(job: Job) -> list[Job]:
    """A job for each index of ``name[1-3]``. The array has the id of the first; the others' are not seen."""
    found = re.fullmatch(r"(.*)\[(\d+)-(\d+)\](?:%\d+)?", job.name)
    if not found or not job.extra["named"]:
        return [job]
    indices = range(1, int(found[3]) - int(found[2]) + 2)
    return [
        Job.from_json(job.as_json() | {"name": f"{found[1]}[{index}]", "extra": job.extra | {"index": str(index)}})
        for index in indices
    ]


def _check_conditions(options: Options, cluster: Cluster) -> None:
    for _, id in _conditions(options):
        if int(id) not in cluster.jobs:
            raise _refusal("No matching job found", id)


def _directives(script: bytes) -> list[str]:
    """The words of all #BSUB lines, wherever they stand."""
    lines = re.findall(rb"^[ \t]*#[ \t]*BSUB[ \t]+(-.*)$", script, re.MULTILINE)
    return [word for line in lines for word in shlex.split(line.decode("utf-8", "surrogateescape"), comments=True)]


def _describe(options: Options, settings: Settings, command: str, home: str) -> Job:
    queue = _queue(options, settings)
    name = options.get("J", command.partition("\n")[0])
    if len(options.get("J", "")) > _MOST:
        raise _refusal("Bad job name")
    user = pwd.getpwuid(os.getuid()).pw_name
    umask = os.umask(0)
    os.umask(umask)
    directory = os.path.join(os.getcwd(), options.get("cwd", "")).rstrip("/") or "/"
    job = Job(
        name=name.replace("\n", ""),
        user=user,
        uid=os.getuid(),
        queue=queue.name,
        queues=[queue.name],
        requeueable="r" in options or ("rerunnable" in settings.extra and "rn" not in options),
        exclusive="x" in options,
        walltime=_walltime(options, queue),
        held=Wait.HELD_BY_USER if "H" in options else "",
        workdir=directory,
        wanted=_wanted(options, settings),
        after=[("ok" if kind == "done" else "any", int(id)) for kind, id in _conditions(options)],
        extra={
            "command": command.rstrip("\n").replace("\n", ";")[:300],
            "named": "yes" if "J" in options else "",
            "hold": " with hold" if "H" in options else "",
            "cwd": re.sub(rf"^{re.escape(home)}(?=/|$)", "$HOME", directory) if home else directory,
            "project": options.get("P", "default"),
            "stdin": options.get("i", os.devnull),
            "stdout": options.get("oo", options.get("o", os.devnull)),
            "stderr": options.get("eo", options.get("e", "")),
            "umask": f"{umask:o}",
            "sla": options.get("sla", ""),
            "reservation": options.get("U", ""),
            "constraint": options.get("R", ""),
            "memory_limit": _memory_limit(options, settings),
        },
    )
    _needs(job, options, settings, queue)
    return job


def _queue(options: Options, settings: Settings) -> Queue:
    """The first queue of those that are named that is open: LSF chooses one of several."""
    names = options.get("q", "").split()
    queues = [settings.queue(name) for name in names] or [settings.default_queue()]
    if None in queues:
        raise _refusal("No such queue", options.get("q", ""))
    known = [queue for queue in queues if queue is not None]
    return next((queue for queue in known if queue.up), known[0])


def _memory_limit(options: Options, settings: Settings) -> str:
    """The limit in KB: volclava counts it in MB, LSF in KB, where lsf.conf names no unit."""
    if "M" not in options:
        return ""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?!?" if modern(settings) else r"(\d+)()", options["M"])
    if not found or not int(found[1]):
        raise _refusal("Bad MEMLIMIT specification", options["M"])
    unit = found[2] or settings.extra.get("LSF_UNIT_FOR_LIMITS", "KB" if modern(settings) else "MB")[0]
    limit = int(found[1]) * 1024 ** "KMGT".index(unit)
    if limit >= 2 * 1024**3:
        raise _refusal("Bad rlimit specification, valid value 0<= n < 2T with LSF_UNIT_FOR_LIMITS in lsf.conf")
    return str(limit)


def _walltime(options: Options, queue: Queue) -> int | None:
    text = options.get("W")
    if text is None:
        return queue.default_time or queue.max_time
    found = re.fullmatch(r"(?:(\d+):)?(\d+)(?:/.*)?", text)
    if not found:
        raise _refusal("Bad RUNLIMIT specification", text)
    seconds = (int(found[1] or 0) * 60 + int(found[2])) * 60
    if not seconds:
        return queue.max_time
    if queue.max_time and seconds > queue.max_time:
        raise _refusal("Cannot exceed queue's hard limit(s)", "RUNLIMIT")
    return seconds


def _wanted(options: Options, settings: Settings) -> list[str]:
    names = options.get("m", "").split()
    for name in names:
        if settings.node(name) is None:
            raise _refusal("Bad host name, host group name or cluster name", name)
    return names


def _conditions(options: Options) -> list[tuple[str, str]]:
    found = re.findall(r"(done|ended)\((\d+)\)", options.get("w", ""))
    if options.get("w") and not found:
        raise _refusal("Dependency condition syntax error")
    return found


def _needs(job: Job, options: Options, settings: Settings, queue: Queue) -> None:
    if not re.fullmatch(r"(\d+:)?\d+(/.*)?", options.get("c", "0")):
        raise _refusal("Bad CPULIMIT specification", options["c"])
    slots = options.get("n", "1").partition(",")[0]
    if not slots.isdecimal() or slots == "0":
        raise _refusal("Bad argument", slots)
    requirement = options.get("R", "")
    if requirement and not re.fullmatch(
        r"\s*((select|rusage|span|order|same|cu|affinity)\[[^\[\]]*\]\s*)+|[^\[\]]+", requirement
    ):
        raise _refusal("Bad resource requirement syntax")
    memory = re.search(r"\brusage\[[^\]]*\bmem\s*=\s*([0-9.]+)([A-Z]*)", requirement)
    if memory and (memory[2] not in _UNITS or (memory[2] and not modern(settings))):
        raise _refusal("Bad resource requirement syntax")
    unit = settings.extra.get("LSF_UNIT_FOR_LIMITS", "MB")
    unknown = set(re.findall(r"([A-Za-z_]\w*)(?:\([^)]*\))?\s*(?:=|<|>|!)", _without_span(requirement))) - _RESOURCES
    if unknown - {settings.extra.get("resources", "")}:
        raise _refusal("Bad resource requirement syntax")
    job.memory = math.ceil(float(memory[1]) * _UNITS[memory[2] or unit]) if memory else 0
    gpus = re.search(r"\bnum=(\d+)", options.get("gpu", ""))
    job.gpus = int(gpus[1]) if gpus else 0
    nodes = [node for node in settings.nodes if node.name in queue.nodes]
    if int(slots) > sum(node.cores for node in nodes):
        raise _refusal("Too many processors requested")
    tile = re.search(r"\bptile\s*=\s*(\d+)", requirement)
    if tile:
        job.cores = int(tile[1])
    elif re.search(r"\bhosts\s*=\s*1\b", requirement):
        job.cores = int(slots)
    else:
        job.cores = min(int(slots), max(node.cores for node in nodes))
    job.nodes = math.ceil(int(slots) / job.cores)


def _without_span(requirement: str) -> str:
    return re.sub(r"\b(span|order|same|cu|affinity)\[[^\]]*\]", "", requirement)


def _refusal(reason: str, what: str = "") -> CommandError:
    return CommandError(f"{what}{': ' if what else ''}{reason}. Job not submitted.\n", 255)
