"""The contracts, held against the simulated OpenPBS and the simulated Torque, from the adapter to a whole launch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxsched_fakes.fastx import SessionState

from ..contract.adapter import QueueContract
from ..contract.launch import QueueLaunchContract
from ..contract.place import open_place
from .pbs_site import FakePbs, FakeTorque

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter

    from ..contract.place import Place
    from .fake_site import FakeSite


@pytest.mark.usefixtures("either_way")
class TestFakePbs(QueueContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakePbs]:
        site = FakePbs(home)
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: FakePbs) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


@pytest.mark.usefixtures("either_way")
class TestFakeTorque(QueueContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakeTorque]:
        site = FakeTorque(home)
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: FakeTorque) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


class PbsLaunch(QueueLaunchContract):
    @pytest.fixture
    def site(self, home: Path) -> FakeSite:
        raise NotImplementedError

    @pytest.fixture
    async def place(self, tmp_path: Path, site: FakeSite) -> AsyncIterator[Place]:
        async with open_place(site, tmp_path / "fastx", site.table()) as place:
            yield place

    async def test_a_submit_that_was_not_confirmed_gives_one_session(self, place: Place, site: FakeSite) -> None:
        with site.faults({"command": "qsub", "fault": "accept-then-time-out"}):
            launch = await place.launch()

        await place.node.started(launch.session)
        assert (launch.exit_code, launch.says_started) == (0, True)
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert site.submissions() == 1

    async def test_a_server_that_is_down_is_one_clear_error_and_no_session(self, place: Place, site: FakeSite) -> None:
        with site.down():
            launch = await place.launch()

        assert launch.exit_code == 1
        assert "cannot connect to server" in launch.stdout
        assert launch.session.state is SessionState.REMOVED
        assert (site.submissions(), place.tokens()) == (0, [])


class TestLaunchOnFakePbs(PbsLaunch):
    @pytest.fixture
    def site(self, home: Path) -> FakePbs:
        return FakePbs(home)


class TestLaunchOnFakeTorque(PbsLaunch):
    @pytest.fixture
    def site(self, home: Path) -> FakeTorque:
        return FakeTorque(home)
