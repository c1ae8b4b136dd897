"""qdel: ends jobs. Its complaints go to standard output."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, State
from .options import Table
from .values import look, over, parked

TABLE = Table("qdel", "f help t= u=")


def run(cluster: Cluster, arguments: list[str], _: Mapping[str, str]) -> Reply:
    words = TABLE.parse(arguments)[1]
    if not words:
        raise CommandError("qdel: ERROR! no option argument provided\n", 1)
    me = pwd.getpwuid(os.getuid()).pw_name
    answer, rc = "", 0
    with cluster:
        look(cluster)
        for word in (word for arguments in words for word in arguments.split(",")):
            job = cluster.jobs.get(int(word)) if word.isdigit() else None
            if not word.isdigit():
                answer += f"The job {word} of user(s) {me} does not exist\n"
                rc = 1
            elif job is None or over(job):
                answer += f'denied: job "{word}" does not exist\n'
                rc = 1
            elif job.uid != os.getuid():
                answer += f'{me} - you do not have the necessary privileges to delete the job "{word}"\n'
                rc = 1
            elif parked(job):
                job.extra["deleted"] = "yes"
                answer += f"{me} has deleted job {word}\n"
            elif job.state == State.QUEUED:
                cluster.cancel(job, os.getuid())
                answer += f"{me} has deleted job {word}\n"
            else:
                cluster.end(job, Cause.CANCELLED)  # with KILL, and at once
                answer += f"{me} has registered the job {word} for deletion\n"
    return Reply(answer, rc=rc)
