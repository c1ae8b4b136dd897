"""Every fault of the simulated OpenPBS and of the simulated Torque."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract
from .pbs_site import FakePbs, FakeTorque

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestFakePbs(FaultContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakePbs]:
        site = FakePbs(home)
        yield site
        await site.end_jobs()


class TestFakeTorque(FaultContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakeTorque]:
        site = FakeTorque(home)
        yield site
        await site.end_jobs()
