"""A pool of two hosts as a site for the contracts: this machine twice, each time with another home directory."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fxsched.errors import HostUnreachable
from fxsched.hosts import LocalHost
from fxsched.hosts.pool import Pool
from fxsched.jobs import JobId, new_token
from fxsched_process.pool import PoolAdapter

from ..contract.site import DeafHost, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fxsched.adapter import Adapter
    from fxsched.hosts import CommandResult, Host

NAMES = ("node1", "node2:2222")


class Machine:
    """A host that is reached by commands only, and that can be out of reach."""

    home = None

    def __init__(self, name: str, home: Path) -> None:
        self.label = name
        self.reachable = True
        self.commands: list[str] = []
        former = os.environ["HOME"]
        os.environ["HOME"] = str(home)
        self._host = LocalHost()
        os.environ["HOME"] = former

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        if not self.reachable:
            raise HostUnreachable(f"no route to {self.label}")
        self.commands.append(argv[4] if argv[3:4] == ["fxsched"] else argv[0])
        return await self._host.run(argv, **settings)


class ThesePools(Site):
    """Two hosts. ``shared``: with one home directory; otherwise each has its own."""

    refusal = ({"queue": "debug"}, "cannot grant queue")

    def __init__(self, home: Path, *, shared: bool) -> None:
        homes = [home, home if shared else home.parent / "home2"]
        homes[1].mkdir(exist_ok=True)
        self.machines = {name: Machine(name, each) for name, each in zip(NAMES, homes, strict=True)}
        super().__init__(home)

    def connect(self, **options: Any) -> PoolAdapter:
        return self.made_of(self.machines, **options)

    def made_of(self, machines: Any, **options: Any) -> PoolAdapter:
        return PoolAdapter(Pool(machines), PoolAdapter.Options(**({"grace": 1, "patience": 0.5} | options)))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{new_token()}@{NAMES[number % 2]}") for number in range(count)]

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        """Each host runs what is submitted, and does not say so."""
        yield self.made_of({name: DeafToSubmit(machine) for name, machine in self.machines.items()})


class DeafToSubmit(DeafHost):
    """Answers everything but a submit."""

    home = None

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._real = host

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        if "submit" in argv:
            return await super().run(argv, **settings)
        return await self._real.run(argv, **settings)
