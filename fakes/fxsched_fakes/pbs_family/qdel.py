"""qdel: ends jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import Cause, Job, State
from .dialect import Dialect
from .getopt import BadOptionError, parse
from .values import look_up, shown_id


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str], dialect: Dialect) -> Reply:
    try:
        given, words = parse(dialect.letters["qdel"], arguments)
    except BadOptionError as error:
        raise dialect.misuse("qdel", f"qdel: {error}") from None
    if not words:
        raise dialect.misuse("qdel")
    options = dict(given)
    errors, rc = "", 0
    with cluster:
        for word in words:
            complaint, number = _delete(cluster, word, options, dialect)
            errors += complaint
            rc = number % 256 or rc
    return Reply(err=errors, rc=rc)


def _delete(cluster: Cluster, word: str, options: dict[str, str], dialect: Dialect) -> tuple[str, int]:
    """What is said about one id, and the number of the error."""
    try:
        job = look_up(cluster, word)
    except ValueError:
        return f"qdel: illegally formed job identifier: {word}\n", 1
    id = shown_id(word, cluster.settings)
    numbers = dialect.numbers
    if job is None or (job.state == State.ENDED and not _remembered(cluster, dialect)):
        if dialect.torque:
            return f"qdel: nonexistent job id: {word}\n", numbers["unknown job"]
        return f"qdel: Unknown Job Id {id}\n", numbers["unknown job"]
    if job.uid != os.getuid():
        text = "Unauthorized Request  MSG=operation not permitted" if dialect.torque else "Unauthorized Request "
        return f"qdel: {text} {id}\n", numbers["permission"]
    if dialect.torque and ("p" in options or "m" in options):
        return f"qdel: Unauthorized Request  {id}\n", numbers["permission"]
    if job.state == State.ENDED and "x" in options:
        cluster.forget(job)
        return "", 0
    if job.state == State.ENDED:
        if dialect.torque:
            why = f"Request invalid for state of job MSG=invalid state for job - COMPLETE {id}"
            return f"qdel: {why}\n", numbers["bad state"]
        return f"qdel: Job has finished {id}\n", numbers["finished"]
    _end(cluster, job, force=options.get("W") == "force")
    return "", 0


def _end(cluster: Cluster, job: Job, *, force: bool) -> None:
    job.extra = {**job.extra, "deleted": "force" if force else "yes"}
    if force and job.live:
        job.ended_by = os.getuid()
        cluster.end(job, Cause.CANCELLED)
    else:
        cluster.cancel(job, os.getuid())


def _remembered(cluster: Cluster, dialect: Dialect) -> bool:
    return dialect.torque or cluster.settings.forget_after > 0
