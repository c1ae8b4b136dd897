"""A FastX node, the installed launcher and a simulated LSF together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxsched_fakes.fastx import SessionState

from ..contract.launch import QueueLaunchContract
from ..contract.place import open_place
from .lsf_site import FakeLsf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..contract.place import Place


class TestLaunch(QueueLaunchContract):
    @pytest.fixture
    def lsf(self, home: Path) -> FakeLsf:
        return FakeLsf(home)

    @pytest.fixture
    async def place(self, tmp_path: Path, lsf: FakeLsf) -> AsyncIterator[Place]:
        async with open_place(lsf, tmp_path / "fastx", lsf.table()) as place:
            yield place

    async def test_a_submit_that_lsf_did_not_confirm_gives_one_session(self, place: Place, lsf: FakeLsf) -> None:
        with lsf.faults({"command": "bsub", "fault": "accept-then-time-out"}):
            launch = await place.launch()

        await place.node.started(launch.session)
        assert (launch.exit_code, launch.says_started) == (0, True)
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert lsf.submissions() == 1

    async def test_an_lsf_that_is_down_is_one_clear_error_and_no_session(self, place: Place, lsf: FakeLsf) -> None:
        with lsf.down():
            launch = await place.launch()

        assert launch.exit_code == 1
        assert "Connection refused by server" in launch.stdout
        assert launch.session.state is SessionState.REMOVED
        assert (lsf.submissions(), place.tokens()) == (0, [])
