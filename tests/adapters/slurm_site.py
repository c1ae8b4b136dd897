"""A simulated Slurm as a site for the contracts."""

from __future__ import annotations

from fxsched_slurm.adapter import SlurmAdapter

from ..contract.slurm_words import SlurmSite
from .fake_site import FakeSite


class FakeSlurm(FakeSite, SlurmSite):
    """Two nodes in partition "debug", two with GPUs in partition "gpu"."""

    scheduler = "slurm"
    kind = SlurmAdapter
    commands = ("sbatch", "squeue", "scancel", "sacct")
