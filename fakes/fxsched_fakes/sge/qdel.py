"""qdel: ends jobs. Its complaints go to standard output."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from ..engine import Cluster
from ..frame import CommandError, Reply
from ..model import Cause, Job, State
from .options import Table
from .values import look, number, over, parked, task

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
            named = [job for job in cluster.jobs.values() if str(number(job)) == word]
            jobs = [job for job in named if not over(job)]
            if not word.isdigit():
                answer += f"The job {word} of user(s) {me} does not exist\n"
                rc = 1
            elif not jobs:
                answer += f'denied: job "{word}" does not exist\n'
                rc = 1
            elif jobs[0].uid != os.getuid():
                answer += f'{me} - you do not have the necessary privileges to delete the job "{word}"\n'
                rc = 1
            else:
                waits = all(job.state == State.QUEUED for job in jobs)
                answer += "".join(dict.fromkeys(_delete(cluster, job, me, whole=waits) for job in jobs))
    return Reply(answer, rc=rc)


def _delete(cluster: Cluster, job: Job, me: str, *, whole: bool) -> str:
    """An array of which nothing has started is deleted as one job."""
    one = task(job) and not whole
    kind, id = ("job-array task", f"{number(job)}.{task(job)}") if one else ("job", str(number(job)))
    if parked(job):
        job.extra["deleted"] = "yes"
    elif job.state == State.QUEUED:
        cluster.cancel(job, os.getuid())
    else:
        cluster.end(job, Cause.CANCELLED)  # with KILL, and at once
        return f"{me} has registered the {kind} {id} for deletion\n"
    return f"{me} has deleted {kind} {id}\n"
