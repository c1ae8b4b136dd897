"""qselect: the ids of the jobs with a name, an owner, a queue, in some states."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import State
from .dialect import Dialect
from .getopt import BadOptionError, parse
from .values import full_id

NO_HISTORY = "PBS is not configured to maintain job history"


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str], dialect: Dialect) -> Reply:
    try:
        given, words = parse(dialect.letters["qselect"], arguments)
    except BadOptionError as error:
        raise dialect.misuse("qselect", f"qselect: {error}") from None
    if words:
        raise dialect.misuse("qselect")
    options = dict(given)
    with cluster:
        if "x" in options and not cluster.settings.forget_after:
            return Reply(err=f"qselect: {NO_HISTORY}\n")
        ids = [
            full_id(job, cluster.settings)
            for job in cluster.jobs.values()
            if (dialect.torque or "x" in options or job.state != State.ENDED)
            and job.name == options.get("N", job.name)
            and job.user in _users(options.get("u", job.user))
            and job.queue == options.get("q", job.queue)
            and dialect.state(job) in options.get("s", dialect.state(job))
        ]
    return Reply("".join(f"{id}\n" for id in ids))


def _users(text: str) -> list[str]:
    """The names in `ada,bob@login1`; every host will do here."""
    return [name.partition("@")[0] for name in text.split(",")]
