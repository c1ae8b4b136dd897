"""Adapter name → adapter class.

Adapters are entry points in the group ``fxsched.adapters``, of any installed package. Reading those takes longer than a
whole launch should, so the built-in ones stand in a table as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from fxsched.adapter import Adapter
from fxsched.errors import ConfigurationError, nearest

GROUP: Final = "fxsched.adapters"

BUILT_IN: Final = {
    "command": "fxsched_command.adapter:CommandAdapter",
    "docker": "fxsched_docker.adapter:DockerAdapter",
    "local": "fxsched_process.adapter:ProcessAdapter",
    "lsf": "fxsched_lsf.adapter:LsfAdapter",
    "moab": "fxsched_moab.adapter:MoabAdapter",
    "pbs": "fxsched_pbs.pbs:PbsAdapter",
    "podman": "fxsched_docker.adapter:PodmanAdapter",
    "sge": "fxsched_sge.adapter:GridEngineAdapter",
    "slurm": "fxsched_slurm.adapter:SlurmAdapter",
    "ssh": "fxsched_process.pool:PoolAdapter",
    "torque": "fxsched_pbs.torque:TorqueAdapter",
}


def load_adapter(name: str) -> type[Adapter]:
    """Return the adapter class of that name.

    Raises:
        ConfigurationError: no installed package has such an adapter, or it is not one.
    """
    target = BUILT_IN.get(name) or _entry_point(name)
    module, _, attribute = target.partition(":")
    try:
        adapter = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"adapter {name!r} cannot be loaded from {target}: {error}") from error
    if not (isinstance(adapter, type) and issubclass(adapter, Adapter)):
        raise ConfigurationError(f"adapter {name!r}: {target} is not a subclass of fxsched.Adapter")
    return adapter


def adapter_names() -> list[str]:
    """Return the names of all installed adapters."""
    from importlib.metadata import entry_points

    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def _entry_point(name: str) -> str:
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        return point.value
    raise ConfigurationError(f"there is no adapter {name!r}{nearest(name, adapter_names())}")
