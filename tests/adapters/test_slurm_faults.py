"""Every fault of the simulated Slurm."""

from __future__ import annotations

import pytest

from ..contract.faults import FaultContract
from .slurm_site import FakeSlurm


class TestFakeSlurm(FaultContract):
    kind = FakeSlurm


@pytest.mark.thorough
class TestFakeSlurmInProcesses(TestFakeSlurm):
    in_processes = True
