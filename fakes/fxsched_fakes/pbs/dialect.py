"""OpenPBS: its options, numbers, letters and exit statuses."""

from __future__ import annotations

from ..model import Cause, Job, State
from ..pbs_family.dialect import Dialect
from ..pbs_family.states import letter
from .resources import describe

_QSUB = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""

_QSTAT = """\
usage: 
qstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format | -w] [-D delim] [ job_identifier... | destination... ]
qstat [-a|-i|-r|-H|-T] [-J] [-t] [-u user] [-n] [-s] [-G|-M] [-1] [-w]
	[ job_identifier... | destination... ]
qstat -Q [-f] [-F format] [-D delim] [ destination... ]
qstat -q [-G|-M] [ destination... ]
qstat -B [-f] [-F format] [-D delim] [ server_name... ]
qstat --version
"""  # noqa: W291

_QDEL = "usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...\n\tqdel --version\n"


def state(job: Job) -> str:
    return letter(job, "F")


def exit_status(job: Job) -> int | None:
    """None for a job that never ran. It shows as soon as the job's processes have ended."""
    if job.state == State.QUEUED and job.attempt:
        return -20  # its node was lost, and it is to run again
    if job.state != State.ENDED or not job.on:
        return None
    match job.cause:
        case Cause.CANCELLED:
            return 265 if job.extra.get("deleted") == "force" else 271
        case Cause.WALLTIME:
            return -29
        case Cause.MEMORY:
            return -27
        case Cause.NODE_FAILURE:
            return -20
        case Cause.LAUNCH:
            return -2
        case Cause.PREEMPTED:
            return 271
    return 128 + job.signal if job.signal else job.exit_code


def substate(job: Job) -> int:
    match state(job):
        case "F":
            if job.cause in (Cause.CANCELLED, Cause.PREEMPTED):
                return 91
            return 93 if exit_status(job) else 92
        case "H":
            return 20 if job.held else 22
        case "W":
            return 30
        case "S":
            return 43
        case "E":
            return 51
        case "R":
            return 42
    return 10


DIALECT = Dialect(
    name="pbs",
    letters={
        "qsub": "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz",
        "qstat": "fF:xtwan1sJpED:",
        "qdel": "W:x",
        "qselect": "a:A:c:h:HJl:N:p:P:q:r:s:t:Tu:x",
    },
    usage={"qsub": _QSUB, "qstat": _QSTAT, "qdel": _QDEL, "qselect": "usage: qselect\n"},
    numbers={
        "unknown job": 15001,
        "permission": 15007,
        "bad value": 15014,
        "bad state": 15016,
        "unknown queue": 15018,
        "unknown resource": 15035,
        "limits": 15036,
        "finished": 15139,
    },
    describe=describe,
    state=state,
    exit_status=exit_status,
)
