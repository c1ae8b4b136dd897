"""Every fault of the simulated OpenPBS and of the simulated Torque."""

from __future__ import annotations

import pytest

from ..contract.faults import SILENCE, FaultContract
from .pbs_site import FakePbs, FakeTorque

# Where there is no such job, qselect ends well and prints nothing.
PBS = {("find", "qselect"): {SILENCE: None}}


class TestFakePbs(FaultContract):
    kind = FakePbs
    exceptions = PBS


class TestFakeTorque(FaultContract):
    kind = FakeTorque
    exceptions = PBS


@pytest.mark.thorough
class TestFakePbsInProcesses(TestFakePbs):
    in_processes = True
