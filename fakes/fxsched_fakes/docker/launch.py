"""How a container's process is started: its own environment, its working directory, and a log for what it prints."""

from __future__ import annotations

import json
import os

from ..engine import Cluster
from ..model import Job
from ..runner import Launch


def prepare(cluster: Cluster, job: Job) -> Launch:
    environment = dict(pair.split("=", 1) for pair in json.loads(job.extra["env"]))
    environment.setdefault("HOME", "/")
    environment["HOSTNAME"] = job.extra["id"][:12]
    log = f"{cluster.directory_of(job)}/log"
    return Launch(json.loads(job.extra["argv"]), environment, job.workdir, (os.devnull, log, log), 0o022)
