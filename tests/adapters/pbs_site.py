"""Simulated OpenPBS and Torque as sites for the contracts."""

from __future__ import annotations

from fxsched_pbs.pbs import PbsAdapter
from fxsched_pbs.torque import TorqueAdapter

from ..contract.pbs_words import PbsSite, TorqueSite
from .fake_site import FakeSite

COMMANDS = ("qsub", "qstat", "qdel", "qselect")


class FakePbs(PbsSite, FakeSite):
    """Two nodes in queue "debug", two with GPUs in queue "gpu"."""

    scheduler = "pbs"
    server = "test"
    kind = PbsAdapter
    commands = COMMANDS


class FakeTorque(TorqueSite, FakeSite):
    """Two nodes in queue "debug", two with GPUs in queue "gpu"."""

    scheduler = "torque"
    server = "test"
    kind = TorqueAdapter
    commands = COMMANDS
