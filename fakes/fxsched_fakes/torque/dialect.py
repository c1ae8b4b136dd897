"""Torque: its options, numbers, letters and exit statuses."""

from __future__ import annotations

from ..model import Cause, Job, State
from ..pbs_family.dialect import Dialect
from ..pbs_family.states import letter
from .resources import describe

_QSUB = """\
usage: qsub [-a date_time] [-A account_string] [-b secs]
    [-c [ none | { enabled | periodic | shutdown |
    depth=<int> | dir=<path> | interval=<minutes>}... ]
    [-C directive_prefix] [-d path] [-D path]
    [-e path] [-h] [-I] [-j oe|eo|n] [-k {oe}] [-K <kill delay seconds>] 
    [-l resource_list] [-m n|{abe}] [-M user_list] [-N jobname] [-o path] 
    [-p priority] [-P proxy_user [-J <jobid]] [-q queue] [-r y|n] 
    [-S path] [-t number_to_submit] [-T type]  [-u user_list] [-w] path
    [-W additional_attributes] [-v variable_list] [-V ] [-x] [-X] [-z] [script]

"""  # noqa: W291

_QSTAT = """\
usage: 
                          qstat [-f [-1]] [-W site_specific] [-x] [ job_identifier... | destination... ]
                          qstat [-a|-i|-r|-e] [-u user] [-n [-1]] [-s] [-t] [-G|-M] [-R] [job_id... | destination...]
                          qstat -Q [-f [-1]] [-W site_specific] [ destination... ]
                          qstat -q [-G|-M] [ destination... ]
                          qstat -B [-f [-1]] [-W site_specific] [ server_name... ]
                          qstat -t
"""  # noqa: W291


def state(job: Job) -> str:
    return letter(job, "C")


def exit_status(job: Job) -> int | None:
    """None for a job that never ran."""
    if job.state != State.ENDED:
        return None
    if job.cause == Cause.DEPENDENCY:
        return 271
    if not job.on:
        return None
    match job.cause:
        case Cause.CANCELLED | Cause.PREEMPTED:
            return 271
        case Cause.WALLTIME:
            return -11
        case Cause.MEMORY:
            return -10
        case Cause.NODE_FAILURE | Cause.LAUNCH:
            return -1
    return 256 + job.signal if job.signal else job.exit_code


DIALECT = Dialect(
    name="torque",
    letters={
        "qsub": "a:A:b:c:C:d:D:e:hIj:k:K:l:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:xXz",
        "qstat": "fxW:1aire",
        "qdel": "m:pW:t:",
        "qselect": "a:A:c:h:l:N:p:q:r:s:u:",
    },
    usage={
        "qsub": _QSUB,
        "qstat": _QSTAT,
        "qdel": "usage: qdel [{ -a | -p | -t | -W delay | -m message}] [<JOBID>[<JOBID>] | 'all' | 'ALL']...\n",
        "qselect": "usage: qselect\n",
    },
    numbers={
        "unknown job": 15001,
        "permission": 15007,
        "bad value": 15016,
        "bad state": 15018,
        "unknown queue": 15020,
        "unknown resource": 15037,
        "limits": 15038,
        "finished": 15018,
    },
    describe=describe,
    state=state,
    exit_status=exit_status,
)
