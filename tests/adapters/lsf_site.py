"""A simulated LSF as a site for the contracts, in either of its dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.jobs import JobId, Resources
from fxsched_fakes import State
from fxsched_lsf.adapter import LsfAdapter

from ..contract.site import PATIENCE, until
from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeLsf(FakeSite):
    """Two nodes in queue "debug", two with GPUs in queue "gpu". Its log of events is never rotated away."""

    scheduler = "lsf"
    kind = LsfAdapter
    commands = ("bsub", "bjobs", "bkill", "bhist", "badmin", "lshosts")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("bsub",),
        "find": ("bjobs",),
        "status": ("bjobs",),
        "cancel": ("bkill",),
    }

    refusal = ({"queue": "nosuch"}, "nosuch: No such queue")
    held: ClassVar[dict[str, Any]] = {"native": ("-H",)}
    everything: ClassVar[dict[str, Any]] = {"exclusive": True, "resources": Resources(nodes=2)}
    caller: ClassVar[dict[str, str]] = {
        "LSB_DEFAULTQUEUE": "nosuch",
        "LSB_DISPLAY_YEAR": "N",
        "LSB_BJOBS_FORMAT": "jobid",
        "LSB_NTRIES": "1000000",
        "BSUB_QUIET": "1",
    }

    def __init__(self, home: Any, **settings: Any) -> None:
        self.volclava = settings.get("dialect") != "modern"
        super().__init__(home, **{"accounting": True} | settings)

    async def bsub(self, *options: str) -> JobId:
        """Submit a job of the user's own, without the adapter; return its id."""
        done = await self.adapter.host.run([str(self.bin / "bsub"), *options], deadline=PATIENCE)
        id = JobId(done.text.partition("<")[2].partition(">")[0])
        self.adopt(id)
        return id

    async def until_ended(self, *ids: int) -> None:
        """Wait for the end of jobs, by the simulation's own ids."""

        async def states() -> set[State]:
            with self.simulation as simulation:
                return {simulation.jobs[id].state for id in ids}

        await until(states, lambda states: states == {State.ENDED})
