"""A FastX node, the installed launcher and a real Slurm together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched_fakes.fastx import SessionState

from ..contract.launch import QueueLaunchContract
from ..contract.place import open_place
from .site import RealSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..contract.place import Place
    from .slurm_cluster import SlurmCluster


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class TestRealSlurm(QueueLaunchContract):
    @pytest.fixture
    async def place(self, slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
        home = tmp_path / "home"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        site = RealSlurm(home, slurm)
        await site.clear()
        async with open_place(site, tmp_path / "fastx", 'adapter = "slurm"', SLURM_CONF=str(slurm.conf)) as place:
            yield place

    async def test_a_controller_that_hangs_during_the_submit_gives_one_session(
        self, place: Place, slurm: SlurmCluster
    ) -> None:
        slurm.pause_controller()
        async with anyio.create_task_group() as tasks:

            async def go_on() -> None:
                await anyio.sleep(10.5)  # sbatch gives up after ten
                slurm.continue_controller()

            tasks.start_soon(go_on)
            launch = await place.launch()

        await place.node.started(launch.session)
        assert launch.exit_code == 0
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert len(place.jobs()) == 1
        names = slurm.run("squeue", "-h", "-t", "all", "-o", "%j").stdout.split()
        assert [name.endswith(place.tokens()[0]) for name in names].count(True) == 1
