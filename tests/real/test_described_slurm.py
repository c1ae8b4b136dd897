"""The contract, held against a real Slurm that fxsched knows from the manual's description only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fxsched.hosts import LocalHost
from fxsched_command.adapter import CommandAdapter

from ..adapters.command_site import as_options, described
from ..contract.adapter import QueueContract
from .site import RealSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter

    from .slurm_cluster import SlurmCluster


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class DescribedRealSlurm(RealSlurm):
    def connect(self, **options: Any) -> Any:
        surroundings = {"environment": {"SLURM_CONF": str(self.slurm.conf)}}
        return CommandAdapter(LocalHost(), as_options(described("hpc") | surroundings | options))


class TestDescribedRealSlurm(QueueContract):
    @pytest.fixture
    async def site(
        self, slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[DescribedRealSlurm]:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        site = DescribedRealSlurm(tmp_path, slurm)
        await site.clear()
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: DescribedRealSlurm) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down
