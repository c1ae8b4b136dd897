"""Slurm's words on top of the engine, as spoken by 22.05.8: one module per command or a few."""

COMMANDS = {
    "sbatch": "sbatch:run",
    "squeue": "squeue:run",
    "scancel": "scancel:run",
    "sacct": "sacct:run",
    "scontrol": "scontrol:run",
    "sinfo": "sinfo:run",
}
