"""This machine as a site for the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId, new_token
from fxsched_process.adapter import ProcessAdapter

from ..contract.site import Site

if TYPE_CHECKING:
    from pathlib import Path


class ThisMachine(Site):
    """Jobs as processes of this machine; everything about them lies in the home directory."""

    refusal = ({"queue": "debug"}, "cannot grant queue")

    def connect(self, *, grace: int = 1) -> ProcessAdapter:
        return ProcessAdapter(LocalHost(), ProcessAdapter.Options(grace=grace))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(new_token()) for _ in range(count)]

    def files(self, id: JobId) -> Path:
        """Return the directory in which the adapter keeps what belongs to a job."""
        return self.home / ".local" / "state" / "fxsched" / "processes" / id
