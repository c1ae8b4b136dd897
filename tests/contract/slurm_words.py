"""What the contracts must say to Slurm, real or simulated."""

from __future__ import annotations

from typing import Any, ClassVar

from .site import Site


class SlurmSite(Site):
    """Slurm with two nodes in its default partition, "debug"."""

    refusal = ({"queue": "nosuch"}, "invalid partition specified: nosuch")
    held: ClassVar[dict[str, Any]] = {"native": ("--hold",)}
    everything: ClassVar[dict[str, Any]] = {"exclusive": True, "native": ("--nodes=2",)}
    caller: ClassVar[dict[str, str]] = {
        "SQUEUE_FORMAT": "%j",
        "SQUEUE_PARTITION": "nosuch",
        "SQUEUE_USERS": "nobody",
        "SQUEUE_STATES": "completed",
        "SQUEUE_NAMES": "nosuch",
        "SLURM_TIME_FORMAT": "relative",
        "SLURM_CLUSTERS": "nosuch",
        "SBATCH_PARTITION": "nosuch",
        "SCANCEL_STATE": "SUSPENDED",
    }
