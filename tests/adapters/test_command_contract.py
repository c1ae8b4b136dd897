"""The contracts, held against schedulers that only the configuration describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.adapter import AdapterContract, QueueContract
from .command_site import DescribedSlurm, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter


class TestDescribedSlurm(QueueContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[DescribedSlurm]:
        site = DescribedSlurm(home)
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: DescribedSlurm) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down


class TestSpool(AdapterContract):
    @pytest.fixture
    async def site(self, home: Path, anyio_backend: object) -> AsyncIterator[Spool]:
        site = Spool(home)
        yield site
        await site.end_jobs()
