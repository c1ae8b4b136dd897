"""Simulated schedulers as sites for the contracts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId
from fxsched_fakes import faults, install

from ..contract.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fxsched.adapter import Adapter


class FakeSite(Site):
    """Four nodes, two of them in the default queue. ``settings`` are those of ``fxsched_fakes.install``."""

    scheduler: ClassVar[str]
    """The adapter's name, and the fake's."""
    kind: ClassVar[type[Adapter]]
    commands: ClassVar[tuple[str, ...]]
    """The commands that the adapter uses; the first one submits."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.bin = home.parent / "bin"
        self.simulation = install(self.bin, self.scheduler, state=home.parent / self.scheduler, **settings)
        super().__init__(home)

    def connect(self, **options: Any) -> Adapter:
        options = {"commands": {name: str(self.bin / name) for name in self.commands}} | options
        return self.kind(LocalHost(self.kind.keeps), self.kind.Options(**options))

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
        yield
        faults.plan(self.simulation.directory, [])

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        with self.faults({"command": self.commands[0], "fault": "accept-then-time-out"}):
            yield self.adapter

    @contextmanager
    def down(self) -> Iterator[Adapter]:
        with self.faults(*({"command": name, "fault": "down"} for name in self.commands)):
            yield self.adapter

    def submissions(self) -> int:
        """Return how many jobs the scheduler ever accepted and remembers."""
        with self.simulation as simulation:
            return len(simulation.jobs)
