"""Every fault of the simulated Grid Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract
from .sge_site import FakeGridEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestFakeGridEngine(FaultContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[FakeGridEngine]:
        site = FakeGridEngine(home)
        yield site
        await site.end_jobs()
