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

_COLUMNS_HEADER: Final = re.compile(rf"^{re.escape('^'.join(_COLUMNS.upper().split()))} *$", re.MULTILINE)
ROW_ID: Final = re.compile(r"(\d+)(?:\[\d+\])?", re.ASCII)
"""The id in a row; an element of an array, ``7[1]``, counts for the array."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
# With LSB_DISPLAY_YEAR, newer versions add the seconds to their columns, and the year everywhere.
WHEN: Final = rf"{_MONTH} +(?P<day>\d\d?) (?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?: (?P<year>\d{{4}}))?"
_TIME: Final = re.compile(WHEN, re.ASCII)
_EVENT: Final = re.compile(rf"^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {WHEN}: (?P<text>.*)$", re.ASCII | re.MULTILINE)


def _loosely(pattern: str) -> re.Pattern[str]:
    """Compile a pattern in which each blank may be missing: a fold swallows the one at which it folds."""
    return re.compile(pattern.replace(" ", " ?"), re.ASCII)


# A paragraph begins with the job's name and goes on, where it is folded, behind as many blanks as the time in front of
# its events is wide: 21, 22, or 26 with the year.
PARAGRAPH: Final = re.compile(r"^Job <(\d+)(?:\[\d+\])?>,", re.ASCII | re.MULTILINE)
_FOLD: Final = re.compile(r"\n {20,}")
_NAME: Final = _loosely(r"Job <\d+>, Job Name <([^<>]*)>")
_STATUS: Final = _loosely(r"Job <\d+>(?:, Job Name <[^<>]*>)?, User <[^<>]*>.*?, Status <(\w+)>")
_REASONS: Final = re.compile(r"^ (?:PENDING|SUSPENDING) REASONS:\n((?: .*\n)*)", re.MULTILINE)
_HOST: Final = re.compile(r"<(?:\d+\*)?([^<>]+)>", re.ASCII)
_SUBMITTED: Final = _loosely("Submitted from")
_STARTED: Final = _loosely(r"(?:\[\d+\] )?(?:[Ss]tarted|[Dd]ispatched) (?:\d+ [Tt]ask\(s\) )?(?:on|to) ")
_DONE: Final = _loosely("Done successfully")
_EXITED: Final = _loosely(r"Exited(?: with exit code (\d+)| (?:by|with)\D*? signal\D*? (\d+))?")
_REQUESTED: Final = _loosely("Signal <(?:KILL|TERM|INT)> requested by user")
# volclava prints its limits in KB, newer versions in any unit, and both how much memory a job used at most.
_MEMORY_LIMIT: Final = re.compile(r"^ (?:\w+ +)*?MEMLIMIT\b.*\n(.*)$", re.ASCII | re.MULTILINE)
_MEMORY_USED: Final = re.compile(r"^ MAX MEM: +([\d.]+) +([KMGT])bytes", re.ASCII | re.MULTILINE)
_SIZE: Final = re.compile(r"([\d.]+) +([KMGT])\b", re.ASCII)
_TERM: Final = re.compile(r"\b(TERM_[A-Z_]+)")
_RESTARTED: Final = re.compile(r"requeue|migrat", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)
_SIGNALS: Final = 64
_UNREADABLE: Final = reasons.said("fxsched", "what LSF prints of it cannot be read")
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
# Where there is no such word (volclava 2.2), the signals that LSF ends a job with tell: bkill and the memory limit send
# INT first, the run limit USR2. A shell that dies of them ends with 128 and the signal.
INTERRUPTED: Final = 2
_RUN_LIMIT: Final = 12


def parse_columns(result: CommandResult, now: datetime) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``bjobs -o COLUMNS``, printed under ``TZ=UTC``."""
    found: dict[JobId, JobStatus] = {}
    header = _COLUMNS_HEADER.search(result.text)
    for line in result.text[header.end() :].splitlines() if header else ():
        first, *rest = line.split("^", 9)
        row = ROW_ID.fullmatch(first)
        if not row:
            continue
        id = row[1]
        if len(rest) != 9:
            _add(found, _unreadable(id))
            continue
        word, code, term, submitted, started, ended, hosts, pending, name = (_value(value) for value in rest)
        status = _status(
            id,
            word,
            name=name,
            exit_code=_code(code),
            term=term,
            reasons=pending.split(";"),
            nodes=tuple(dict.fromkeys(re.sub(r"^\d+\*", "", host) for host in hosts.split(":") if host)),
            submitted=_exact_time(_TIME.match(submitted), now),
            started=_time(_TIME.match(started), now),
            ended=_time(_TIME.match(ended), now),
        )
        _add(found, status)
    return found


