"""Every fault of a simulated scheduler that only the configuration describes."""

from __future__ import annotations

from ..contract.faults import FaultContract
from .command_site import DescribedSlurm


class TestDescribedSlurm(FaultContract):
    kind = DescribedSlurm
