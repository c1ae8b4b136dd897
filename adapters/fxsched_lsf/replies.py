"""What bsub, bjobs, bkill and bhist answer → ids, errors, and whether it is an answer at all. Pure.

Sources: the commands' man pages, and what volclava 2.2 was seen to print. What an answer says of jobs is read in
``statuses``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import CancelRefused, CommandNotFound, SchedulerUnavailable
from fxsched.jobs import JobId, JobStatus
from fxsched.kit import by_token, not_cancelled, submitted
from fxsched_lsf.statuses import PARAGRAPH, ROW_ID, WHEN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from fxsched.hosts import CommandResult
    from fxsched.jobs import Token

NAMES: Final = "jobid job_name delimiter='^'"

_SUBMITTED: Final = re.compile(r"^Job <(\d+)> is submitted to .*\.\s*$", re.ASCII | re.MULTILINE)
_NOT_FOUND: Final = re.compile(r"^Job <(\d+)> is not found", re.ASCII | re.MULTILINE)
_NO_JOBS: Final = re.compile(r"^No (?:unfinished |matching )?job found", re.MULTILINE)
_NAMES_HEADER: Final = re.compile(
    r"^JOBID(?:\^JOB_NAME| +USER +STAT +QUEUE +FROM_HOST +EXEC_HOST +JOB_NAME +SUBMIT_TIME) *$", re.MULTILINE
)
_HISTORY_HEADER: Final = re.compile(r"^JOBID +USER +JOB_NAME +PEND +PSUSP ", re.MULTILINE)
_WIDE_ROW: Final = re.compile(rf"^(\d+) .* (\S+) +{WHEN}\s*$", re.ASCII)
_HISTORY_ROW: Final = re.compile(r"^(\d+)(?:\[\d+\])? +\S+ +(\S+)(?: +\d+){7}\s*$", re.ASCII)
_ODD_ROW: Final = re.compile(r"^(\d+)\b.*?(\S*\.[a-z2-7]{20})(?:\[\d+\])?(?= |$)", re.ASCII)
_CUT: Final = re.compile(r"^\d[^\n]*\Z", re.MULTILINE)
_SIZE: Final = re.compile(r"\d{1,15}(\.\d+)?[KMGT]", re.ASCII)
_INDEX: Final = re.compile(r"\[[^\[\]]*\]$")

# These come before anything is sent.
_NOT_TAKEN: Final = (
    "Connection refused by server",
    "LIM is down",
    "Cannot locate master LIM",
    "Unable to open file lsf.conf",
    "Bad configuration environment",
    "Bad syntax in lsf.conf",
    "External authentication failed",
    "Unable to access esub/eexec file",
    "not a registered service",
    "Batch service not registered",
    "Fail to bind",
    "lsb_init:",
    "LSB_SHAREDIR not defined",
    "Request from non-LSF host rejected",
    "No job Id can be used now",
    "error while loading shared libraries",
    "cannot open shared object file",
)
# A command that says one of these may have worked: the request had been sent. volclava 2.2 says the first while its
# server hangs, and runs the job when it goes on. "Still trying" comes from one that ignores LSB_NTRIES.
_MAYBE_TAKEN: Final = (
    "Communication time",
    "Timeout on connect",
    "still trying",
    "Failed in an LSF library call",
    "System call failed",
    "Connection reset",
    "Broken pipe",
    "protocol error",
    "XDR",
    "daemon internal error",
    "library internal error",
)
# These judge the request, whatever stands around them. Source: lsb.err.c and cmd.sub.c of volclava 2.2, which LSF's own
# sentences agree with as far as they are published. ("Job not submitted." stands behind every failure.)
_REFUSED: Final = (
    "No such queue",
    "Queue has been closed",
    "User cannot use the queue",
    "Queue does not accept",
    "Queue only accepts",
    "Queue name must be specified",
    "Queue does not have enough",
    "queue has reached its job limit",
    "Cannot exceed queue's",
    "Host or host group is not used by the queue",
    "User permission denied",
    "Unknown user",
    "No user is defined",
    "Root job submission is disabled",
    "does not have enough job slots",
    "Bad host",
    "Bad user",
    "Bad argument",
    "Bad job name",
    "Bad or invalid",
    "Bad/empty job group name",
    "Bad resource",
    "Bad rlimit",
    "Bad time",
    " specification. Job not submitted",
    "No such user/host group",
    "group defined in the system",
    "No resource defined",
    "Not enough host(s) currently eligible",
    "Too many processors requested",
    "Too few processors requested",
    "first execution host",
    "Start time is later than termination time",
    "Dependency condition syntax error",
    "Dependent arrays",
    "Job array",
    "Job group does not exist",
    "No matching job found",
    "User not in the specified user group",
    "Invoker is not in specified project group",
    "Request aborted by esub",
    "Interactive job cannot be rerunnable",
    "Job priority control undefined",
    "job threshold reached",
    "job slots threshold reached",
    "No command is specified",
    "Empty job",
    "Syntax error",
    "illegal option",
    "invalid option",
    "Invalid option",
    "option requires an argument",
    "is not supported",
    "Usage: ",
)
_MAY_NOT_CANCEL: Final = re.compile(r"permission|denied|not permitted|Illegal|Usage: |illegal option", re.IGNORECASE)
_NO_HISTORY: Final = re.compile(r"Cannot open|No such file|[Pp]ermission denied|invalid option|illegal option|Usage: ")
_NOTHING_TO_KILL: Final = ("already finished", "No matching job found", "is not found")
_COLUMNLESS: Final = re.compile(
    r"not a valid field name|illegal option|invalid option|unknown option|^Usage:", re.MULTILINE
)


def parse_submit(result: CommandResult) -> JobId:
    """Return the id in ``Job <4217> is submitted to queue <q>.``, a line of its own among whatever a site prints.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    found = _SUBMITTED.findall(result.text.rpartition("\n")[0])  # half a line is half an answer
    words = _words(result)
    taken = re.search(r"Job <\d+>|is submitted", f"{result.text} {words}")
    unreached = not taken and any(sign in words for sign in _NOT_TAKEN)
    refused = not any(sign in words for sign in _MAYBE_TAKEN) and any(sign in words for sign in _REFUSED)
    return submitted(
        JobId(found[-1]) if found else None,
        result,
        who="LSF",
        command="bsub",
        words=words,
        unreached=unreached,
        doubtful=bool(taken) or (not unreached and not refused),
    )