def parse_paragraphs(result: CommandResult, now: datetime) -> dict[JobId, JobStatus]:
    """Return the status in each paragraph of ``bjobs -l``, printed under ``TZ=UTC``."""
    found: dict[JobId, JobStatus] = {}
    for id, text in _paragraphs(result.text):
        status = _STATUS.match(text)
        listed = _REASONS.search(text)
        texts = listed[1].splitlines() if listed else []
        _add(found, _story(id, status[1], text, texts, now) if status else _unreadable(id))
    return found


def parse_history(result: CommandResult, now: datetime) -> dict[JobId, JobStatus]:
    """Return the end of each job whose end is in ``bhist -l``, printed under ``TZ=UTC``."""
    found: dict[JobId, JobStatus] = {}
    for id, text in _paragraphs(result.text):
        word = ""
        for event in _EVENT.finditer(text):
            if _RESTARTED.search(event["text"]) or _STARTED.match(event["text"]):
                word = ""
            elif _DONE.match(event["text"]):
                word = "DONE"
            elif event["text"].startswith("Exited"):
                word = "EXIT"
        if word:
            _add(found, _story(id, word, text, [], now, source="bhist"))
    return found


def _add(found: dict[JobId, JobStatus], status: JobStatus) -> None:
    """Add what a row or paragraph says of a job. Of an array's elements, one that lives counts for all."""
    known = found.get(status.id)
    if known is None or known.state is JobState.ENDED:
        found[status.id] = status


def _paragraphs(text: str) -> list[tuple[str, str]]:
    """Return each job's id and paragraph, with its lines unfolded."""
    parts = PARAGRAPH.split(_FOLD.sub("", text))
    return [(id, f"Job <{id}>,{rest}") for id, rest in zip(parts[1::2], parts[2::2], strict=True)]


def _story(id: str, word: str, text: str, listed: list[str], now: datetime, *, source: str = _SOURCE) -> JobStatus:
    """Return the status of a job in state ``word`` whose paragraph tells what happened to it, and when."""
    submitted = started = ended = None
    nodes: tuple[str, ...] = ()
    code = signal = None
    term = ""
    for event in _EVENT.finditer(text):
        what = event["text"]
        if _SUBMITTED.match(what):
            submitted = _time(event, now)
        elif _STARTED.match(what):
            started = _time(event, now)
            nodes = tuple(dict.fromkeys(_HOST.findall(re.split("[,;]", what, maxsplit=1)[0])))
        elif _DONE.match(what):
            ended, code = _time(event, now), 0
        elif exited := _EXITED.match(what):
            ended = _time(event, now)
            code, signal = (_code(number or "") for number in exited.groups())
        elif found := _TERM.search(what):
            term = what[found.start() :]
        elif _RESTARTED.search(what):
            started = ended = code = signal = None
            nodes, term = (), ""
        elif _REQUESTED.match(what):
            term = term or "TERM_OWNER"
    if not term and INTERRUPTED in (signal, (code or 0) - 128) and _over_memory(text, told_all=source != _SOURCE):
        term = "TERM_MEMLIMIT"
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


def _over_memory(text: str, *, told_all: bool) -> bool:
    """Whether the memory limit ended a job that INT ended.

    The history, which has told of every bkill, need not say how much was used. What is used is rounded down.
    """
    limits = _MEMORY_LIMIT.search(text)
    if not limits:
        return False
    before = limits[0].partition("MEMLIMIT")[0].split()
    asked, used = _SIZE.findall(limits[1])[len(before) : len(before) + 1], _MEMORY_USED.search(text)
    if told_all or not asked or not used:
        return told_all
    return _bytes(*asked[0]) < _bytes(used[1], used[2]) + _bytes("1", used[2])


def _bytes(number: str, unit: str) -> float:
    return float(number) * 1024.0 ** (" KMGT".index(unit)) if re.fullmatch(r"\d{1,15}(\.\d+)?", number) else 0


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
    if not named and signal == INTERRUPTED:
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
    return JobStatus(id=JobId(id), state=JobState.RUNNING, reason=_UNREADABLE, source=_SOURCE)


def _code(text: str) -> int | None:
    """Return an exit code or a signal's number."""
    return int(text) if _NUMBER.fullmatch(text) else None


def _value(text: str) -> str:
    text = text.strip()
    return "" if text == "-" else text


def _exact_time(found: re.Match[str] | None, now: datetime) -> datetime | None:
    """Return a time that has its seconds: a submit time proves whose an id is, and other commands show them."""
    return _time(found, now) if found and found["second"] else None


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
