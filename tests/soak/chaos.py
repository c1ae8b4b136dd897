"""What happens to the cluster while people launch: its controller is stopped, or killed and started again."""

from __future__ import annotations

import random
import time

import anyio
from anyio.to_thread import run_sync

from ..real.slurm_cluster import SlurmCluster

CALM = (0.5, 4.0)
STOPPED = (0.5, 14.0)
"""Seconds. sbatch gives up after five, and a launch after twelve: short stops are sat out, long ones leave it open."""
DOWN = (0.0, 5.0)


class Chaos:
    """Troubles a cluster, in an order that the seed decides, until it is told to end."""

    def __init__(self, cluster: SlurmCluster, seed: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._over = anyio.Event()
        self._administrator = Administrator(cluster)
        self.stops = 0
        self.kills = 0

    async def run(self) -> None:
        """Make trouble. The controller answers again when this returns."""
        kinds = [self._stop, self._kill]  # one of each in any case
        while not self._over.is_set():
            await self._wait(CALM)
            await (kinds.pop(0) if kinds else self._random.choice((self._stop, self._stop, self._kill)))()
            await run_sync(self._administrator.resume_nodes)

    def end(self) -> None:
        """Let the present trouble be the last."""
        self._over.set()

    async def _stop(self) -> None:
        self._cluster.pause_controller()
        self.stops += 1
        try:
            await self._wait(STOPPED)
        finally:
            self._cluster.continue_controller()

    async def _kill(self) -> None:
        await run_sync(self._cluster.kill_controller)
        self.kills += 1
        await self._wait(DOWN)
        await run_sync(self._cluster.start_controller)

    async def _wait(self, span: tuple[float, float]) -> None:
        with anyio.move_on_after(self._random.uniform(*span)):
            await self._over.wait()


class Administrator:
    """Does what a person must do after a controller's crash, and what Slurm 22.05 does not do by itself.

    A controller that was killed runs a job again that had begun in its last seconds. Where the first run is still going
    on, the node refuses ("already running, do not launch second copy"); the controller then drains the node ("Duplicate
    jobid") and holds the job ("launch failed requeued held"). And a job whose end the controller had not saved yet is
    running for it until its node tells it what it runs, which it does when it is told to read its configuration again.
    """

    def __init__(self, cluster: SlurmCluster) -> None:
        self._cluster = cluster
        self._waiting: dict[str, float] = {}

    def resume_nodes(self) -> None:
        """Give drained nodes back to the scheduler."""
        drained = self._cluster.run("sinfo", "--noheader", "--Node", "--states=drain", "--format=%N").stdout.split()
        if drained:
            nodes = ",".join(sorted(set(drained)))
            self._cluster.run("scontrol", "update", f"NodeName={nodes}", "State=RESUME")

    def release_jobs(self) -> None:
        """Let held jobs go, and requeued ones soon: these wait for two minutes otherwise.

        In the second of its requeueing a job would fail, because its credential of that second has been revoked.
        """
        waiting = self._cluster.run("squeue", "--noheader", "--states=PENDING", "--format=%i|%r").stdout
        for job, reason in (line.split("|") for line in waiting.splitlines()):
            if "held" in reason.lower():
                self._cluster.run("scontrol", "release", job)
            elif reason == "BeginTime" and time.monotonic() > self._waiting.setdefault(job, time.monotonic()) + 3:
                self._cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def wait_for_the_end_of_all_jobs(self, seconds: float) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        look_at_nodes = time.monotonic() + 3
        while left := self._cluster.run("squeue", "--noheader", "--format=%i|%j|%T|%r").stdout:
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:g} s there are still jobs:\n{left}")
            self.resume_nodes()
            self.release_jobs()
            if time.monotonic() > look_at_nodes:
                look_at_nodes = time.monotonic() + 3
                self._cluster.run("scontrol", "reconfigure")
            time.sleep(0.2)
