"""The real Slurm as a site for the contracts."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fxsched.hosts import LocalHost
from fxsched.jobs import JobId
from fxsched_slurm.adapter import SlurmAdapter

from ..contract.site import until
from ..contract.slurm_words import SlurmSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fxsched.adapter import Adapter

    from .slurm_cluster import SlurmCluster


class RealSlurm(SlurmSite):
    """The cluster of the session; SLURM_CONF must lead to it."""

    def __init__(self, home: Path, slurm: SlurmCluster) -> None:
        self.slurm = slurm
        super().__init__(home)

    def connect(self, **options: Any) -> SlurmAdapter:
        return SlurmAdapter(LocalHost(SlurmAdapter.keeps), SlurmAdapter.Options(**options))

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(str(number)) for number in range(900_000, 900_000 + count)]

    def shown_to_everybody(self, id: JobId) -> str:
        shown = (
            ("scontrol", "-dd", "show", "job", id),
            ("squeue", "-h", "-t", "all", "-j", id, "-o", "%all"),
            ("scontrol", "write", "batch_script", id, "-"),
        )
        texts = [self.slurm.run(*command) for command in shown]
        assert all(text.returncode == 0 and text.stdout for text in texts), texts
        return "".join(text.stdout for text in texts)

    async def clear(self) -> None:
        """End what is still there: a controller that was killed may have brought an earlier test's jobs back."""
        self.slurm.run("scancel", f"--user={os.getuid()}")

        async def ask() -> str:
            return self.slurm.run("squeue", "--noheader").stdout

        await until(ask, lambda jobs: not jobs)

    @contextmanager
    def unanswered(self) -> Iterator[Adapter]:
        """The controller hangs; sbatch gives up after ten seconds."""
        with self.hung():
            yield self.adapter

    @contextmanager
    def down(self) -> Iterator[Adapter]:
        """Authentication hangs, and with it every command, for longer than we wait."""
        self.slurm.pause_munge()
        try:
            yield self.connect(deadline=1.0)
        finally:
            self.slurm.continue_munge()

    @contextmanager
    def hung(self) -> Iterator[None]:
        self.slurm.pause_controller()
        try:
            yield
        finally:
            self.slurm.continue_controller()
