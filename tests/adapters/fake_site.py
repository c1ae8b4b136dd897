"""Simulated schedulers as sites for the contracts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId, JobState
from fxsched_fakes import State, faults, install

from ..commands import command_server
from ..contract.site import Site, until_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fxsched.adapter import Adapter
    from fxsched.jobs import Token
    from fxsched_fakes import Cluster, CommandServer


class FakeSite(Site):
    """Four nodes, two of them in the default queue. ``settings`` are those of ``fxsched_fakes.install``."""

    scheduler: ClassVar[str]
    """The adapter's name, and the fake's."""
    kind: ClassVar[type[Adapter]]
    commands: ClassVar[tuple[str, ...]]
    """The commands that the adapter uses; the first one submits."""
    patience: ClassVar[tuple[str, ...]] = ("deadline", "submit_deadline")
    """The adapter's options that say how long its commands may take."""
    drained: ClassVar[tuple[JobState, ...]] = (JobState.QUEUED, JobState.HELD)
    """Where a job stands that was submitted to drained nodes."""
    serve: ClassVar[Callable[[], CommandServer | None]] = staticmethod(command_server)
    """Where the commands run; without one, each call starts a process."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.bin = home.parent / "bin"
        self.simulation = self.install(self.scheduler, **settings)
        super().__init__(home)

    def install(self, scheduler: str, **settings: Any) -> Cluster:
        return install(self.bin, scheduler, self.bin.parent / scheduler, server=self.serve(), **settings)

    def connect(self, **options: Any) -> Adapter:
        options = {"commands": {name: str(self.bin / name) for name in self.commands}} | options
        return self.kind(LocalHost(self.kind.keeps), self.kind.Options(**options))

    def patient(self, seconds: float) -> Adapter:
        """Return the adapter with so much patience for each of its commands."""
        return self.connect(**dict.fromkeys(self.patience, seconds))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(str(number)) for number in range(900_000, 900_000 + count)]

    def table(self) -> str:
        """Return the body of a ``[clusters.NAME]`` that leads here."""
        paths = ", ".join(f'{name} = "{self.bin / name}"' for name in self.commands)
        return f'adapter = "{self.scheduler}"\noptions.commands = {{ {paths} }}'

    @contextmanager
    def faults(self, *plans: dict[str, Any]) -> Iterator[None]:
        """While the block lasts, commands misbehave as planned."""
        faults.plan(self.simulation.directory, plans)
        try:
            yield
        finally:
            faults.plan(self.simulation.directory, [])

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        with self.faults({"command": self.commands[0], "fault": "accept-then-time-out"}):
            yield self.adapter

    @contextmanager
    def down(self) -> Iterator[Adapter]:
        with self.faults(*({"command": name, "fault": "down"} for name in self.commands)):
            yield self.adapter

    def drain(self) -> None:
        """Let nothing start any more."""
        with self.simulation as simulation:
            for node in simulation.settings.nodes:
                simulation.drain(node.name)

    async def end_jobs(self) -> None:
        """End every job that there is, and wait until no process of any is left."""
        with self.simulation as simulation:
            jobs = list(simulation.jobs.values())
            runners = [job.runner[0] for job in jobs if job.runner]
            for job in jobs:
                simulation.lose(job)
        await until_dead(*runners)

    def alive(self, token: Token) -> int:
        """Return how many of the session's jobs wait or run."""
        with self.simulation as simulation:
            jobs = simulation.jobs.values()
            return sum(job.name.endswith(token) and job.state is not State.ENDED for job in jobs)

    def submissions(self) -> int:
        """Return how many jobs the scheduler ever accepted and remembers."""
        with self.simulation as simulation:
            return len(simulation.jobs)
