"""What a job finds in its environment: --export, --export-file, and the variables that slurmd adds."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..model import Job, Settings
from .values import node_list


def exported(names: str | None, environment: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The environment that travels with the job for this --export, and what sbatch says about it on stderr."""
    if names is None or names == "ALL":
        return dict(environment), ""
    # Any list, NONE or NIL: 22.05.8 loads the login environment on the node. Ours is what `env -i sh -l` would have.
    if names in ("", "NONE", "NIL"):
        return _login(environment), ""
    chosen: dict[str, str] = {}
    base = _login(environment)
    parts, complaint = _parts(names)
    for part in parts:
        name, equals, value = part.partition("=")
        if part == "ALL":
            base = dict(environment)
        elif equals:
            chosen[name] = value
        elif name in environment and name not in ("NONE", "NIL"):
            chosen[name] = environment[name]
    return base | chosen, complaint


def from_file(path: str) -> dict[str, str]:
    """--export-file: NUL-separated, and all that the job gets. Raises OSError."""
    with open(path, "rb") as file:
        pairs = os.fsdecode(file.read()).split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def added(job: Job, settings: Settings) -> dict[str, str]:
    """The variables of slurmd and slurmstepd for the first node of a batch job."""
    extra = job.extra
    nodes = node_list(job.on)
    per_node = str(job.cores) + (f"(x{len(job.on)})" if len(job.on) > 1 else "")
    variables = {
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": job.on[0],
        "SLURMD_NODENAME": job.on[0],
        "SLURM_CLUSTER_NAME": settings.name,
        "SLURM_CPUS_ON_NODE": str(job.cores),
        "SLURM_GTIDS": "0",
        "SLURM_JOBID": str(job.id),
        "SLURM_JOB_ID": str(job.id),
        "SLURM_JOB_CPUS_PER_NODE": per_node,
        "SLURM_JOB_GID": extra["gid"],
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_JOB_NUM_NODES": str(len(job.on)),
        "SLURM_JOB_PARTITION": job.queue,
        "SLURM_JOB_UID": str(job.uid),
        "SLURM_JOB_USER": job.user,
        "SLURM_LOCALID": "0",
        "SLURM_NNODES": str(len(job.on)),
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": nodes,
        "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": extra["submit_dir"],
        "SLURM_SUBMIT_HOST": extra["submit_host"],
        "SLURM_TASKS_PER_NODE": extra["tasks_per_node"],
        "SLURM_TASK_PID": str(os.getpid()),
        "TMPDIR": "/tmp",
    }
    for name, key in (
        ("SLURM_CPUS_PER_TASK", "cpus_per_task"),
        ("SLURM_NTASKS", "ntasks"),
        ("SLURM_NPROCS", "ntasks"),
        ("SLURM_NTASKS_PER_NODE", "ntasks_per_node"),
        ("SLURM_OPEN_MODE", "open_mode"),
        ("SLURM_ARRAY_JOB_ID", "array"),
        ("SLURM_ARRAY_TASK_ID", "task"),
        ("SLURM_MEM_PER_CPU", "memory_per_cpu"),
        ("SLURM_MEM_PER_NODE", "memory_per_node"),
        ("SLURM_JOB_ACCOUNT", "account"),
        ("SLURM_JOB_QOS", "qos"),
        ("SLURM_JOB_RESERVATION", "reservation"),
    ):
        if extra.get(key):
            variables[name] = extra[key]
    if job.gpus:
        variables["SLURM_GPUS_ON_NODE"] = str(job.gpus)
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(job.gpus)))
    if job.attempt:
        variables["SLURM_RESTART_COUNT"] = str(job.attempt)
    return variables


def _login(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environment[name] for name in ("HOME", "USER", "LOGNAME", "SHELL") if name in environment}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept}


def _parts(names: str) -> tuple[list[str], str]:
    """The list at its commas. One ' swallows the rest, as in 22.05.8: the variable is dropped, with a complaint."""
    parts = [""]
    quoted_from: int | None = None
    for index, character in enumerate(names):
        if character == "'":
            quoted_from = index if quoted_from is None else None
        if character == "," and quoted_from is None:
            parts.append("")
        else:
            parts[-1] += character
    if quoted_from is not None:
        return parts[:-1], f"sbatch: error: Improperly formed environment variable ({parts[-1]})\n"
    return parts, ""
