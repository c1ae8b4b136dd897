"""Every fault of a simulated scheduler that only the configuration describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract
from .command_site import DescribedSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestDescribedSlurm(FaultContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[DescribedSlurm]:
        site = DescribedSlurm(home)
        yield site
        await site.end_jobs()
