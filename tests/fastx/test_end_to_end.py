"""A FastX node, the installed launcher and a scheduler together: this machine, and a simulated Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxsched_fakes.fastx import SessionState

from ..adapters.process_site import ThisMachine
from ..adapters.slurm_site import FakeSlurm
from ..contract.launch import LaunchContract, QueueLaunchContract
from ..contract.place import open_place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..contract.place import Place


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The launcher is a program of its own; what the node runs on makes no difference."""
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


class TestThisMachine(LaunchContract):
    @pytest.fixture
    async def place(self, tmp_path: Path, home: Path) -> AsyncIterator[Place]:
        async with open_place(ThisMachine(home), tmp_path / "fastx", "options.grace = 1") as place:
            yield place


class TestFakeSlurm(QueueLaunchContract):
    @pytest.fixture
    def slurm(self, home: Path) -> FakeSlurm:
        return FakeSlurm(home)

    @pytest.fixture
    async def place(self, tmp_path: Path, slurm: FakeSlurm) -> AsyncIterator[Place]:
        async with open_place(slurm, tmp_path / "fastx", slurm.table()) as place:
            yield place

    async def test_a_submit_that_slurm_did_not_confirm_gives_one_session(self, place: Place, slurm: FakeSlurm) -> None:
        with slurm.faults({"command": "sbatch", "fault": "accept-then-time-out"}):
            launch = await place.launch()

        await place.node.started(launch.session)
        assert (launch.exit_code, launch.says_started) == (0, True)
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert slurm.submissions() == 1

    async def test_a_slurm_that_is_down_is_one_clear_error_and_no_session(self, place: Place, slurm: FakeSlurm) -> None:
        with slurm.down():
            launch = await place.launch()

        assert launch.exit_code == 1
        assert "Unable to contact slurm controller" in launch.stdout
        assert launch.session.state is SessionState.REMOVED
        assert (slurm.submissions(), place.tokens()) == (0, [])
