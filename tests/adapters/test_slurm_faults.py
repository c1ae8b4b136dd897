"""Every fault of the simulated Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract

if TYPE_CHECKING:
    from .slurm_site import FakeSlurm


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The core is tested on both; here it is the adapter that counts."""
    return "asyncio"


class TestFakeSlurm(FaultContract):
    @pytest.fixture
    def site(self, slurm: FakeSlurm) -> FakeSlurm:
        return slurm
