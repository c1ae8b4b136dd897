"""A FastX node, the installed launcher and a simulated container engine together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxsched_fakes.fastx import SessionState

from ..contract.launch import LaunchContract
from ..contract.place import open_place
from .docker_site import FakeDocker, FakePodman

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from ..contract.place import Place


class EngineLaunchContract(LaunchContract):
    async def test_a_submit_that_was_not_confirmed_gives_one_session(self, place: Place, site: FakeDocker) -> None:
        with site.faults({"command": site.commands[0], "fault": "accept-then-time-out"}):
            launch = await place.launch()

        await place.node.started(launch.session)
        assert (launch.exit_code, launch.says_started) == (0, True)
        assert [session.state for session in place.node.sessions] == [SessionState.STARTED]
        assert site.submissions() == 1

    async def test_an_engine_that_is_down_is_one_clear_error_and_no_session(
        self, place: Place, site: FakeDocker
    ) -> None:
        with site.down():
            launch = await place.launch()

        assert launch.exit_code == 1
        assert "Cannot connect to" in launch.stdout
        assert launch.session.state is SessionState.REMOVED
        assert (site.submissions(), place.tokens()) == (0, [])


class TestLaunchesInFakeDocker(EngineLaunchContract):
    @pytest.fixture
    def site(self, home: Path) -> Iterator[FakeDocker]:
        site = FakeDocker(home)
        yield site
        site.close()

    @pytest.fixture
    async def place(self, tmp_path: Path, site: FakeDocker) -> AsyncIterator[Place]:
        async with open_place(site, tmp_path / "fastx", site.table()) as place:
            yield place


class TestLaunchesInFakePodman(EngineLaunchContract):
    @pytest.fixture
    def site(self, home: Path) -> Iterator[FakePodman]:
        site = FakePodman(home)
        yield site
        site.close()

    @pytest.fixture
    async def place(self, tmp_path: Path, site: FakePodman) -> AsyncIterator[Place]:
        async with open_place(site, tmp_path / "fastx", site.table()) as place:
            yield place
