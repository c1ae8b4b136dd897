"""The contract, held against the simulated LSF in its two dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.adapter import QueueContract
from .lsf_site import FakeLsf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fxsched.adapter import Adapter


@pytest.mark.usefixtures("either_way")
class TestFakeLsf(QueueContract):
    @pytest.fixture(params=["volclava", "modern"])
    async def site(self, home: Path, request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[FakeLsf]:
        site = FakeLsf(home, dialect=request.param)
        yield site
        await site.end_jobs()

    @pytest.fixture
    def down(self, site: FakeLsf) -> Callable[[], AbstractContextManager[Adapter]]:
        return site.down
