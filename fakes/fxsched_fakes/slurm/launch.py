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
    script = f"{cluster.directory_of(job)}/script"
    return Launch([script, *job.arguments], environment, workdir, file_paths(job), int(job.extra["umask"], 8))


def file_paths(job: Job) -> tuple[str, str, str]:
    """stdin, stdout and stderr as the job's patterns say."""

    def path(pattern: str) -> str:
        return os.path.join(job.workdir, expand(pattern, job))

    stdout = job.extra.get("stdout") or "slurm-%j.out"
    return path(job.extra.get("stdin") or os.devnull), path(stdout), path(job.extra.get("stderr") or stdout)


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
