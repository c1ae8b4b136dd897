"""bkill, bstop and bresume: a line for each job, on stdout where it works, on stderr where it does not."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job, State
from .options import parse
from .values import named

_KNOWN = "J= m= q= u= s= r l h V"


def kill(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    options, words = parse("bkill", _KNOWN, arguments, permute=True)
    name = options.get("s", "").upper().removeprefix("SIG")
    number = int(name) if name.isdecimal() else getattr(signal, f"SIG{name}", None) if name else None
    if name and number is None:
        raise CommandError(f"{options['s']}: Illegal signal value\n", 255)

    def end(cluster: Cluster, job: Job) -> str:
        if number is not None and number != signal.SIGKILL:
            if job.live:
                cluster.signal(job, number)
            return "signaled"
        if job.live and (number == signal.SIGKILL or "r" in options):
            cluster.end(job, Cause.CANCELLED)
        else:
            cluster.cancel(job, os.getuid())
        return "terminated"

    return _each(cluster, "bkill", words, end)


def stop(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    def act(cluster: Cluster, job: Job) -> str:
        if job.state == State.QUEUED:
            cluster.hold(job)
        elif job.state == State.RUNNING:
            cluster.suspend(job)
        return "stopped"

    return _each(cluster, "bstop", parse("bstop", _KNOWN, arguments, permute=True)[1], act)


def resume(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    def act(cluster: Cluster, job: Job) -> str:
        if job.state == State.QUEUED:
            cluster.release(job)
        elif job.state == State.SUSPENDED:
            cluster.resume(job)
        return "resumed"

    return _each(cluster, "bresume", parse("bresume", _KNOWN, arguments, permute=True)[1], act)


def _each(cluster: Cluster, command: str, words: list[str], act: Callable[[Cluster, Job], str]) -> Reply:
    if not words:
        raise CommandError(f"Job ID or one of '-m', '-u' '-q' and '-J' must be specified.\nUsage: {command} …\n", 255)
    out = err = ""
    with cluster:
        for word in words:
            if not re.fullmatch(r"\d+(\[\d+\])?", word, re.ASCII):
                raise CommandError(f"{word}: Illegal job ID.\n", 255)
            jobs = named(cluster, word)
            live = [job for job in jobs if job.state != State.ENDED]
            if not jobs:
                err += f"Job <{word}>: No matching job found\n"
            elif jobs[0].uid != os.getuid():
                err += f"Job <{word}>: User permission denied\n"
            elif not live:
                err += f"Job <{word}>: Job has already finished\n"
            else:
                done = [act(cluster, job) for job in live]
                out += f"Job <{word}> is being {done[0]}\n"
    return Reply(out, err, 255 if err else 0)
