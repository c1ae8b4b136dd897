"""qacct -j: the books, in which every run of a job is written down at its end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job
from .options import Table
from .values import PARK, error, long_date, look, number, ran, slots, task

TABLE = Table("qacct", "A= b= d= e= f= g= h= help j= l= m o= P= pe= q= slots= t=")
_KILLED = 137
_WARNED = 138  # the soft limit of the run time sends USR1


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    options = {name: value[0] if value else "" for name, value in TABLE.parse(arguments)[0]}
    if "j" not in options:
        raise CommandError("qacct: this fake does only -j\n", 2)
    wanted = options["j"]
    with cluster:
        look(cluster)
        if not cluster.settings.accounting:
            path = f"{os.path.dirname(cluster.directory)}/default/common/accounting"
            raise CommandError(f"{path}: No such file or directory\n", out="no jobs running since startup\n")
        since = cluster.now() - float(options["d"]) * 86400 if "d" in options else 0.0
        jobs = [*cluster.forgotten(), *cluster.jobs.values()]
        found = [job for job in jobs if ran(job) and _is(job, wanted) and (job.started or 0) >= since]
        records = [record(job) for job in found]
    if not records:
        kind = "id" if wanted.isdigit() else "name"
        raise CommandError(f"error: job {kind} {wanted} not found\n")
    return Reply("".join(records))


def _is(job: Job, wanted: str) -> bool:
    return str(number(job)) == wanted if wanted.isdigit() else fnmatchcase(job.name, wanted)


def record(job: Job) -> str:
    """One record, with every line of 8.1.9 and what it says of usage made up."""
    started, ended = (None, None) if job.cause == Cause.LAUNCH else (job.started, job.ended)
    wallclock = int((ended or 0) - (started or 0))
    fields = {
        "qname": job.queue,
        "hostname": job.on[0],
        "group": job.extra["group"],
        "owner": job.user,
        "project": job.extra.get("project") or "NONE",
        "department": "defaultdepartment",
        "jobname": job.name,
        "jobnumber": str(number(job)),
        "taskid": task(job) or "undefined",
        "account": job.extra.get("account", "sge"),
        "priority": "0",
        "qsub_time": long_date(job.submitted),
        "start_time": long_date(started),
        "end_time": long_date(ended),
        "granted_pe": job.extra.get("pe", "NONE"),
        "slots": str(slots(job)),
        "failed": failed(job),
        "exit_status": exit_status(job),
        "ru_wallclock": f"{wallclock}s",
        "maxvmem": "4.238MB",
        "arid": "undefined",
        "ar_sub_time": "undefined",
        "category": job.extra.get("category", "NONE"),
    }
    return f"{'=' * 62}\n" + "".join(f"{name:<13}{value:<20}\n" for name, value in fields.items())


def failed(job: Job) -> str:
    if job.cause == Cause.LAUNCH or (job.cause == Cause.FAILED and job.exit_code == PARK):
        code, words, _ = error(job)
    elif job.cause in (Cause.WALLTIME, Cause.MEMORY) and "soft" not in job.extra:
        code, words = 37, "qmaster enforced h_rt, h_cpu, or h_vmem limit"
    elif job.cause == Cause.NODE_FAILURE:
        code, words = 19, "before writing exit_status"
    elif job.signal or job.cause in (Cause.CANCELLED, Cause.PREEMPTED, Cause.WALLTIME):
        code, words = 100, "assumedly after job"
    else:
        return "0    "
    return f"{code:<4}: {words}"


def exit_status(job: Job) -> str:
    if job.cause == Cause.WALLTIME and "soft" in job.extra:
        return f"{_WARNED}                  (User defined signal 1)"
    if job.cause in (Cause.CANCELLED, Cause.WALLTIME, Cause.MEMORY, Cause.PREEMPTED):
        return f"{_KILLED}                  (Killed)"
    if job.signal:
        return str(128 + job.signal)
    return str(0 if job.cause in (Cause.LAUNCH, Cause.NODE_FAILURE) else job.exit_code)
