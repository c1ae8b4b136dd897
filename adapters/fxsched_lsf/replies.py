"""What bsub, bjobs, bkill and bhist print → ids, statuses, errors. Pure.

Sources: the commands' man pages, and what volclava 2.2 (of the openlava family, as LSF 4) was seen to print. There are
two forms: LSF since version 9 prints chosen columns (``bjobs -o``), every version prints paragraphs (``bjobs -l``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from fxsched import reasons
from fxsched.errors import CancelRefused, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import by_token
from fxsched_lsf.reasons import sentence

if TYPE_CHECKING:
    from collections.abc import Collection

    from fxsched.hosts import CommandResult
    from fxsched.jobs import Token

_COLUMNS: Final = "jobid stat exit_code exit_reason submit_time start_time finish_time exec_host pend_reason job_name"
COLUMNS: Final = f"{_COLUMNS} delimiter='^'"
"""The name last, which may hold anything. With a delimiter, no column is cut."""

NAMES: Final = "jobid job_name delimiter='^'"

_SUBMITTED: Final = re.compile(r"^Job <(\d+)> is submitted to .*\.\s*$", re.ASCII | re.MULTILINE)
_NOT_FOUND: Final = re.compile(r"^Job <(\d+)> is not found", re.ASCII | re.MULTILINE)
_NO_JOBS: Final = re.compile(r"^No (?:unfinished |matching )?job found", re.MULTILINE)
_NAMES_HEADER: Final = re.compile(r"^JOBID(?:\^JOB_NAME$|  .* JOB_NAME +SUBMIT_TIME)", re.MULTILINE)
_COLUMNS_HEADER: Final = re.compile(r"^JOBID\^STAT\^.*\^JOB_NAME$", re.MULTILINE)
_ROW_ID: Final = re.compile(r"\d+", re.ASCII)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
# With LSB_DISPLAY_YEAR, newer versions add the seconds to their columns, and the year everywhere.
_WHEN: Final = rf"{_MONTH} +(?P<day>\d\d?) (?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?: (?P<year>\d{{4}}))?"
_TIME: Final = re.compile(_WHEN, re.ASCII)
_EVENT: Final = re.compile(rf"^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_WHEN}: (?P<text>.*)$", re.ASCII | re.MULTILINE)
_WIDE_ROW: Final = re.compile(rf"^(\d+) .* (\S+) +{_WHEN}\s*$", re.ASCII)
_HISTORY_ROW: Final = re.compile(r"^(\d+) +\S+ +(\S+)(?: +\d+){7}\s*$", re.ASCII)
# A paragraph begins with the job's name and goes on, where it is folded, behind 21 blanks.
_PARAGRAPH: Final = re.compile(r"^Job <(\d+)>,", re.ASCII | re.MULTILINE)
_FOLD: Final = re.compile(r"\n {21}")
_NAME: Final = re.compile(r"Job <\d+>, Job Name <([^<>]*)>", re.ASCII)
_STATUS: Final = re.compile(r"Job <\d+>(?:, Job Name <[^<>]*>)?, User <[^<>]*>.*?, Status <(\w+)>", re.ASCII)
_REASONS: Final = re.compile(r"^ (?:PENDING|SUSPENDING) REASONS:\n((?: .*\n)*)", re.MULTILINE)
_HOST: Final = re.compile(r"<(?:\d+\*)?([^<>]+)>", re.ASCII)
_STARTED: Final = re.compile(
    r"(?:\[\d+\] )?(?:started|dispatched) (?:\d+ task\(s\) )?(?:on|to) ", re.ASCII | re.IGNORECASE
)
_EXITED: Final = re.compile(r"Exited(?: with exit code (\d+)| (?:by|with)\D*? signal\D*? (\d+))?", re.ASCII)
_TERM: Final = re.compile(r"\b(TERM_[A-Z_]+)")
_RESTARTED: Final = re.compile(r"requeue|migrat", re.IGNORECASE)
_SIGNALS: Final = 64
_SOURCE: Final = "bjobs"

# LSF's word → ours. A word that is not here is a live state.
_STATES: Final = {
    "PEND": JobState.QUEUED,
    "PROV": JobState.QUEUED,  # its host is being set up, or woken
    "WAIT": JobState.QUEUED,  # one of a chunk of jobs, on a host, behind others of the chunk
    "PSUSP": JobState.HELD,
    "RUN": JobState.RUNNING,
    "USUSP": JobState.SUSPENDED,
    "SSUSP": JobState.SUSPENDED,
    "UNKWN": JobState.RUNNING,  # its host does not answer
    "ZOMBI": JobState.RUNNING,  # killed, but its host does not answer
    "DONE": JobState.ENDED,
    "EXIT": JobState.ENDED,
}
_HOST_LOST: Final = ("UNKWN", "ZOMBI")
_CAUSES: Final = {
    "TERM_OWNER": EndCause.CANCELLED,
    "TERM_ADMIN": EndCause.CANCELLED,
    "TERM_FORCE_OWNER": EndCause.CANCELLED,
    "TERM_FORCE_ADMIN": EndCause.CANCELLED,
    "TERM_BUCKET_KILL": EndCause.CANCELLED,
    "TERM_RUNLIMIT": EndCause.WALLTIME,
    "TERM_DEADLINE": EndCause.WALLTIME,
    "TERM_CPULIMIT": EndCause.WALLTIME,
    "TERM_WINDOW": EndCause.WALLTIME,
    "TERM_MEMLIMIT": EndCause.MEMORY,
    "TERM_SWAP": EndCause.MEMORY,
    "TERM_PREEMPT": EndCause.PREEMPTED,
    "TERM_RC_RECLAIM": EndCause.PREEMPTED,
    "TERM_ZOMBIE": EndCause.NODE_FAILURE,
}
# Where there is no such word (volclava 2.2), the signals that LSF ends a job with tell: bkill begins with INT, the run
# limit with USR2. A shell that dies of them ends with 128 and the signal.
_BKILL: Final = 2
_RUN_LIMIT: Final = 12

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
    if result.exit_code:
        words = _words(result)
        if found:
            raise OutcomeUnknown(f"bsub ended with exit code {result.exit_code}, but after it had made job {found[-1]}")
        if any(sign in words for sign in _NOT_TAKEN):
            raise SchedulerUnavailable(f"LSF cannot be reached: {words} No job was submitted; try again later")
        if any(sign in words for sign in _MAYBE_TAKEN):
            raise OutcomeUnknown(f"LSF did not confirm the job: {words}")
        if _REFUSED.search(words):
            raise SubmitRejected(f"LSF refused the job: {words}")
        raise OutcomeUnknown(f"bsub ended with exit code {result.exit_code}, and did not say of the job: {words}")
    if not found:
        raise OutcomeUnknown(f"bsub ended well, but printed no job id: {result.text.strip()[:200]!r}")
    return JobId(found[-1])


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


def parse_columns(result: CommandResult, now: datetime) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``bjobs -o COLUMNS``, printed under ``TZ=UTC``."""
    found = {}
    header = _COLUMNS_HEADER.search(result.text)
    for line in result.text[header.end() :].splitlines() if header else ():
        id, *rest = line.split("^", 9)
        if not _ROW_ID.fullmatch(id):
            continue
        if len(rest) != 9:
            found[JobId(id)] = _unreadable(id)
            continue
        word, code, term, submitted, started, ended, hosts, pending, name = (_value(value) for value in rest)
        found[JobId(id)] = _status(
            id,
            word,
            name=name,
            exit_code=int(code) if code.isdecimal() else None,
            term=term,
            reasons=pending.split(";"),
            nodes=tuple(dict.fromkeys(re.sub(r"^\d+\*", "", host) for host in hosts.split(":") if host)),
            submitted=_time(_TIME.match(submitted), now),
            started=_time(_TIME.match(started), now),
            ended=_time(_TIME.match(ended), now),
        )
    return found


