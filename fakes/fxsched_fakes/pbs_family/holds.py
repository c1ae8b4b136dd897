"""qhold and qrls: keep a job from running, and let it go."""

from __future__ import annotations

from collections.abc import Mapping

from ..engine import Cluster
from ..frame import Reply
from ..model import State
from .dialect import Dialect
from .getopt import BadOptionError, parse
from .values import look_up, shown_id


def qhold(cluster: Cluster, arguments: list[str], _: Mapping[str, str], dialect: Dialect) -> Reply:
    return _each("qhold", cluster, arguments, dialect)


def qrls(cluster: Cluster, arguments: list[str], _: Mapping[str, str], dialect: Dialect) -> Reply:
    return _each("qrls", cluster, arguments, dialect)


def _each(command: str, cluster: Cluster, arguments: list[str], dialect: Dialect) -> Reply:
    try:
        given, words = parse("h:", arguments)
    except BadOptionError as error:
        raise dialect.misuse("qdel", f"{command}: {error}") from None
    errors, rc = "", 0
    with cluster:
        for word in words:
            try:
                job = look_up(cluster, word)
            except ValueError:
                job = None
            id = shown_id(word, cluster.settings)
            if job is None:
                word = "Unknown Job Id Error" if dialect.torque else "Unknown Job Id"
                errors, rc = f"{errors}{command}: {word} {id}\n", dialect.numbers["unknown job"] % 256
            elif job.state == State.ENDED:
                kind = "bad state" if dialect.torque else "finished"
                text = "Request invalid for state of job MSG=invalid state for job - COMPLETE " + id
                errors += f"{command}: {text if dialect.torque else 'Job has finished'}\n"
                rc = dialect.numbers[kind] % 256
            elif command == "qhold":
                cluster.hold(job, by_admin=dict(given).get("h", "u") != "u")
            else:
                cluster.release(job)
    return Reply(err=errors, rc=rc)