def lacks_columns(result: CommandResult) -> bool:
    """Whether this is a bjobs that cannot print the columns that it was asked for."""
    return result.exit_code != 0 and bool(_COLUMNLESS.search(result.complaint))


def answered(ids: Collection[JobId], result: CommandResult, found: dict[JobId, JobStatus]) -> dict[JobId, JobStatus]:
    """Return what bjobs said of these ids; it leaves out what it does not know, but only if it said so of each.

    Of several ids, bjobs prints those that it knows and ends with 255 because of the others, which it names on standard
    error. An id that is in neither place has got no answer.

    Args:
        ids: what was asked for.
        result: the answer.
        found: what was read in it.

    Raises:
        SchedulerUnavailable: an id got no answer, or the list is not whole.
    """
    unknown = set(_NOT_FOUND.findall(result.stderr.decode("utf-8", "replace")))
    if (result.stdout and not result.text.endswith("\n")) or not set(ids) <= found.keys() | unknown:
        raise SchedulerUnavailable(f"LSF could not be asked: {_said(result)}")
    return {id: found[id] for id in ids if id in found}


def parse_names(result: CommandResult) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids in ``bjobs -o NAMES`` or ``bjobs -w`` whose name ends in a token, by that token, the lowest first.

    Raises:
        SchedulerUnavailable: that is no whole list. It would say that a job is not there.
    """
    if result.exit_code and not result.stdout and _NO_JOBS.search(result.complaint):
        return {}
    header = _NAMES_HEADER.search(result.text)
    if result.exit_code or not header or not result.text[header.end() :] or _CUT.search(result.text):
        raise SchedulerUnavailable(f"LSF could not be asked: {_said(result)}")
    lines = result.text[header.end() :].splitlines()
    if "^" in header[0]:
        pairs = (line.partition("^")[::2] for line in lines)
        return _by_token((row[1], name) for id, name in pairs if (row := ROW_ID.fullmatch(id)))
    rows = (_WIDE_ROW.match(line) or _ODD_ROW.match(line) for line in lines)
    return _by_token((row[1], row[2]) for row in rows if row)


def _by_token(rows: Iterable[tuple[str, str]]) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids by token; all elements of an array are one job, whose name stands before their index."""
    return by_token(dict.fromkeys((id, _INDEX.sub("", name.strip())) for id, name in rows))


