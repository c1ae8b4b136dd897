"""How a job is started on its node. Unlike LSF's, its output file is written as it goes, and has no header."""

from __future__ import annotations

import os

from ..engine import Cluster
from ..model import Job
from ..runner import Launch
from .values import hosts, number, title


def prepare(cluster: Cluster, job: Job) -> Launch:
    workdir = job.workdir if os.path.isdir(job.workdir) else "/tmp"  # as sbatchd does
    environment = cluster.environment_of(job) | {
        "LSB_BATCH_JID": title(job),
        "LSB_HOSTS": " ".join(hosts(job)),
        "LSB_JOBID": str(number(job)),
        "LSB_JOBINDEX": job.extra.get("index", "0"),
        "LSB_JOBNAME": job.name,
        "LSB_JOBPID": str(os.getpid()),
        "LSB_MCPU_HOSTS": " ".join(f"{name} {job.cores}" for name in job.on),
        "LSB_QUEUE": job.queue,
        "LS_SUBCWD": job.workdir,
        "PWD": workdir,
    }
    stdout, stderr = (
        os.path.join(workdir, path.replace("%J", str(number(job)))) if path else ""
        for path in (job.extra["stdout"], job.extra["stderr"])
    )
    if not os.path.isdir(os.path.dirname(stdout)):
        stdout = os.devnull  # LSF loses the output, and says nothing
    script = f"{cluster.directory_of(job)}/script"
    return Launch(
        [script], environment, workdir, (job.extra["stdin"], stdout, stderr or stdout), int(job.extra["umask"], 8)
    )
