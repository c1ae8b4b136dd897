"""bhist: the history of jobs, out of the log of events, which remembers longer than bjobs does."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job, Settings, State
from .bjobs import files, folded, heading, indent, limits, started
from .options import parse
from .values import end, end_reason, long_time, modern, number, remembered, title

_KNOWN = "a d e p r s l w b h V n= u= q= J= f= m= P= N= t= S= D= C= T="
_NOTHING = "No matching job found\n"


def run(cluster: Cluster, arguments: list[str], variables: Mapping[str, str]) -> Reply:
    options, words = parse("bhist", _KNOWN, arguments, permute=True)
    with cluster:
        settings, now = cluster.settings, cluster.now()
        jobs = remembered(cluster)
    for word in words:
        if not re.fullmatch(r"\d+(\[\d+\])?", word, re.ASCII):
            raise CommandError(f"{word}: Illegal job ID.\n", 255)
    if words:
        jobs = [job for job in jobs if str(number(job)) in words or title(job) in words]
    else:
        jobs = [job for job in jobs if job.uid == os.getuid() and ("a" in options or job.state != State.ENDED)]
    if not jobs:
        return Reply(_NOTHING, rc=255)
    if "l" in options:
        return Reply(f"{'-' * 78}\n".join(_paragraph(job, settings, now, variables) for job in jobs))
    rows = "".join(_row(job, now, wide="w" in options) for job in jobs)
    return Reply(
        "Summary of time in seconds spent in various states:\n"
        f"JOBID   USER    JOB_NAME  PEND    PSUSP   RUN     USUSP   SSUSP   UNKWN   TOTAL\n{rows}\n"
    )


def _row(job: Job, now: float, *, wide: bool) -> str:
    name = job.name if wide or len(job.name) <= 9 else f"*{job.name[-8:]}"
    times = "".join(f"{seconds:<8d}" for seconds in _spent(job, now))
    return f"{title(job):<7s} {job.user:7.7s} {name:9s} {times}\n"


def _spent(job: Job, now: float) -> list[int]:
    ran = int(job.ran_for(now)) if job.on else 0
    waited = int((job.started or job.ended or now) - job.submitted)
    return [waited, 0, ran, int(job.suspended_for), 0, 0, waited + ran]


def _paragraph(job: Job, settings: Settings, now: float, variables: Mapping[str, str]) -> str:
    def event(at: float, text: str) -> str:
        return folded(f"{long_time(at, settings, variables)}: {text}", indent(settings, variables))

    # The heading is not folded in volclava 2.2.
    head = heading(job)
    text = "\n" + (folded(head, indent(settings, variables)) if modern(settings) else f"{head}\n")
    text += event(
        job.submitted, f"Submitted from host <vm>, to Queue <{job.queue}>, CWD <{job.extra['cwd']}>{files(job)};"
    )
    text += limits(job)
    if job.on and job.started is not None:
        text += event(job.started, f"{started(job, settings, 'Dispatched', 'to')};")
        text += event(job.started, "Starting (Pid 4217);")
        text += event(
            job.started, f"Running with execution home </home>, Execution CWD <{job.workdir}>, Execution Pid <4217>;"
        )
    if job.state == State.ENDED and job.ended is not None:
        if job.cause == Cause.CANCELLED:
            text += event(job.ended, f"Signal <KILL> requested by user or administrator <{job.user}>;")
        text += event(job.ended, f"{end(job)};")
        if end_reason(job, settings):
            text += event(job.ended, f"Completed <exit>; {end_reason(job, settings).rstrip('.')};")
    numbers = "".join(f"{seconds:<9d}" for seconds in _spent(job, now))
    return (
        f"{text}\nSummary of time in seconds spent in various states by  {long_time(now, settings, variables)}\n"
        f"  PEND     PSUSP    RUN      USUSP    SSUSP    UNKWN    TOTAL\n  {numbers}\n\n"
    )