def parse_history_names(result: CommandResult) -> dict[Token, tuple[JobId, ...]]:
    """Return the same of what ``bhist -w`` lists."""
    rows = (_HISTORY_ROW.match(line) or _ODD_ROW.match(line) for line in result.text.splitlines())
    return _by_token((row[1], row[2]) for row in rows if row)


def check_history(result: CommandResult) -> None:
    """Raise unless bhist answered, be it that it knows nothing, which it says on standard output.

    Raises:
        SchedulerUnavailable: it did not, or its answer is cut short.
    """
    if _NO_JOBS.search(result.text) or _NO_JOBS.search(result.complaint):
        return
    whole = _HISTORY_HEADER.search(result.text) or PARAGRAPH.search(result.text)
    if result.exit_code or not whole or not result.text.endswith("\n"):
        raise SchedulerUnavailable(f"LSF could not be asked: {_said(result)}")


def has_no_history(error: SchedulerUnavailable) -> bool:
    """Whether bhist cannot answer here at all: there is none, or it may not read its log; not that it did not now."""
    if error.__cause__ is None:
        return bool(_NO_HISTORY.search(str(error)))
    return isinstance(error.__cause__, CommandNotFound)


def most_memory(result: CommandResult) -> str:
    """Return the size of the largest memory in ``lshosts -w``, as it is written there; nothing if none is told."""
    words = result.text.split("\n", 1)[0].split()
    if result.exit_code or "maxmem" not in words:
        return ""
    column = words.index("maxmem")
    rows = (line.split() for line in result.text.splitlines()[1:])
    sizes = [row[column] for row in rows if len(row) > column and _SIZE.fullmatch(row[column])]
    return max(sizes, key=lambda size: float(size[:-1]) * 1024.0 ** "KMGT".index(size[-1]), default="")


def unit_of(result: CommandResult) -> str | None:
    """Return the unit that ``badmin showconf mbd`` names for limits, "unset" where it names none; None: it cannot tell.

    Source: IBM's documents of LSF 10.1. volclava's badmin has no such command.

    Raises:
        SchedulerUnavailable: LSF could not be reached.
    """
    words = _words(result)
    if result.exit_code and any(sign in words for sign in (*_NOT_TAKEN, *_MAYBE_TAKEN)):
        raise SchedulerUnavailable(f"LSF could not be asked: {words}")
    listed = re.search(r"^MBD configuration at ", result.text, re.MULTILINE)
    if result.exit_code or (result.stdout and not listed):  # a dry run gives no answer, and that is not held against it
        return None
    found = re.search(r"^\s*LSF_UNIT_FOR_LIMITS\s*=\s*\"?([KMGTPE])B?\b", result.text, re.MULTILINE | re.IGNORECASE)
    return f"{found[1].upper()}B" if found else "unset"


def check_cancel(id: JobId, result: CommandResult) -> None:
    """Raise unless bkill worked, or had nothing left to end.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    words = " ".join(f"{_words(result)} {result.text}".split())
    if not result.exit_code and f"Job <{id}> is being" in words:
        return
    if _MAY_NOT_CANCEL.search(words):
        raise CancelRefused(f"LSF refused to cancel job {id}: {words}")
    # "Operation is in progress": the job's host does not answer; LSF will end the job when it does.
    if not result.exit_code or any(sign in words for sign in (*_NOTHING_TO_KILL, "Operation is in progress")):
        return
    unreached = any(sign in words for sign in _NOT_TAKEN)
    raise not_cancelled(id, who="LSF", words=words, unreached=unreached, doubtful=not unreached)


def _words(result: CommandResult) -> str:
    """Return what a command complained of, on one line. It begins with what is wrong: ``night: No such queue``."""
    return " ".join(result.complaint.split()) or f"exit code {result.exit_code}"


def _said(result: CommandResult) -> str:
    if result.exit_code or not result.stdout:
        return _words(result)
    return f"bjobs printed no whole list, but ends in {result.text.strip()[-200:]!r}"
