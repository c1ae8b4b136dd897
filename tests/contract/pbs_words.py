"""What the contracts must say to OpenPBS and Torque, real or simulated."""

from __future__ import annotations

from typing import Any, ClassVar

from fxsched.jobs import JobId, Resources

from .site import Site


class PbsSite(Site):
    """OpenPBS with two nodes in its default queue."""

    refusal = ({"queue": "nosuch"}, "Unknown queue")
    held: ClassVar[dict[str, Any]] = {"native": ("-h",)}
    everything: ClassVar[dict[str, Any]] = {"exclusive": True, "resources": Resources(nodes=2)}
    caller: ClassVar[dict[str, str]] = {"PBS_DPREFIX": "#!", "TZ": "America/New_York"}
    server: ClassVar[str]
    """Its name, which ends every id."""

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{number}.{self.server}") for number in range(900_000, 900_000 + count)]


class TorqueSite(PbsSite):
    """Torque with two nodes in its default queue, and pbs_sched."""
