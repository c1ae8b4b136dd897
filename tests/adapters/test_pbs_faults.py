"""Every fault of the simulated OpenPBS and of the simulated Torque."""

from __future__ import annotations

import pytest

from ..contract.faults import FaultContract
from .pbs_site import FakePbs, FakeTorque


class TestFakePbs(FaultContract):
    kind = FakePbs


class TestFakeTorque(FaultContract):
    kind = FakeTorque


@pytest.mark.thorough
class TestFakePbsInProcesses(TestFakePbs):
    in_processes = True
