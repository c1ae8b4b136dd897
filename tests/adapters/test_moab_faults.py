"""Every fault of the simulated Moab and of what is below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract
from .moab_site import FakeMoab, MauiOverTorque, MoabOverSlurm, MoabOverTorque

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class OnASite:
    """A site of the class ``kind``."""

    kind: type[FakeMoab]

    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakeMoab]:
        site = self.kind(home)
        yield site
        await site.end_jobs()


class TestMoabOverSlurm(OnASite, FaultContract):
    kind = MoabOverSlurm


class TestMoabOverTorque(OnASite, FaultContract):
    kind = MoabOverTorque


class TestMauiOverTorque(OnASite, FaultContract):
    kind = MauiOverTorque
