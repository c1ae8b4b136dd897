"""Every fault of the simulated Moab and of what is below it."""

from __future__ import annotations

from ..contract.faults import FaultContract
from .moab_site import MauiOverTorque, MoabOverSlurm, MoabOverTorque


class TestMoabOverSlurm(FaultContract):
    kind = MoabOverSlurm


class TestMoabOverTorque(FaultContract):
    kind = MoabOverTorque


class TestMauiOverTorque(FaultContract):
    kind = MauiOverTorque
