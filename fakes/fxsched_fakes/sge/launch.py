"""How a job is started on its host: environment, working directory, and the files whose names hold variables."""

from __future__ import annotations

import os

from ..engine import Cluster
from ..model import Job
from ..runner import Launch
from .values import number, slots, task


def prepare(cluster: Cluster, job: Job) -> Launch:
    script = f"{cluster.directory_of(job)}/script"
    environment = cluster.environment_of(job) | _added(job, cluster, script)
    job.extra["wd"] = workdir = expand(job.extra["wd"], job)
    job.extra["stdout"] = stdout = _file(job, job.extra["stdout"], "o")
    stderr = stdout if job.extra["joined"] else _file(job, job.extra["stderr"], "e")
    return Launch([script, *job.arguments], environment, workdir, (os.devnull, stdout, stderr), 0o022)


def _file(job: Job, path: str, letter: str) -> str:
    path = expand(path or job.extra["home"], job)
    return (
        f"{path}/{job.name}.{letter}{number(job)}{f'.{task(job)}' if task(job) else ''}"
        if os.path.isdir(path)
        else path
    )


def expand(path: str, job: Job) -> str:
    """The pseudo variables that 8.1.9 replaces in paths."""
    variables = {
        "$HOME": job.extra["home"],
        "$USER": job.user,
        "$JOB_ID": str(number(job)),
        "$JOB_NAME": job.name,
        "$HOSTNAME": job.on[0] if job.on else "",
        "$TASK_ID": task(job) or "undefined",
    }
    for name, value in variables.items():
        path = path.replace(name, value)
    return path


def _added(job: Job, cluster: Cluster, script: str) -> dict[str, str]:
    """A job inherits nothing of its submitter's: this is what execd and shepherd give it."""
    home = job.extra["home"]
    return {
        "ARC": "lx-amd64",
        "ENVIRONMENT": "BATCH",
        "HOME": home,
        "HOSTNAME": job.on[0],
        "JOB_ID": str(number(job)),
        "JOB_NAME": job.name,
        "JOB_SCRIPT": script,
        "LOGNAME": job.user,
        "NHOSTS": str(len(job.on)),
        "NQUEUES": str(len(job.on)),
        "NSLOTS": str(slots(job)),
        "PATH": "/tmp:/usr/local/bin:/bin:/usr/bin",
        "PWD": job.extra["wd"],
        "QUEUE": job.queue,
        "REQNAME": job.name,
        "REQUEST": job.name,
        "RESTARTED": str(job.attempt),
        "SGE_ACCOUNT": job.extra["account"],
        "SGE_CELL": "default",
        "SGE_CLUSTER_NAME": cluster.settings.name,
        "SGE_O_HOME": home,
        "SGE_O_WORKDIR": job.extra["from"],
        "SGE_STDOUT_PATH": job.extra["stdout"],
        "SGE_TASK_ID": task(job) or "undefined",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",
        "USER": job.user,
    }
