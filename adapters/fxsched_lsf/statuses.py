"""What bjobs and bhist say of jobs → statuses. Pure.

There are two forms: LSF since version 9 prints chosen columns (``bjobs -o``), every version prints paragraphs (``bjobs
-l``, ``bhist -l``). Sources: bjobs(1), bhist(1), what volclava 2.2 (of the openlava family, as LSF 4) was seen to say,
and IBM's documents of LSF 10.1.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from fxsched import reasons
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched_lsf.reasons import sentence

if TYPE_CHECKING:
    from fxsched.hosts import CommandResult

_COLUMNS: Final = "jobid stat exit_code exit_reason submit_time start_time finish_time exec_host pend_reason job_name"
COLUMNS: Final = f"{_COLUMNS} delimiter='^'"
"""The name last, which may hold anything. With a delimiter, no column is cut."""

_COLUMNS_HEADER: Final = re.compile(r"^JOBID\^STAT\^.*\^JOB_NAME$", re.MULTILINE)
_ROW_ID: Final = re.compile(r"\d+", re.ASCII)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
# With LSB_DISPLAY_YEAR, newer versions add the seconds to their columns, and the year everywhere.
WHEN: Final = rf"{_MONTH} +(?P<day>\d\d?) (?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?: (?P<year>\d{{4}}))?"
_TIME: Final = re.compile(WHEN, re.ASCII)
_EVENT: Final = re.compile(rf"^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {WHEN}: (?P<text>.*)$", re.ASCII | re.MULTILINE)
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
