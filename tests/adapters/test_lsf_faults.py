"""Every fault of the simulated LSF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract
from .lsf_site import FakeLsf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestFakeLsf(FaultContract):
    @pytest.fixture(params=["volclava", "modern"])
    async def site(self, home: Path, request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[FakeLsf]:
        site = FakeLsf(home, dialect=request.param)
        yield site
        await site.end_jobs()
