"""How a job is started on its node: in its home directory, with the few variables that PBS sets."""

from __future__ import annotations

import os

from ..engine import Cluster
from ..model import Job
from ..runner import Launch
from .values import full_id


def prepare(cluster: Cluster, job: Job) -> Launch:
    id = full_id(job, cluster.settings)
    environment = cluster.environment_of(job) | {
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": id,
        "PBS_JOBNAME": job.name,
        "PBS_QUEUE": job.queue,
        "PBS_O_HOST": job.extra["host"],
        "PBS_O_QUEUE": job.queue,
        "PBS_O_WORKDIR": job.extra["submit_dir"],
        "PBS_NODENUM": "0",
        "PBS_TASKNUM": "1",
        "PBS_NODEFILE": f"{cluster.directory_of(job)}/nodes",
        "NCPUS": str(job.cores),
        "TMPDIR": "/tmp",
    }
    with open(environment["PBS_NODEFILE"], "w") as file:
        file.write("".join(f"{node}\n" for node in job.on))
    home = environment.get("HOME", "/")
    workdir = job.extra.get("directory") or home
    script = f"{cluster.directory_of(job)}/script"
    output = _file(job, "output", "o")
    error = output if job.extra["join"] == "oe" else _file(job, "error", "e")
    files = (os.devnull, output, error)
    return Launch([script], environment, workdir if os.path.isdir(workdir) else home, files, 0o077)


def _file(job: Job, kind: str, letter: str) -> str:
    """Where output goes. The real ones bring it there at the end, and lose it where that cannot be done."""
    path = os.path.join(job.extra["submit_dir"], job.extra[kind] or f"{job.name}.{letter}{job.id}")
    return path if os.path.isdir(os.path.dirname(path)) else os.devnull
