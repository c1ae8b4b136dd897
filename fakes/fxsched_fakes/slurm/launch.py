"""How a job is started on its node: environment, working directory, and the files that %-patterns name."""

from __future__ import annotations

import os

from ..engine import Cluster
from ..model import Job
from ..runner import Launch
from .environment import added


def prepare(cluster: Cluster, job: Job) -> Launch:
    environment = cluster.environment_of(job) | added(job, cluster.settings)
    workdir = job.workdir if os.path.isdir(job.workdir) else "/tmp"  # as slurmstepd 22.05.8 does
    environment["PWD"] = workdir
    stdin, stdout, stderr = (os.path.join(job.workdir, path) for path in file_names(job))
    script = f"{cluster.directory_of(job)}/script"
    return Launch([script, *job.arguments], environment, workdir, (stdin, stdout, stderr), int(job.extra["umask"], 8))


def file_names(job: Job) -> tuple[str, str, str]:
    """stdin, stdout and stderr as the job's patterns say."""
    stdout = expand(job.extra.get("stdout") or "slurm-%j.out", job)
    stderr = job.extra.get("stderr")
    return expand(job.extra.get("stdin") or os.devnull, job), stdout, expand(stderr, job) if stderr else stdout


def expand(pattern: str, job: Job) -> str:
    """%j %A %J job id, %x name, %u user, %N node, %n %t rank, %% a percent sign; `%5j` pads with zeros."""
    node = job.on[0] if job.on else ""
    values = {"j": str(job.id), "A": str(job.id), "J": str(job.id), "x": job.name, "u": job.user, "N": node, "n": "0",
              "t": "0", "a": "4294967294", "s": "batch", "b": "0"}  # fmt: skip
    result, rest = "", pattern
    while rest:
        text, percent, rest = rest.partition("%")
        result += text
        if not percent:
            break
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        letter = rest[len(digits) : len(digits) + 1]
        rest = rest[len(digits) + 1 :]
        if letter == "%":
            result += "%"
        elif letter in values:
            result += values[letter].rjust(int(digits or 0), "0")
        else:
            result += f"%{digits}{letter}"
    return result
