"""How Moab hands a job down to Torque, and what it knows of it by."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Job, Settings
from ..pbs_family.values import full_id
from ..torque.commands import qsub
from .request import Request

_OWN = ("feature",)  # Moab's alone: Torque would refuse it


def manager_id(job: Job, settings: Settings) -> str:
    return full_id(job, settings)


def submit(cluster: Cluster, request: Request, variables: Mapping[str, str]) -> Reply:
    words = ["-N", request.name]
    for name in ("-q", "-A", "-j", "-o", "-e", "-d", "-m", "-r"):
        if name in request.options:
            words += [name, request.options[name]]
    for name, value in request.limits.items():
        if name not in _OWN:
            words += ["-l", f"{name}={value}"]
    words += ["-h"] * request.held + ["-V"] * request.environment
    return qsub(cluster, words + request.words[:1], variables)
