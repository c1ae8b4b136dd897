"""What happens to the cluster while people launch: its controller is stopped, or killed and started again; a node goes
down, jobs get other names.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

import anyio
from anyio.to_thread import run_sync

from ..real.slurm_cluster import SlurmCluster
from .launches import LAUNCH_TIMEOUT

CALM = (0.5, 4.0)
STOPPED = (0.5, LAUNCH_TIMEOUT)
"""Seconds. sbatch gives up after five: short stops are sat out, long ones leave it open what came of a submit."""
FROZEN = (LAUNCH_TIMEOUT + 2, LAUNCH_TIMEOUT + 6)
"""So long that launches are told as failures, and their jobs come afterwards."""
DOWN = (0.0, 5.0)
RENAMED = 5
"""Jobs that get another name at the same time."""

Told = Callable[[Sequence[str]], Mapping[str, str]]
"""Asks ``fxsched status`` of jobs; returns the state of each."""


class Chaos:
    """Troubles a cluster, in an order that the seed decides, until it is told to end."""

    def __init__(self, cluster: SlurmCluster, told: Told, seed: int) -> None:
        self._cluster = cluster
        self._told = told
        self._random = random.Random(seed)
        self._over = anyio.Event()
        self._administrator = Administrator(cluster)
        self.stops = 0
        self.freezes = 0
        self.kills = 0
        self.nodes_down = 0
        self.renamed: set[str] = set()
        self.faults: list[str] = []

    async def run(self) -> None:
        """Make trouble. The controller answers again when this returns."""
        all_kinds = [self._stop, self._kill, self._freeze, self._fail_a_node, self._rename]
        kinds = list(all_kinds)  # one of each in any case
        while kinds or not self._over.is_set():
            await self._wait(CALM)
            kind = kinds.pop(0) if kinds else self._random.choices(all_kinds, (5, 5, 1, 3, 3))[0]
            await kind()
            await run_sync(self._administrator.resume_nodes)

    def end(self) -> None:
        """Let the present trouble be the last."""
        self._over.set()

    async def _stop(self) -> None:
        self.stops += 1
        await self._pause(STOPPED)

    async def _freeze(self) -> None:
        self.freezes += 1
        await self._pause(FROZEN)

    async def _pause(self, span: tuple[float, float]) -> None:
        self._cluster.pause_controller()
        try:
            await self._wait(span)
        finally:
            self._cluster.continue_controller()

    async def _kill(self) -> None:
        await run_sync(self._cluster.kill_controller)
        self.kills += 1
        await self._wait(DOWN)
        await run_sync(self._cluster.start_controller)

    async def _fail_a_node(self) -> None:
        """Take a node away that has jobs, if one has; Slurm would run them again on another, where they allow it."""
        busy = await run_sync(self._administrator.busy_nodes)
        if busy:
            self.nodes_down += 1
            await run_sync(self._administrator.take_down, self._random.choice(busy))
            await self._wait(CALM)

    async def _rename(self) -> None:
        """Give some jobs a name that tells nothing; they must not be told as ended while they live."""
        jobs = await run_sync(self._administrator.jobs)
        chosen = self._random.sample(jobs, min(RENAMED, len(jobs)))
        for job in chosen:
            await run_sync(self._administrator.rename, job)
        self.renamed |= set(chosen)
        if chosen:
            told = await run_sync(self._told, chosen)
            alive = set(await run_sync(self._administrator.jobs))
            for job in chosen:
                if job in alive and told.get(job) in ("ended", "gone"):
                    self.faults.append(f"job {job} was renamed and lives, but was told as {told[job]}")

    async def _wait(self, span: tuple[float, float]) -> None:
        with anyio.move_on_after(self._random.uniform(*span)):
            await self._over.wait()


class Administrator:
    """Does what a person does about a cluster, and must do after a controller's crash: Slurm 22.05 does not by itself.

    A controller that was killed starts a job again that had begun in its last seconds. Where the first run is still
    going on, the node refuses ("already running, do not launch second copy"), and the controller drains the node
    ("Duplicate jobid"). And a job whose end the controller had not saved yet is running for it until its node tells it
    what it runs, which it does when it is told to read its configuration again.
    """

    def __init__(self, cluster: SlurmCluster) -> None:
        self._cluster = cluster

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that wait or run."""
        states = "--states=PENDING,RUNNING"
        return self._cluster.run("squeue", "--noheader", states, "--format=%i").stdout.split()

    def rename(self, job: str) -> None:
        """Give a job another name; it may have ended."""
        self._cluster.run("scontrol", "update", f"JobId={job}", "JobName=renamed")

    def busy_nodes(self) -> list[str]:
        """Return the nodes that run jobs."""
        nodes = self._cluster.run("squeue", "--noheader", "--states=RUNNING", "--format=%N").stdout.split()
        return sorted(set(nodes))

    def take_down(self, node: str) -> None:
        """Let Slurm take a node for lost, with all that runs there; :meth:`resume_nodes` gives it back."""
        self._cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=soak")

    def resume_nodes(self) -> None:
        """Give drained and lost nodes back to the scheduler."""
        away = self._cluster.run("sinfo", "--noheader", "--Node", "--states=drain,down", "--format=%N").stdout.split()
        if away:
            nodes = ",".join(sorted(set(away)))
            self._cluster.run("scontrol", "update", f"NodeName={nodes}", "State=RESUME")

    def wait_for_the_end_of_all_jobs(self, seconds: float) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        look_at_nodes = time.monotonic() + 3
        while left := self._cluster.run("squeue", "--noheader", "--format=%i|%j|%T|%r").stdout:
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:g} s there are still jobs:\n{left}")
            self.resume_nodes()
            if time.monotonic() > look_at_nodes:
                look_at_nodes = time.monotonic() + 3
                self._cluster.run("scontrol", "reconfigure")
            time.sleep(0.2)
