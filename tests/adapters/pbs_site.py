"""Simulated OpenPBS and Torque as sites for the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fxsched_pbs.pbs import PbsAdapter
from fxsched_pbs.torque import TorqueAdapter

from ..contract.pbs_words import PbsSite, TorqueSite
from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS = ("qsub", "qstat", "qdel", "qselect")
VERBS = {"submit": ("qsub",), "find": ("qselect",), "status": ("qstat",), "cancel": ("qdel",)}


class FakePbs(PbsSite, FakeSite):
    """Two nodes in queue "debug", two with GPUs in queue "gpu"."""

    scheduler = "pbs"
    server = "test"
    kind = PbsAdapter
    commands = COMMANDS
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = VERBS


class FakeTorque(TorqueSite, FakeSite):
    """Two nodes in queue "debug", two with GPUs in queue "gpu"."""

    scheduler = "torque"
    server = "test"
    kind = TorqueAdapter
    commands = COMMANDS
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = VERBS
