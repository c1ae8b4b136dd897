"""badmin showconf mbd: what mbatchd read in lsf.conf. volclava's badmin has no such command."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from .values import modern


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    with cluster:
        settings = cluster.settings
    if not modern(settings) or arguments != ["showconf", "mbd"]:
        raise CommandError(f"Invalid command <{' '.join(arguments[:1])}>. Try help\n", 255)
    unit = settings.extra.get("LSF_UNIT_FOR_LIMITS")
    return Reply(
        "MBD configuration at Sun Nov 22 14:47:13 2026\n        LSB_SHAREDIR=/lsf/work\n        LSF_CONFDIR=/lsf/conf\n"
        + (f"        LSF_UNIT_FOR_LIMITS={unit}\n" if unit else "")
    )
