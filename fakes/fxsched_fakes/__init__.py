"""Simulated clusters with real command lines, for tests without a cluster.

    from fxsched_fakes import faults, install

    cluster = install(bin_directory, "slurm", nodes=4)          # sbatch, squeue, scancel, …: jobs really run
    faults.plan(cluster.directory, [{"command": "sbatch", "calls": [1], "fault": "down"}])
    with cluster:                                               # one transaction
        cluster.end(cluster.jobs[1], Cause.NODE_FAILURE)

Nothing of fxsched, and, but for the FastX node, only the standard library: these stand in for other people's programs.
The package is imported by every fake command, so nothing is loaded before it is used.
"""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import faults
    from .engine import Cluster
    from .installation import install
    from .model import Cause, Job, Settings, State
    from .server import CommandServer

_HOMES = {
    "Cause": "model",
    "Cluster": "engine",
    "CommandServer": "server",
    "Job": "model",
    "Settings": "model",
    "State": "model",
    "install": "installation",
}

__all__ = ["Cause", "Cluster", "CommandServer", "Job", "Settings", "State", "faults", "install"]


def __getattr__(name: str) -> object:
    if name == "faults":
        return import_module(".faults", __name__)
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
