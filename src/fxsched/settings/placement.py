"""A profile → what a job needs and where it goes; a cluster's policy → which variables it inherits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fxsched.hosts.base import NOTHING
from fxsched.hosts.local import IDENTITY
from fxsched.jobs import Resources
from fxsched.settings.fields import TYPES, Value, configured
from fxsched.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fxsched.adapter import Adapter
    from fxsched.settings.config import Inherit, ProfileSettings

_RESOURCES: Final = ("nodes", "cores", "memory", "gpus", "walltime")
_FASTX_VARIABLES: Final = ("FX_", "FASTX_", "WEBLINK_", "LC_")
_LOCALE_VARIABLES: Final = ("LANG", "LANGUAGE")


def placement(name: str, profile: ProfileSettings, values: Mapping[str, Value] = NOTHING) -> dict[str, Any]:
    """Return the members of a ``JobSpec`` that say what a job needs and where it goes.

    ``values`` are a request's, and outrank the profile's own.

    Raises:
        ConfigurationError: the profile has a size or a duration that is none.
    """
    needs: dict[str, Any] = {key: values.get(key, getattr(profile, key)) for key in TYPES}
    for key, parse in (("memory", parse_size), ("walltime", parse_duration)):
        if isinstance(needs[key], str):
            needs[key] = configured(parse, needs[key], f"profiles.{name}.{key}")
    resources = Resources(**{key: needs.pop(key) for key in _RESOURCES})
    return needs | {
        "resources": resources,
        "exclusive": profile.exclusive,
        "requeue": profile.requeue,
        "native": tuple(profile.native),
    }


def inherited(policy: Inherit | None, adapter: Adapter, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a job gets of the launcher's ``environment`` under a cluster's policy, or its adapter's habit."""
    here = adapter.host.home is not None
    if policy is None:
        policy = "all" if adapter.inherits_environment and here else "fastx"
    match policy:
        case "all":  # elsewhere, or as somebody else, who and where the user is differs
            return {name: value for name, value in environment.items() if here or name not in IDENTITY}
        case "none":
            return {}
        case "fastx":
            return {n: v for n, v in environment.items() if n.startswith(_FASTX_VARIABLES) or n in _LOCALE_VARIABLES}
        case names:
            return {name: environment[name] for name in names if name in environment}
