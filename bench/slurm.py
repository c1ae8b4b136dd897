"""The library on a real Slurm: how fast it submits, and what a status of many jobs costs beside squeue alone.

All jobs are held, so that only the submissions are measured. Both sides give sbatch the same options, and run it
``AT_ONCE`` times at a time: the library sees to that itself. Besides, it makes a durable ledger entry and the session's
directory, which `xargs sbatch` does not.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace
from tests.real.slurm_cluster import SlurmCluster, missing_programs

from bench.table import Row, milliseconds, ratio
from fxsched.cluster.opening import open_cluster
from fxsched.cluster.submission import AT_ONCE
from fxsched.jobs import JobSpec, new_token
from fxsched_slurm.replies import SQUEUE_FORMAT
from fxsched_slurm.submission import sbatch_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from fxsched.cluster.cluster import Cluster
    from fxsched.jobs import JobId

DISK = "/var/tmp"  # /tmp is memory on many machines, where a ledger costs nothing
SCRIPT = b"#!/bin/sh\ntrue\n"
PLACES = 8
ROUNDS = 9
SUBMISSIONS = 200
RATE_AIM = 0.8
JOBS = 1000
ASKS = 15
STATUS_AIM = 1.5


def missing() -> tuple[str, ...]:
    """What there is not, of Slurm's programs."""
    return tuple(missing_programs())


def rows() -> list[Row]:
    """Submissions against `xargs -P 8 sbatch`, and a status against squeue; each on a cluster of its own."""
    return [*_on_new_cluster(_submissions), *_on_new_cluster(_status)]


def _on_new_cluster(measure: Callable[[Cluster, SlurmCluster], Awaitable[list[Row]]]) -> list[Row]:
    async def run(slurm: SlurmCluster, home: Path) -> list[Row]:
        async with open_cluster("bench", state=home / "state", adapter="slurm") as cluster:
            return await measure(cluster, slurm)

    with (
        _quiet_place() as directory,
        SlurmCluster(directory) as slurm,
    ):
        home = directory / "home"
        home.mkdir()
        os.environ.update(SLURM_CONF=str(slurm.conf), HOME=str(home))
        return anyio.run(run, slurm, home)


@contextmanager
def _quiet_place() -> Iterator[Path]:
    """A directory on the disk, beside which nothing was removed lately.

    An ext4 without a journal looks at every inode that was freed minutes ago before it gives one out beside them: files
    that the tests, or this program before, have made and removed would then be all that is measured, on both sides.
    """
    with tempfile.TemporaryDirectory(prefix="fxsched-bench-", dir=DISK) as directory:
        # Where it is ext4, what is made in such a directory lies anywhere on the disk, each time elsewhere: chattr(1).
        subprocess.run(["chattr", "+T", directory], check=False, stderr=subprocess.DEVNULL)
        yield min((Path(tempfile.mkdtemp(dir=directory)) for _ in range(PLACES)), key=_seconds_to_fill)


def _seconds_to_fill(place: Path) -> float:
    begin = time.perf_counter()
    for number in range(100):
        (place / str(number)).touch()
    return time.perf_counter() - begin


async def _submissions(cluster: Cluster, slurm: SlurmCluster) -> list[Row]:
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def sbatch() -> None:
        async with limiter:
            await cluster.adapter.submit(replace(_spec(), script=SCRIPT))

    async def submit() -> None:
        await cluster.submit(_spec())

    rates: dict[str, list[float]] = {"library": [], "adapter": [], "xargs": []}
    for _ in range(ROUNDS):
        rates["library"].append(SUBMISSIONS / await _at_once(submit, SUBMISSIONS))
        rates["adapter"].append(SUBMISSIONS / await _at_once(sbatch, SUBMISSIONS))
        rates["xargs"].append(SUBMISSIONS / _xargs(slurm, SUBMISSIONS))
    library, adapter, xargs = rates.values()
    shown = f"{median(xargs):.0f}/s"
    what = f"{SUBMISSIONS} submissions : xargs -P {AT_ONCE} sbatch"
    return [
        Row(what, f"{median(library):.0f}/s", shown, ratio(library, xargs), RATE_AIM, more_is_better=True),
        Row(
            "  of these without ledger and session directory", f"{median(adapter):.0f}/s", shown, ratio(adapter, xargs)
        ),
    ]


async def _status(cluster: Cluster, slurm: SlurmCluster) -> list[Row]:
    jobs: list[JobId] = []

    async def submit() -> None:
        jobs.append((await cluster.submit(_spec())).id)

    await _at_once(submit, JOBS)
    await cluster.status(jobs, max_age=0)
    times: dict[str, list[float]] = {"library": [], "adapter": [], "squeue": []}
    for _ in range(ASKS):
        begin = time.perf_counter()
        answer = await cluster.status(jobs, max_age=0)
        times["library"].append(time.perf_counter() - begin)
        if len(answer) != JOBS or any(status.state != "held" for status in answer.values()):
            raise RuntimeError("the library did not find all jobs held")
        begin = time.perf_counter()
        await cluster.adapter.status(frozenset(jobs))
        times["adapter"].append(time.perf_counter() - begin)
        times["squeue"].append(_squeue(slurm))
    library, adapter, squeue = times.values()
    shown = milliseconds(squeue)
    return [
        Row(f"status of {JOBS} jobs : squeue alone", milliseconds(library), shown, ratio(library, squeue), STATUS_AIM),
        Row("  of this without ledger", milliseconds(adapter), shown, ratio(adapter, squeue)),
    ]


async def _at_once(work: Callable[[], Awaitable[None]], count: int) -> float:
    """Do some work so many times, all at once; the seconds that it took."""
    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(work)
    return time.perf_counter() - begin


def _spec() -> JobSpec:
    return JobSpec(token=new_token(), command=("true",), native=("--hold",))


def _xargs(slurm: SlurmCluster, count: int) -> float:
    script = slurm.directory / "script"
    script.write_bytes(SCRIPT)
    options = " ".join(sbatch_options(_spec()))
    begin = time.perf_counter()
    done = slurm.run("sh", "-c", f"seq {count} | xargs -P {AT_ONCE} -I{{}} sbatch {options} {script}", timeout=120)
    taken = time.perf_counter() - begin
    if len(done.stdout.split()) != count:
        raise RuntimeError(f"xargs sbatch failed: {done.stderr}")
    return taken


def _squeue(slurm: SlurmCluster) -> float:
    command = ["squeue", "--noheader", "--states=all", f"--format={SQUEUE_FORMAT}", "--me", "--array"]
    begin = time.perf_counter()
    subprocess.run(command, env=dict(slurm.env) | {"TZ": "UTC"}, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begin
