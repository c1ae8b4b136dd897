"""A FastX node whose launcher is ``fxsched-launch``, in front of a scheduler."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio

from fxsched.jobs import JobId
from fxsched_fakes.fastx import FastXNode, launching

from .. import programs
from .site import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from fxsched_fakes.fastx import LaunchResult

    from .site import Site

LAUNCHER = str(programs.LAUNCHER)
FXSCHED = str(programs.FXSCHED)

START: dict[str, Any] = {
    "command": "exec sleep 600",
    "geometry": "1024x768",
    "name": 'caf\u00e9 "1" & \U0001f680',
    "params": {"project": "rosetta & friends'\"$(id)`id`\n", "n": ["1", "2"], "empty": ""},
    "unknown": {"a": [1, 2.5, None, True]},
}
"""What a user asked for: a session that stays, with everything in it that might be changed on its way."""


class Place:
    """A FastX node and its configuration of fxsched. ``cluster`` is the body of the cluster's table, as TOML."""

    def __init__(self, site: Site, node: FastXNode, cluster: str, environment: Mapping[str, str]) -> None:
        self.site = site
        self.node = node
        self.environment = dict(environment)
        self._cluster = cluster
        self._state = node.home / ".local" / "state" / "fxsched"
        self.configure()

    def configure(self, profile: str = "", *, start_script: str = "") -> None:
        """Write the configuration, with a ``profile`` in TOML, and a ``start_script`` in sh in place of FastX's."""
        if start_script:
            script = self.node.installation.directory / "script"
            script.write_text(f"#!/bin/sh\n{start_script}\n")
            script.chmod(0o755)
            profile += f"\nstart_script = {json.dumps(str(script))}"
        (self.node.installation.config / "fxsched.toml").write_text(
            f"[clusters.main]\n{self._cluster}\n[profiles.default]\n{profile}\n"
        )

    async def launch(self, start: Mapping[str, Any] = START, **settings: Any) -> LaunchResult:
        """Ask for a session, as FastX does."""
        settings = {"launcher": [LAUNCHER], "env": self.environment} | settings
        with mock.patch.object(launching, "run", run_launcher):
            return await self.node.launch(start, **settings)

    async def fxsched(self, *arguments: str) -> str:
        """Run an operator's command, which must work; return what it printed."""
        environment = {
            "HOME": str(self.node.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "FXSCHED_CONFIG": str(self.node.installation.config / "fxsched.toml"),
        }
        run = partial(programs.run, [FXSCHED, *arguments], env=environment | self.environment, text=True)
        done = await anyio.to_thread.run_sync(run)
        assert done.returncode == 0, done
        return str(done.stdout)

    def tokens(self) -> list[str]:
        """Return the tokens of all submissions in the ledger."""
        return [path.stem for path in self._state.glob("ledger/*/*.json")]

    def jobs(self) -> list[JobId]:
        """Return the ids of all jobs in the ledger."""
        entries = [json.loads(path.read_bytes().splitlines()[-1]) for path in self._state.glob("ledger/*/*.json")]
        return [JobId(entry["job"]) for entry in entries if "job" in entry]

    async def job(self) -> JobId:
        """Wait for the one submission to have a job; its id."""

        async def ask() -> list[JobId]:
            return self.jobs()

        [job] = await until(ask, bool)
        self.site.adopt(job)
        return job


run_installed = launching.run


async def run_launcher(
    argv: Sequence[str], *, stdin: bytes, environment: Mapping[str, str], cwd: Path
) -> tuple[int, str, str]:
    """Run the launcher as the node would; another program, such as an ``sh`` that starts it, is the node's to run."""
    if argv[0] != LAUNCHER:
        return await run_installed(argv, stdin=stdin, environment=environment, cwd=cwd)
    pipe = subprocess.PIPE
    process = programs.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=cwd, start_new_session=True
    )
    try:
        said = await anyio.to_thread.run_sync(process.communicate, stdin, abandon_on_cancel=True)
    finally:
        process.kill()
    out, err = (text.decode(errors="replace") for text in said)
    return process.wait(), out, err


@asynccontextmanager
async def open_place(site: Site, directory: Path, cluster: str, **environment: str) -> AsyncIterator[Place]:
    """Open a place for the length of an ``async with`` block; no session and no job outlives it."""
    async with FastXNode(directory, home=site.home) as node:
        place = Place(site, node, cluster, environment)
        yield place
        site.adopt(*place.jobs())
        await site.end_jobs()
