"""A fake LSF in a temporary directory, driven as a user would: by its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxsched_fakes import install

from ..commands import command_server
from .fake_slurm import Slurm, wait_for

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = {
    "nodes": [{"name": "vm", "cores": 8, "memory": 16000, "gpus": 0}],
    "queues": [
        {"name": "normal", "nodes": ["vm"], "default": True},
        {"name": "short", "nodes": ["vm"], "max_time": 900},
    ],
}
"""The cluster of the recordings: one host, a default queue "normal", and "short"."""


class Lsf(Slurm):
    """One simulated cluster; ``settings`` are those of ``fxsched_fakes.install``."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.bin = directory / "bin"
        self.cluster = install(self.bin, "lsf", directory / "state", server=command_server(), **settings)
        self.state = directory / "state"

    def submit(self, command: str, *options: str, id: int | None = None) -> str:
        """Submits a shell command; the job's id, which may be chosen."""
        if id is not None:
            with self.cluster as cluster:
                cluster.next_id = id
        return self.out("bsub", *options, command).partition("<")[2].partition(">")[0]

    def show(self, job: str, pattern: str = "") -> str:
        return self.out("bjobs", "-w", job).splitlines()[1].split()[2]

    def ended(self, job: str) -> None:
        wait_for(lambda: self.show(job) in ("DONE", "EXIT"), lambda: f"job {job} is {self.show(job)}")

    def forgotten(self, job: str) -> None:
        """Waits until bjobs has forgotten the job."""
        wait_for(lambda: self.run("bjobs", job).returncode == 255, lambda: f"bjobs still knows job {job}")
