"""fxsched starts sessions on any cluster: one request becomes exactly one session, or one clear error.

For programs, this is the whole of the public interface; ``fxsched.errors`` has the exceptions, ``fxsched.hosts`` what
runs commands. A name is loaded when it is first used, so that ``import fxsched`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fxsched.adapter import Adapter
    from fxsched.cluster.cluster import Cancellation, Cluster, Job
    from fxsched.cluster.opening import open_cluster
    from fxsched.cluster.starting import Start
    from fxsched.cluster.timing import Timing
    from fxsched.errors import FxschedError
    from fxsched.hosts.opening import HostSettings
    from fxsched.jobs import (
        EndCause,
        JobId,
        JobSpec,
        JobState,
        JobStatus,
        Resources,
        Secret,
        SessionWait,
        Token,
        new_token,
    )

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "Cancellation",
    "Cluster",
    "EndCause",
    "FxschedError",
    "HostSettings",
    "Job",
    "JobId",
    "JobSpec",
    "JobState",
    "JobStatus",
    "Resources",
    "Secret",
    "SessionWait",
    "Start",
    "Timing",
    "Token",
    "__version__",
    "new_token",
    "open_cluster",
]

_MODULES = {
    "Adapter": "adapter",
    "Cancellation": "cluster.cluster",
    "Cluster": "cluster.cluster",
    "FxschedError": "errors",
    "HostSettings": "hosts.opening",
    "Job": "cluster.cluster",
    "Start": "cluster.starting",
    "Timing": "cluster.timing",
    "open_cluster": "cluster.opening",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'fxsched' has no attribute {name!r}")
    value = getattr(import_module(f"fxsched.{_MODULES.get(name, 'jobs')}"), name)
    globals()[name] = value
    return value
