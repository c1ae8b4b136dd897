"""A fake OpenPBS or Torque in a temporary directory, driven as a user would: by its commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fxsched_fakes import Cluster, faults, install

from ..captures import Captures
from ..commands import command_server
from .fake_slurm import PATIENCE, wait_for

USERS = {"openpbs": "alice", "torque": "bob"}


class Pbs:
    """One simulated cluster, whose server is called "vm", as in the recordings."""

    def __init__(self, directory: Path, scheduler: str, **settings: object) -> None:
        self.scheduler = scheduler
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.bin = directory / "bin"
        self.cluster: Cluster = install(
            self.bin, scheduler, directory / "state", server=command_server(), name="vm", **settings
        )
        (self.home / "ok.sh").write_text("sleep 1\n")

    def run(
        self, *argv: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [self.bin / argv[0], *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC"} | dict(environment or {}),
        )
        out, err = process.communicate(stdin, PATIENCE)
        return subprocess.CompletedProcess(argv, process.returncode, os.fsdecode(out), os.fsdecode(err))

    def out(self, *argv: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        done = self.run(*argv, stdin=stdin, environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submits a script on stdin; the job's id."""
        return self.out("qsub", *options, stdin=f"#!/bin/sh\n{script}\n".encode()).strip()

    def state(self, id: str) -> str:
        history = [] if self.scheduler == "torque" else ["-x"]
        return self.out("qstat", *history, id).splitlines()[-1].split()[-2]

    def await_state(self, id: str, state: str) -> None:
        wait_for(lambda: self.state(id) == state, lambda: f"job {id} is {self.state(id)}, not {state}")

    def plan(self, command: str, fault: str, **options: object) -> None:
        faults.plan(self.cluster.directory, [{"command": command, "fault": fault, **options}])

    def next_id(self, number: int) -> None:
        with self.cluster as cluster:
            cluster.next_id = number

    def close(self) -> None:
        with self.cluster as cluster:
            for job in list(cluster.jobs.values()):
                cluster.lose(job)


def captured(of: str, *names: str) -> list[dict[str, Any]]:
    """Recorded commands, by name or by the start of names (`12-*`)."""
    rows = [
        row
        for name in names
        for row in Captures(of).rows()
        if row["name"] == name or (name.endswith("*") and row["name"].startswith(name[:-1]))
    ]
    assert rows, names
    return rows
