"""What the tests of the cluster share: how patient it is, what goes wrong, and a look at what it keeps."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster, Job
from fxsched.cluster.timing import Timing
from fxsched.errors import OutcomeUnknown, SchedulerUnavailable
from fxsched.jobs import EndCause, JobSpec, JobState, Token, new_token
from fxsched.records.ledger import Entry, Ledger

from .memory_adapter import MemoryAdapter

SHORT = Timing(launch=0.6, settle_pause=0.01, cancel=0.3, poll_interval=0.0, gone_after=0.0, settle_start=0.2)
PATIENT = replace(SHORT, poll_interval=10.0, gone_after=10.0)
NO_ANSWER = OutcomeUnknown("sbatch did not answer within 30 s")
DOWN = SchedulerUnavailable("slurmctld is down")
GONE_LONG_AGO = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


def a_spec(**members: Any) -> JobSpec:
    return JobSpec(token=new_token(), name="mine", command=("true",), **members)


def session(home: Path, token: Token) -> Path:
    return home / ".local/state/fxsched/sessions" / token


def report(home: Path, token: Token, **reports: str) -> None:
    """Let the job say something of itself."""
    for name, text in reports.items():
        (session(home, token) / name).write_text(f"{text}\n")


def sessions(home: Path) -> list[str]:
    return [path.name for path in home.glob(".local/state/fxsched/sessions/*")]


def private(home: Path, token: Token) -> bool:
    """Whether something private of a session is left."""
    return any((session(home, token) / name).exists() for name in ("command", "stdin"))


async def end_one(cluster: Cluster) -> Job:
    """Let a job end, and its end be seen."""
    job = await cluster.submit(a_spec())
    assert isinstance(cluster.adapter, MemoryAdapter)
    cluster.adapter.put(job.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([job.id], max_age=0)
    return job


class Gated:
    """A function of files that hangs in its first call until ``gate`` is opened, and then does nothing."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.begun, self.gate = threading.Event(), threading.Event()
        self.over = False

    def __call__(self, *arguments: Any) -> Any:
        if self.begun.is_set():
            return self.function(*arguments)
        self.begun.set()
        self.gate.wait(10)
        self.over = True
        return None

    async def is_hanging(self) -> None:
        """Wait until it is called."""
        while not self.begun.is_set():
            await anyio.sleep(0.005)


def age(ledger: Ledger, token: Token, seconds: float) -> None:
    """Let an entry have ended that long ago."""
    past = time.time() - seconds
    os.utime(ledger.state / "ledger" / "ended" / f"{token}.json", (past, past))


def live(ledger: Ledger) -> list[Entry]:
    return list(ledger.live("hpc"))
