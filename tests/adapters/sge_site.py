"""A simulated Grid Engine as a site for the contracts, and what the real one was recorded to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.jobs import JobId
from fxsched_fakes import State
from fxsched_sge.adapter import GridEngineAdapter

from ..captures import Captures
from ..contract.sge_words import GridEngineSite
from ..contract.site import PATIENCE, until
from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SGE = Captures("sge")


class FakeGridEngine(FakeSite, GridEngineSite):
    """Two hosts in the queue "debug", two with GPUs in the queue "gpu", and accounts."""

    scheduler = "sge"
    kind = GridEngineAdapter
    commands = ("qsub", "qstat", "qdel", "qacct")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("qsub",),
        "find": ("qstat",),
        "status": ("qstat",),
        "cancel": ("qdel",),
    }
    everything: ClassVar[dict[str, Any]] = {"native": ("-pe", "mpi", "32")}

    def __init__(self, home: Path, **settings: Any) -> None:
        super().__init__(home, **({"accounting": True} | settings))

    async def qsub(self, *options: str, script: str) -> JobId:
        """Submit a job of the user's own, without the adapter; return its id."""
        argv = [str(self.bin / "qsub"), "-terse", "-o", ":/dev/null", "-j", "y", *options]
        done = await self.adapter.host.run(argv, stdin=f"#!/bin/sh\n{script}\n".encode(), deadline=PATIENCE)
        id = JobId(done.text.partition(".")[0].strip())
        self.adopt(id)
        return id

    async def until_ended(self, *ids: int) -> None:
        """Wait for the end of jobs, by the simulation's own ids."""

        async def states() -> set[State]:
            with self.simulation as simulation:
                return {simulation.jobs[id].state for id in ids}

        await until(states, lambda states: states == {State.ENDED})
