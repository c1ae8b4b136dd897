"""A scheduler to hold a contract against: an adapter that reaches it, and what a test can do to the scheduler."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import anyio

from fxsched import reasons
from fxsched.cluster.cluster import Cluster
from fxsched.errors import OutcomeUnknown
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Token, new_token
from fxsched.records.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from fxsched.adapter import Adapter
    from fxsched.hosts import CommandResult, Host
    from fxsched.jobs import JobStatus

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which something will not happen any more."""


class Site:
    """One scheduler, the adapter that reaches it, and a home directory for its jobs. HOME must be that directory."""

    refusal: ClassVar[tuple[dict[str, Any], str]]
    """Members of a ``JobSpec`` that the scheduler refuses, and words of its refusal."""

    # Of a scheduler that lets jobs wait, further members of a ``JobSpec``, and what else is its own:
    held: ClassVar[dict[str, Any]]
    """A job that is held by its owner; only ``native`` may be set."""
    everything: ClassVar[dict[str, Any]]
    """A job for the whole default queue, so that a second one must wait."""
    no_room: ClassVar[str] = reasons.RESOURCES
    """Why that second one waits."""
    deleted_while_waiting: ClassVar[EndCause] = EndCause.CANCELLED
    """What the scheduler says of the end of a job that was cancelled before it ran; UNKNOWN where it does not tell."""
    planning: ClassVar[float] = 3.0
    """Seconds after which it surely knows why a new job waits."""
    caller: ClassVar[dict[str, str]]
    """Variables that users set, and that hide jobs, change columns or turn commands into others."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.adapter = self.connect()
        self._submitted: list[JobId] = []

    def connect(self) -> Adapter:
        """Return a new adapter, made in the environment of this moment."""
        raise NotImplementedError

    def unused_ids(self, count: int) -> list[JobId]:
        """Return ids that no job has."""
        raise NotImplementedError

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        """While the block lasts, the scheduler accepts submissions through this adapter, but does not say so."""
        yield type(self.adapter)(DeafHost(self.adapter.host), self.adapter.options)

    def shown_to_everybody(self, id: JobId) -> str:
        """Return all that the scheduler shows of a job, to other users too."""
        return ""

    def pids(self, id: JobId, text: str) -> list[int]:
        """Return the processes of a job that have these numbers there."""
        return [int(pid) for pid in text.split()]

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def spec(self, text: str = "exec sleep 60", **members: Any) -> JobSpec:
        """Return a job as a ``Cluster`` hands it to an adapter, with ``members`` in place of the usual ones."""
        usual: dict[str, Any] = {
            "token": new_token(),
            "script": f"#!/bin/sh\n{text}\n".encode(),
            "working_directory": str(self.home),
            "output": str(self.home / "job.log"),
        }
        return JobSpec(**usual | members)

    async def submit(self, text: str = "exec sleep 60", **members: Any) -> JobId:
        """Submit a job that is ended with the test."""
        return await self.submit_spec(self.spec(text, **members))

    async def submit_spec(self, spec: JobSpec) -> JobId:
        id = await self.adapter.submit(spec)
        self.adopt(id)
        return id

    def adopt(self, *ids: JobId) -> None:
        """See to it that these jobs end with the test."""
        self._submitted += ids

    async def status(self, id: JobId) -> JobStatus:
        return (await self.adapter.status(frozenset([id])))[id]

    async def until(self, id: JobId, *states: JobState) -> JobStatus:
        """Ask until the job is in one of these states."""
        return await until(lambda: self.status(id), lambda status: status.state in states)

    async def ended(self, id: JobId) -> JobStatus:
        return await self.until(id, JobState.ENDED)

    async def until_found(self, token: Token) -> tuple[JobId, ...]:
        """Look for a token until there is a job; it is ended with the test."""
        found = await until(lambda: self.adapter.find(token), bool)
        self.adopt(*found)
        return found

    def cluster(self, **settings: Any) -> Cluster:
        """Return the cluster that the adapter makes, with a ledger of its own."""
        return Cluster("main", self.adapter, Ledger(self.home / "state"), **settings)

    async def end_jobs(self) -> None:
        """End every job that the test submitted."""
        for id in self._submitted:
            await self.adapter.cancel(id)
        for id in self._submitted:
            await self.until(id, JobState.ENDED, JobState.GONE)


class DeafHost:
    """Runs every command on another host, and loses its answer."""

    label = "a deaf host"

    def __init__(self, host: Host) -> None:
        self._host = host

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        await self._host.run(argv, **settings)
        raise OutcomeUnknown(f"{argv[0]} did not answer")


async def until(ask: Callable[[], Awaitable[T]], good: Callable[[T], object]) -> T:
    """Ask until the answer is good, and return it; an answer that never gets good fails the test."""
    deadline = time.monotonic() + PATIENCE
    while not good(answer := await ask()):
        assert time.monotonic() < deadline, f"after {PATIENCE:g} s it is still {answer!r}"
        await anyio.sleep(0.03)
    return answer


async def until_text(path: Path) -> str:
    """Wait for a file that somebody writes, and for its last line to be whole; its text."""

    async def read() -> str:
        return path.read_text() if path.exists() else ""

    return await until(read, lambda text: text.endswith("\n"))


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie that waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_dead(*pids: int) -> None:
    """Wait until none of these processes is left."""

    async def left() -> list[int]:
        return [pid for pid in pids if alive(pid)]

    await until(left, lambda pids: not pids)


def processes_with(variable: str) -> list[int]:
    """Return the processes that have ``NAME=value`` in their environment."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if variable.encode() in file.read().split(b"\0") and alive(int(name)):
                    found.append(int(name))
        except OSError:
            continue  # it has just ended, or is somebody else's
    return found
