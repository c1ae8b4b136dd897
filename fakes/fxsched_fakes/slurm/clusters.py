"""-M, --clusters and SLURM_CLUSTERS: a fake knows one cluster, its own."""

from __future__ import annotations

from ..frame import CommandError
from ..model import Settings


def check_cluster(settings: Settings, command: str, name: str | None) -> None:
    if name and name not in (settings.name, "all"):
        cause = f"No cluster '{name}' known by database." if settings.accounting else "Problem talking to database"
        raise CommandError(
            f"{command}: error: {cause}\n{command}: error: '{name}' can't be reached now, or it is an invalid entry for"
            " --cluster.  Use 'sacctmgr list clusters' to see available clusters.\n"
        )
