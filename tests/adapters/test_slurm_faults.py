"""Every fault of the simulated Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.faults import FaultContract

if TYPE_CHECKING:
    from .slurm_site import FakeSlurm


class TestFakeSlurm(FaultContract):
    @pytest.fixture
    def site(self, slurm: FakeSlurm) -> FakeSlurm:
        return slurm
