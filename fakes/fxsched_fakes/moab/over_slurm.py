"""How Moab hands a job down to Slurm, and what it knows of it by."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Job, Settings
from ..slurm import sbatch
from .request import Request


def manager_id(job: Job, _: Settings) -> str:
    return str(job.id)


def submit(cluster: Cluster, request: Request, variables: Mapping[str, str]) -> Reply:
    options = {
        "job-name": request.name,
        "nodes": request.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": request.cores,
        "gres": f"gpu:{request.gpus}" if request.gpus else None,
        "time": request.limits.get("walltime"),
        "mem": f"{-(-request.memory // request.nodes)}M" if request.memory else None,
        "partition": request.options.get("-q"),
        "account": request.options.get("-A"),
        "qos": request.limits.get("qos"),
        "reservation": request.limits.get("advres"),
        "constraint": request.limits.get("feature"),
        "chdir": request.options.get("-d"),
        "output": (request.options.get("-o") or f"{request.name}.o%j").replace("%", "%%"),
        "error": None if request.joined else request.options.get("-e"),
        "export": "ALL" if request.environment else "NONE",
    }
    words = ["--parsable", *(f"--{name}={value}" for name, value in options.items() if value is not None)]
    again = {"y": ["--requeue"], "n": ["--no-requeue"]}
    words += again.get(request.options.get("-r", ""), [])
    words += ["--hold"] * request.held + ["--exclusive"] * request.exclusive
    return sbatch.run(cluster, words + request.words, variables)
