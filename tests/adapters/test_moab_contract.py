"""The contracts, held against Moab and Maui, simulated over a simulated resource manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.adapter import QueueContract
from ..contract.launch import QueueLaunchContract
from ..contract.place import open_place
from .moab_site import (
    FakeMoab,
    MauiOverSlurm,
    MauiOverTorque,
    MoabOverSlurm,
    MoabOverTorque,
    MoabOverTorqueWithItsOwnIds,
    MoabWithItsOwnIds,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter

    from ..contract.place import Place


class OnASite:
    """A site of the class ``kind``."""

    kind: type[FakeMoab]

    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakeMoab]:
        site = self.kind(home)
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: FakeMoab) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


@pytest.mark.usefixtures("either_way")
class TestMoabOverSlurm(OnASite, QueueContract):
    kind = MoabOverSlurm


@pytest.mark.thorough
class TestMoabWithItsOwnIds(OnASite, QueueContract):
    kind = MoabWithItsOwnIds


@pytest.mark.thorough
class TestMauiOverSlurm(OnASite, QueueContract):
    kind = MauiOverSlurm


@pytest.mark.thorough
class TestMoabOverTorque(OnASite, QueueContract):
    kind = MoabOverTorque


@pytest.mark.thorough
class TestMoabOverTorqueWithItsOwnIds(OnASite, QueueContract):
    kind = MoabOverTorqueWithItsOwnIds


@pytest.mark.thorough
class TestMauiOverTorque(OnASite, QueueContract):
    kind = MauiOverTorque


class InAPlace:
    """A FastX node in front of a site of the class ``kind``."""

    kind: type[FakeMoab]

    @pytest.fixture
    async def place(self, tmp_path: Path, home: Path) -> AsyncIterator[Place]:
        site = self.kind(home)
        async with open_place(site, tmp_path / "fastx", site.table()) as place:
            yield place


@pytest.mark.thorough
class TestLaunchingThroughMoabOverSlurm(InAPlace, QueueLaunchContract):
    kind = MoabOverSlurm


class TestLaunchingThroughMoabOverTorque(InAPlace, QueueLaunchContract):
    kind = MoabOverTorqueWithItsOwnIds


@pytest.mark.thorough
class TestLaunchingUnderMaui(InAPlace, QueueLaunchContract):
    kind = MauiOverTorque
