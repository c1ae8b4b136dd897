"""A simulated Slurm as a site for the contracts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId
from fxsched_fakes import faults, install
from fxsched_slurm.adapter import SlurmAdapter

from ..contract.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fxsched.adapter import Adapter

COMMANDS = ("sbatch", "squeue", "scancel", "sacct")


class FakeSlurm(Site):
    """Four nodes, two of them in partition "debug". ``settings`` are those of ``fxsched_fakes.install``."""

    refusal = ({"queue": "nosuch"}, "invalid partition specified: nosuch")

    def __init__(self, home: Path, **settings: Any) -> None:
        self.commands = home.parent / "bin"
        self.simulation = install(self.commands, state=home.parent / "slurm", **settings)
        super().__init__(home)

    def connect(self, **options: Any) -> SlurmAdapter:
        paths = {name: str(self.commands / name) for name in COMMANDS}
        return SlurmAdapter(LocalHost(SlurmAdapter.keeps), SlurmAdapter.Options(commands=paths, **options))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(str(number)) for number in range(900_000, 900_000 + count)]

    def table(self) -> str:
        """Return the body of a ``[clusters.NAME]`` that leads here."""
        paths = ", ".join(f'{name} = "{self.commands / name}"' for name in COMMANDS)
        return f'adapter = "slurm"\noptions.commands = {{ {paths} }}'

    @contextmanager
    def faults(self, *plans: dict[str, Any]) -> Iterator[None]:
        """While the block lasts, commands misbehave as planned."""
        faults.plan(self.simulation.directory, plans)
        yield
        faults.plan(self.simulation.directory, [])

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        with self.faults({"command": "sbatch", "fault": "accept-then-time-out"}):
            yield self.adapter

    @contextmanager
    def down(self) -> Iterator[Adapter]:
        with self.faults(*({"command": name, "fault": "down"} for name in COMMANDS)):
            yield self.adapter

    def submissions(self) -> int:
        """Return how many jobs Slurm ever accepted and remembers."""
        with self.simulation as simulation:
            return len(simulation.jobs)
