"""A simulated Slurm as a site for the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fxsched_slurm.adapter import SlurmAdapter

from ..contract.slurm_words import SlurmSite
from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeSlurm(FakeSite, SlurmSite):
    """Two nodes in partition "debug", two with GPUs in partition "gpu"."""

    scheduler = "slurm"
    kind = SlurmAdapter
    commands = ("sbatch", "squeue", "scancel", "sacct")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("sbatch",),
        "find": ("squeue",),
        "status": ("squeue",),
        "cancel": ("scancel",),
    }
