"""Simulated schedulers as sites for the contracts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId, JobState
from fxsched_fakes import State, faults, install

from ..commands import command_server
from ..contract.in_process import InProcessHost
from ..contract.site import Site, until_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fxsched.adapter import Adapter
    from fxsched.hosts import Host
    from fxsched.jobs import Token
    from fxsched_fakes import Cluster, CommandServer


class FakeSite(Site):
    """Four nodes, two of them in the default queue. ``settings`` are those of ``fxsched_fakes.install``."""

    scheduler: ClassVar[str]
    """The adapter's name, and the fake's."""
    kind: ClassVar[type[Adapter]]
    commands: ClassVar[tuple[str, ...]]
    """The commands that the adapter uses; the first one submits."""
    verbs: ClassVar[Mapping[str, tuple[str, ...]]]
    """Those of them that "submit", "find", "status" and "cancel" use for a job that waits. What "cancel" asks before
    and afterwards is "status"."""
    running: ClassVar[frozenset[str]] = frozenset()
    """Commands of "cancel" that only a job that runs meets."""
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
        return self.kind(self.host(), self.kind.Options(**options))

    sparing: ClassVar[type[InProcessHost]] = InProcessHost
    """The host that runs commands without processes."""
    _in_process: InProcessHost | None = None

    def host(self) -> Host:
        """Return where the commands run: this machine, unless processes are to be spared."""
        return self._in_process or LocalHost(self.kind.keeps)

    def spare_processes(self) -> None:
        """Run the commands in this very process from now on."""
        self._in_process = self.sparing(self.simulation, self.home, *self.simulated(), keep=self.kind.keeps)
        self.adapter = self.connect()

    def simulated(self) -> Sequence[str]:
        """Return the schedulers whose commands there are."""
        return (self.scheduler,)

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
        """While the block lasts, commands misbehave as planned. A fault that no call meets fails the test."""
        met = len(faults.fired(self.simulation.directory))
        with self._planned(*plans):
            yield
        fired = {(fault["command"], fault["fault"]) for fault in faults.fired(self.simulation.directory)[met:]}
        missed = [plan for plan in plans if (plan["command"], plan["fault"]) not in fired]
        assert not missed, f"no call met {missed}, but {sorted(fired) or 'none at all'}"

    @contextmanager
    def _planned(self, *plans: dict[str, Any]) -> Iterator[None]:
        faults.plan(self.simulation.directory, plans)
        try:
            yield
        finally:
            faults.plan(self.simulation.directory, [])

    def met(self, command: str) -> int:
        """Return how many calls of a command have met a fault."""
        return sum(fault["command"] == command for fault in faults.fired(self.simulation.directory))

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        with self.faults({"command": self.commands[0], "fault": "accept-then-time-out"}):
            yield self.adapter

    @contextmanager
    def down(self) -> Iterator[Adapter]:
        with self._planned(*({"command": name, "fault": "down"} for name in self.commands)):
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

    def undrain(self) -> None:
        """Let what waits start."""
        with self.simulation as simulation:
            for node in simulation.settings.nodes:
                simulation.undrain(node.name)

    def alive(self, token: Token) -> int:
        """Return how many of the session's jobs wait or run."""
        with self.simulation as simulation:
            jobs = simulation.jobs.values()
            return sum(job.name.endswith(token) and job.state is not State.ENDED for job in jobs)

    def submissions(self) -> int:
        """Return how many jobs the scheduler ever accepted and remembers."""
        with self.simulation as simulation:
            return len(simulation.jobs)