def parse_paragraphs(result: CommandResult, now: datetime) -> dict[JobId, JobStatus]:
    """Return the status in each paragraph of ``bjobs -l``, printed under ``TZ=UTC``."""
    found = {}
    for id, text in _paragraphs(result.text):
        status = _STATUS.match(text)
        listed = _REASONS.search(text)
        found[JobId(id)] = (
            _story(id, status[1], text, listed[1].splitlines() if listed else [], now) if status else _unreadable(id)
        )
    return found


def parse_history(result: CommandResult, now: datetime) -> dict[JobId, JobStatus]:
    """Return the end of each job whose end is in ``bhist -l``, printed under ``TZ=UTC``."""
    found = {}
    for id, text in _paragraphs(result.text):
        word = ""
        for event in _EVENT.finditer(text):
            if _RESTARTED.search(event["text"]) or _STARTED.match(event["text"]):
                word = ""
            elif event["text"].startswith("Done successfully"):
                word = "DONE"
            elif event["text"].startswith("Exited"):
                word = "EXIT"
        if word:
            found[JobId(id)] = _story(id, word, text, [], now, source="bhist")
    return found


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
    if any(sign in words for sign in _NOT_TAKEN):
        raise SchedulerUnavailable(f"LSF cannot be reached: {words}. Nothing was cancelled; try again later")
    if any(sign in words for sign in _MAYBE_TAKEN):
        raise OutcomeUnknown(f"LSF did not confirm that it cancels job {id}: {words}")
    raise CancelRefused(f"LSF refused to cancel job {id}: {words}")


def _words(result: CommandResult) -> str:
    """Return what a command complained of, on one line. It begins with what is wrong: ``night: No such queue``."""
    return " ".join(result.complaint.split()) or f"exit code {result.exit_code}"


def _said(result: CommandResult) -> str:
    if result.exit_code or not result.stdout:
        return _words(result)
    return f"bjobs printed no whole list, but ends in {result.text.strip()[-200:]!r}"


