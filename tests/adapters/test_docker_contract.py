"""The contract, held against simulated container engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import JobState, new_token

from ..contract.adapter import AdapterContract
from .docker_site import FakeDocker, FakePodman

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def docker(home: Path) -> Iterator[FakeDocker]:
    site = FakeDocker(home)
    yield site
    site.close()


@pytest.fixture
def podman(home: Path) -> Iterator[FakePodman]:
    site = FakePodman(home)
    yield site
    site.close()


class EngineContract(AdapterContract):
    """What an engine must do besides. It has no queue: nothing is held, and nothing waits for room."""

    async def test_an_engine_that_is_down_is_no_answer(self, site: FakeDocker) -> None:
        id = await site.submit()

        with site.down() as adapter:
            with pytest.raises(SchedulerUnavailable, match="onnect"):
                await adapter.status(frozenset([id]))
            with pytest.raises(SchedulerUnavailable, match="onnect"):
                await adapter.find(new_token())
            with pytest.raises(SchedulerUnavailable, match="onnect"):
                await adapter.submissions()
            with pytest.raises(SchedulerUnavailable, match="onnect"):
                await adapter.submit(site.spec())
            with pytest.raises(SchedulerUnavailable, match="onnect"):
                await adapter.cancel(id)

        assert (await site.status(id)).state is JobState.RUNNING


@pytest.mark.usefixtures("either_way")
class TestFakeDocker(EngineContract):
    @pytest.fixture
    def site(self, docker: FakeDocker) -> FakeDocker:
        return docker


class TestFakePodman(EngineContract):
    @pytest.fixture
    def site(self, podman: FakePodman) -> FakePodman:
        return podman
