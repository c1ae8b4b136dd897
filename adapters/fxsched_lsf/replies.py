"""What bsub, bjobs, bkill and bhist answer → ids, errors, and whether it is an answer at all. Pure.

Sources: the commands' man pages, and what volclava 2.2 was seen to print. What an answer says of jobs is read in
``statuses``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import JobId, JobStatus
from fxsched.kit import by_token, not_cancelled, submitted
from fxsched_lsf.statuses import WHEN

if TYPE_CHECKING:
    from collections.abc import Collection

    from fxsched.hosts import CommandResult
    from fxsched.jobs import Token

NAMES: Final = "jobid job_name delimiter='^'"

_SUBMITTED: Final = re.compile(r"^Job <(\d+)> is submitted to .*\.\s*$", re.ASCII | re.MULTILINE)
_NOT_FOUND: Final = re.compile(r"^Job <(\d+)> is not found", re.ASCII | re.MULTILINE)
_NO_JOBS: Final = re.compile(r"^No (?:unfinished |matching )?job found", re.MULTILINE)
_NAMES_HEADER: Final = re.compile(r"^JOBID(?:\^JOB_NAME$|  .* JOB_NAME +SUBMIT_TIME)", re.MULTILINE)
_ROW_ID: Final = re.compile(r"\d+", re.ASCII)
_WIDE_ROW: Final = re.compile(rf"^(\d+) .* (\S+) +{WHEN}\s*$", re.ASCII)
_HISTORY_ROW: Final = re.compile(r"^(\d+) +\S+ +(\S+)(?: +\d+){7}\s*$", re.ASCII)

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
_REFUSED: Final = re.compile(r"not submitted|option|Usage: ")
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
    unreached = any(sign in words for sign in _NOT_TAKEN)
    refused = not any(sign in words for sign in _MAYBE_TAKEN) and _REFUSED.search(words)
    return submitted(
        JobId(found[-1]) if found else None,
        result,
        who="LSF",
        command="bsub",
        words=words,
        unreached=unreached,
        doubtful=not unreached and not refused,
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
    if result.exit_code or not header or not result.text.endswith("\n"):
        raise SchedulerUnavailable(f"LSF could not be asked: {_said(result)}")
    lines = result.text[header.end() :].splitlines()
    if "^" in header[0]:
        rows = (line.partition("^")[::2] for line in lines)
        return by_token((id, name) for id, name in rows if _ROW_ID.fullmatch(id))
    return by_token((row[1], row[2]) for row in map(_WIDE_ROW.match, lines) if row)


def parse_history_names(result: CommandResult) -> dict[Token, tuple[JobId, ...]]:
    """Return the same of what ``bhist -w`` lists."""
    rows = map(_HISTORY_ROW.match, result.text.splitlines())
    return by_token((row[1], row[2]) for row in rows if row)


def check_history(result: CommandResult) -> None:
    """Raise unless bhist answered, be it that it knows nothing, which it says on standard output.

    Raises:
        SchedulerUnavailable: it did not.
    """
    if result.exit_code and not _NO_JOBS.search(result.text) and not _NO_JOBS.search(result.complaint):
        raise SchedulerUnavailable(f"LSF could not be asked: {_said(result)}")


def check_cancel(id: JobId, result: CommandResult) -> None:
    """Raise unless bkill worked, or had nothing left to end.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    words = _words(result)
    # "Operation is in progress": the job's host does not answer; LSF will end the job when it does.
    if not result.exit_code or any(sign in words for sign in (*_NOTHING_TO_KILL, "Operation is in progress")):
        return
    unreached = any(sign in words for sign in _NOT_TAKEN)
    doubtful = not unreached and any(sign in words for sign in _MAYBE_TAKEN)
    raise not_cancelled(id, who="LSF", words=words, unreached=unreached, doubtful=doubtful)


def _words(result: CommandResult) -> str:
    """Return what a command complained of, on one line. It begins with what is wrong: ``night: No such queue``."""
    return " ".join(result.complaint.split()) or f"exit code {result.exit_code}"


def _said(result: CommandResult) -> str:
    if result.exit_code or not result.stdout:
        return _words(result)
    return f"bjobs printed no whole list, but ends in {result.text.strip()[-200:]!r}"
