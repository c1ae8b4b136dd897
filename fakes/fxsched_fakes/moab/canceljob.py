"""canceljob and mjobctl: end jobs, hold and release them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Job, State
from .checkjob import xml
from .values import document, found, is_maui, moab_id, remembered

USAGE = "Usage: canceljob <JOB>[<JOB>]...\n          [ -h ]\n"


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    return _cancel_all(cluster, [word for word in arguments if not word.startswith("-")])


def _cancel_all(cluster: Cluster, words: list[str]) -> Reply:
    if not words:
        raise CommandError(USAGE)
    replies = [_cancel(cluster, word) for word in words]
    out, err = ("".join(part) for part in zip(*((reply[0], reply[1]) for reply in replies), strict=True))
    return Reply(out, err, max(reply[2] for reply in replies))


def control(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    words = [word for word in arguments if not word.startswith("-")]
    if arguments[:2] == ["-q", "diag"]:
        with cluster:
            return Reply(document(xml(cluster, job) for job in remembered(cluster) if job.state != State.ENDED))
    if arguments[:1] in (["-c"], ["-F"]):
        return _cancel_all(cluster, words)
    if arguments[:1] in (["-h"], ["-u"]) and words:
        with cluster:
            job = _living(cluster, words[-1])
            if job is None:
                raise CommandError(f"ERROR:  invalid job specified ({words[-1]})\n\n")
            if arguments[0] == "-h":
                cluster.hold(job, by_admin=words[0] == "system")
            else:
                cluster.release(job)
        return Reply(f"\nholds modified for job '{words[-1]}'\n")
    raise CommandError("ERROR:    no command was given\n")


def _living(cluster: Cluster, word: str) -> Job | None:
    job = found(cluster, word)
    return None if job is None or job.state == State.ENDED else job


def _cancel(cluster: Cluster, word: str) -> tuple[str, str, int]:
    with cluster:
        job = _living(cluster, word)
        if job is None and is_maui(cluster.settings):
            return f"\n\nERROR:  cannot locate job '{word}'\n\n", "", 1
        if job is None:
            return "", f"ERROR:  invalid job specified ({word})\n\n", 1
        id = moab_id(job, cluster.settings)
        if job.uid != os.getuid():
            # 3.5 says so on standard output, with exit status 0
            return f"\n\nuser {pwd.getpwuid(os.getuid()).pw_name} is not authorized to cancel job '{id}'\n\n", "", 0
        cluster.cancel(job, os.getuid())
        return f"\n\njob '{id}' cancelled\n\n", "", 0