def _paragraphs(text: str) -> list[tuple[str, str]]:
    """Return each job's id and paragraph, with its lines unfolded."""
    parts = _PARAGRAPH.split(_FOLD.sub("", text))
    return [(id, f"Job <{id}>,{rest}") for id, rest in zip(parts[1::2], parts[2::2], strict=True)]


def _story(id: str, word: str, text: str, listed: list[str], now: datetime, *, source: str = _SOURCE) -> JobStatus:
    """Return the status of a job in state ``word`` whose paragraph tells what happened to it, and when."""
    submitted = started = ended = None
    nodes: tuple[str, ...] = ()
    code = signal = None
    term = ""
    for event in _EVENT.finditer(text):
        what = event["text"]
        if what.startswith("Submitted from"):
            submitted = _time(event, now)
        elif _STARTED.match(what):
            started = _time(event, now)
            nodes = tuple(dict.fromkeys(_HOST.findall(re.split("[,;]", what, maxsplit=1)[0])))
        elif what.startswith("Done successfully"):
            ended, code = _time(event, now), 0
        elif exited := _EXITED.match(what):
            ended = _time(event, now)
            code, signal = (int(number) if number else None for number in exited.groups())
        elif found := _TERM.search(what):
            term = what[found.start() :]
        elif _RESTARTED.search(what):
            started = ended = code = signal = None
            nodes, term = (), ""
        elif what.startswith("Signal <KILL> requested"):
            term = term or "TERM_OWNER"
    name = _NAME.match(text)
    return _status(
        id,
        word,
        name=name[1] if name else "",
        exit_code=code,
        signal=signal,
        term=term,
        reasons=listed,
        nodes=nodes,
        submitted=submitted,
        started=started,
        ended=ended,
        source=source,
    )


def _status(
    id: str,
    word: str,
    *,
    name: str,
    exit_code: int | None,
    signal: int | None = None,
    term: str,
    reasons: list[str],
    nodes: tuple[str, ...],
    submitted: datetime | None,
    started: datetime | None,
    ended: datetime | None,
    source: str = _SOURCE,
) -> JobStatus:
    state = _STATES.get(word, JobState.RUNNING)
    waiting = state in (JobState.QUEUED, JobState.HELD)
    over = state is JobState.ENDED
    if exit_code and 128 < exit_code <= 128 + _SIGNALS:
        signal = exit_code - 128
    return JobStatus(
        id=JobId(id),
        state=state,
        name=name,
        native_state=word,
        reason=_reason(word, term, reasons),
        cause=_cause(word, exit_code, signal, term, ran=started is not None) if over else None,
        exit_code=(0 if word == "DONE" else exit_code) if over else None,
        signal=signal if over else None,
        nodes=() if waiting else nodes,
        submitted_at=submitted,
        started_at=None if waiting else started,
        ended_at=ended if over else None,
        source=source,
    )


def _cause(word: str, exit_code: int | None, signal: int | None, term: str, *, ran: bool) -> EndCause:
    if word == "DONE":
        return EndCause.COMPLETED
    named = _TERM.match(term)
    if named and named[1] in _CAUSES:
        return _CAUSES[named[1]]
    if not named and signal == _BKILL:
        return EndCause.CANCELLED
    if not named and signal == _RUN_LIMIT:
        return EndCause.WALLTIME
    if exit_code is None and signal is None:
        # A bare "Exited": it was killed before it ran, or while its host did not answer.
        return EndCause.UNKNOWN if ran else EndCause.CANCELLED
    return EndCause.FAILED


def _reason(word: str, term: str, texts: list[str]) -> str:
    if word in _HOST_LOST:
        return reasons.NODE_LOST
    if _STATES.get(word) is not JobState.ENDED:
        return "" if word == "RUN" else sentence(texts)
    named = _TERM.match(term)
    return reasons.said("LSF", term) if named and named[1] not in _CAUSES else ""


def _unreadable(id: str) -> JobStatus:
    """Return the status of a job whose row cannot be read: it is there."""
    return JobStatus(id=JobId(id), state=JobState.RUNNING, source=_SOURCE)


def _value(text: str) -> str:
    text = text.strip()
    return "" if text == "-" else text


def _time(found: re.Match[str] | None, now: datetime) -> datetime | None:
    """Return a time in the past that LSF printed under ``TZ=UTC``, mostly without a year: the last such day is meant.

    Its clock may be ahead of ours by up to a day.
    """
    if found is None:
        return None
    month = _MONTHS.index(found["month"]) + 1
    day, hour, minute, second = (int(found[part] or 0) for part in ("day", "hour", "minute", "second"))
    latest = now + timedelta(days=1)
    years = [int(found["year"])] if found["year"] else range(latest.year, latest.year - 9, -1)  # 1896 to 1904 had no 29
    for year in years:
        try:
            time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue
        if time <= latest or found["year"]:
            return time
    return None
