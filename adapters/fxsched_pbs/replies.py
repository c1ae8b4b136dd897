"""What qsub, qstat, qselect and qdel leave behind → ids, statuses, errors. Pure.

An exit code is the number of PBS's error modulo 256. The numbers differ between the two and between versions, the words
hardly: see :mod:`fxsched_pbs.complaints`.
Sources: pbs_error.h of OpenPBS 23.06, pbs_error_db.h of Torque 6.1, and what both were seen to print.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched import reasons
from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import complaint_of, not_cancelled, submitted
from fxsched_pbs.complaints import Complaint
from fxsched_pbs.reasons import COULD_NOT_START, CPU_TIME, MOVED, NOT_STAGED, UNREADABLE, waiting
from fxsched_pbs.records import ENDED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fxsched.hosts import CommandResult
    from fxsched_pbs.records import Record


class Dialect(Struct, frozen=True, kw_only=True):
    """What differs between OpenPBS and Torque."""

    name: str
    id: re.Pattern[str]
    """What an id looks like, alone on its line."""
    by_hook: frozenset[int] = frozenset()
    """Exit codes of a submit that the site's own hook refused, in words of its own."""
    ends: dict[int, tuple[EndCause, str]]
    """Exit statuses that PBS makes up for a job that did not end by itself: the cause, and a sentence."""


_NUMBER: Final = r"\d+(?:\[\d*\])?"
_SERVER: Final = r"\.[A-Za-z0-9][\w.-]*"
_NEVER_STARTED: Final = (EndCause.FAILED, COULD_NOT_START)

OPENPBS: Final = Dialect(
    name="PBS",
    id=re.compile(_NUMBER + _SERVER, re.ASCII),
    by_hook=frozenset({32}),  # 15136
    ends={
        **dict.fromkeys((-1, -2, -3, -4, -5, -6, -7, -10, -13, -16, -17, -21, -22, -23, -30), _NEVER_STARTED),
        -14: (EndCause.NODE_FAILURE, reasons.NODE_LOST),
        -20: (EndCause.NODE_FAILURE, reasons.NODE_LOST),
        -19: (EndCause.CANCELLED, ""),  # by a hook of the site
        -26: (EndCause.MEMORY, ""),
        -27: (EndCause.MEMORY, ""),
        -28: (EndCause.FAILED, CPU_TIME),
        -29: (EndCause.WALLTIME, ""),
    },
)

TORQUE: Final = Dialect(
    name="Torque",
    # Without its server where display_job_server_suffix is false: get_job_id() in req_quejob.c of Torque 6.1.
    id=re.compile(f"{_NUMBER}(?:{_SERVER})?", re.ASCII),
    ends={
        **dict.fromkeys((*range(-9, 0), -13), _NEVER_STARTED),
        -10: (EndCause.MEMORY, ""),
        -11: (EndCause.WALLTIME, ""),
        -12: (EndCause.FAILED, CPU_TIME),
    },
)

NO_HISTORY: Final = b"not configured to maintain job history"

_KILLED: Final = range(129, 152)  # 128 and a signal's number; PBS's own numbers begin at 152
_SIGNALS: Final = 64
_BY_PBS: Final = 256
_TERM: Final = 15
_TERMINATED, _FINISHED = "91", "92"
_STARTING: Final = frozenset({"41", "71", "72"})
_DEPENDS, _STAGE_FAILED = "22", "37"

# PBS's letter → our state. A letter that is not here is a live state.
_STATES: Final = {
    "Q": JobState.QUEUED,
    "T": JobState.QUEUED,  # on its way between queues
    "M": JobState.QUEUED,  # moved to another server
    "W": JobState.QUEUED,  # for its start time
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "E": JobState.RUNNING,  # exiting: its Exit_status is known, its files are on their way
    "B": JobState.RUNNING,  # an array some of whose jobs have begun
    "S": JobState.SUSPENDED,
    "U": JobState.SUSPENDED,  # somebody sits at its machine
    "F": JobState.ENDED,  # OpenPBS
    "X": JobState.ENDED,  # OpenPBS, one job of an array
    "C": JobState.ENDED,  # Torque
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME: Final = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})", re.ASCII)


def parse_submit(dialect: Dialect, result: CommandResult) -> JobId:
    """Return the id that qsub printed on a line of its own, whatever else a site prints around it.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    said = Complaint(result)
    return submitted(
        next(iter(_ids(dialect, result)[::-1]), None),
        result,
        who=dialect.name,
        command="qsub",
        words=said.text,
        unreached=said.unreached,
        doubtful=said.names_a_job,
        refused=said.refuses_submit or result.exit_code in dialect.by_hook,
        signals=_KILLED,
    )


def parse_selection(dialect: Dialect, result: CommandResult) -> tuple[JobId, ...]:
    """Return the ids that qselect printed, the lowest first. Nothing at all says that there is none.

    Raises:
        SchedulerUnavailable: it failed, or what it printed is no list of ids.
    """
    check_answer(dialect, result)
    found = _ids(dialect, result)
    if result.stdout.strip() and (not found or not result.stdout.endswith(b"\n")):
        raise no_answer(dialect, f"qselect printed no list of jobs, but {result.text.strip()[-200:]!r}")
    return tuple(sorted(found, key=lambda id: (len(id), id)))


def check_cancel(dialect: Dialect, id: JobId, result: CommandResult) -> None:
    """Raise unless qdel worked, or had nothing left to delete.

    Its words tell, not its exit code: "could not connect to MOM" is 222 in OpenPBS and 224 in Torque 6.1.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    said = Complaint(result)
    if not result.exit_code or (said.over and not said.unreached):
        return
    doubtful = not said.unreached and not said.refuses_cancel
    raise not_cancelled(id, who=dialect.name, words=said.text, unreached=said.unreached, doubtful=doubtful)


def check_answer(dialect: Dialect, result: CommandResult) -> None:
    """Raise unless a command that asks has answered.

    Raises:
        SchedulerUnavailable: it has not.
    """
    if result.exit_code:
        raise no_answer(dialect, Complaint(replace(result, stdout=b"") if result.stderr else result).text)


def no_answer(dialect: Dialect, why: object) -> SchedulerUnavailable:
    """Return the error for a question that got no answer."""
    return SchedulerUnavailable(f"{dialect.name} could not be asked: {why}")


def says_unknown(id: JobId, result: CommandResult) -> bool:
    """Whether qstat, asked for this one job, says that there is none. Of an array it may say so in other words."""
    what = r"Unknown Job Id(?: Error)?"
    if "[" in id:
        what = rf"(?:{what}|Unknown Array ID(?: MSG=[^\n]*?)?|illegally formed job identifier:)"
    named = re.search(rf"{what} {re.escape(number_of(id))}(?![0-9\[])", complaint_of(result))
    return bool(result.exit_code) and named is not None


def number_of(id: str) -> str:
    """Return an id without its server: ``123[4]`` of ``123[4].server@server``."""
    return re.split(r"[.@]", id, maxsplit=1)[0]


def array_of(id: JobId) -> JobId | None:
    """Return the id that a job has if it is an array, ``123[].server``, where the id does not say so itself."""
    return None if "[" in id else JobId(re.sub(r"^\d+", r"\g<0>[]", id))


def record_of(id: JobId, records: Mapping[str, Record], *, alone: bool = False) -> Record | None:
    """Return what qstat said of a job. ``123.server``, ``123`` and ``123.server@server`` are one job.

    An array, ``123[]``, counts for ``123``, and else each of its jobs, one that lives before others. In a reply to a
    question for this job ``alone``, its server may be written otherwise than in the question.
    """
    key = id.partition("@")[0]
    if key in records:
        return records[key]
    if alone or "." not in key:
        records = {number_of(known): record for known, record in records.items()}
        key = number_of(key)
    start = f"{number_of(key)}["
    parts = [known for known in records if known.startswith(start) and re.sub(r"\[\d*\]", "", known) == key]
    if key in records or not parts:
        return records.get(key)
    return records[min(parts, key=lambda known: ("[]" not in known, records[known].get("job_state") in ENDED))]


def parse_status(dialect: Dialect, id: JobId, record: Record | None) -> JobStatus | None:
    """Return the status of the job with these attributes, with times in UTC; None if there is no such job.

    One that is there lives, whatever else can be read of it.
    """
    if record is None:
        return None
    letter = record.get("job_state", "")
    if not letter:
        return JobStatus(
            id=id, state=JobState.RUNNING, name=record.get("job_name", ""), reason=UNREADABLE, source="qstat"
        )
    state = _STATES.get(letter, JobState.RUNNING)
    if state is JobState.HELD and _depends(record):
        state = JobState.QUEUED
    ended = state is JobState.ENDED
    waits = state in (JobState.QUEUED, JobState.HELD)
    code = _integer(record.get("exit_status")) if ended else None
    cause, reason = _end(dialect, record, code) if ended else (None, _wait(dialect, state, record))
    return JobStatus(
        id=id,
        state=state,
        name=record.get("job_name", ""),
        native_state=letter,
        reason=reason,
        cause=cause,
        exit_code=code if code is not None and 0 <= code < _BY_PBS else None,
        signal=_signal(code),
        nodes=() if waits else nodes_of(record.get("exec_host", "")),
        submitted_at=_time(record, "ctime"),
        started_at=None if waits else _time(record, "stime", "start_time"),
        ended_at=_time(record, "obittime", "comp_time", "history_timestamp", "mtime") if ended else None,
        expected_start=_time(record, "estimated.start_time") if waits else None,
        source="qstat",
    )


def gone(id: JobId) -> JobStatus:
    """Return the status of a job of which the server says that there is none."""
    return JobStatus(id=id, state=JobState.GONE, source="qstat")


def owner_of(record: Record) -> str:
    """Return whose a job is: the account in ``ada@login1``."""
    return record.get("job_owner", "").rpartition("@")[0]


def nodes_of(exec_host: str) -> tuple[str, ...]:
    """Return the hosts in ``n1/0*4+n2/0*4`` (OpenPBS) or ``n1/0-3+n2/0`` (Torque), each once."""
    return tuple(dict.fromkeys(part.partition("/")[0] for part in exec_host.split("+") if part))


def _end(dialect: Dialect, record: Record, code: int | None) -> tuple[EndCause, str]:
    """Return why a job ended. ``Exit_status`` is its own, 256 and a signal's number, or negative and made up by PBS."""
    if code in dialect.ends:
        return dialect.ends[code]
    if code is None:
        if record.get("substate") == _FINISHED or _never(record):
            return EndCause.CANCELLED, reasons.DEPENDENCY_NEVER
        return EndCause.CANCELLED, ""  # deleted before it ran
    if _never(record):
        return EndCause.CANCELLED, reasons.DEPENDENCY_NEVER
    if record.get("substate") == _TERMINATED or code == _BY_PBS + _TERM:
        return EndCause.CANCELLED, ""
    if code < 0:
        return EndCause.UNKNOWN, reasons.said(dialect.name, f"exit status {code}")
    return (EndCause.FAILED if code else EndCause.COMPLETED), ""


def _never(record: Record) -> bool:
    """Whether Torque says that it deleted a job whose dependency can no longer be met."""
    return "ependency" in record.get("comment", "")


def _wait(dialect: Dialect, state: JobState, record: Record) -> str:
    letter, substate, holds = (record.get(name, "") for name in ("job_state", "substate", "hold_types"))
    if state is JobState.HELD:
        return reasons.HELD_BY_OWNER if "u" in holds else reasons.HELD_BY_ADMIN
    if letter == "R" and substate in _STARTING:
        return reasons.PREPARING
    if letter == "H":
        return reasons.DEPENDENCY
    if letter == "W":
        return NOT_STAGED if substate == _STAGE_FAILED else reasons.BEGIN_TIME
    if letter == "M":
        return MOVED
    return waiting(record.get("comment", ""), dialect.name) if letter == "Q" else ""


def _depends(record: Record) -> bool:
    """Whether a hold is not a person's, but a dependency's."""
    holds = record.get("hold_types", "")
    return "u" not in holds and "o" not in holds and (record.get("substate") == _DEPENDS or "depend" in record)


def _signal(code: int | None) -> int | None:
    if code is None:
        return None
    for base in (_BY_PBS, 128):
        if 0 < code - base <= _SIGNALS:
            return code - base
    return None


def _ids(dialect: Dialect, result: CommandResult) -> list[JobId]:
    """Return the ids on lines of their own; the last line counts only if it is whole: half an id is another job's."""
    whole = result.text.split("\n")[:-1]
    return [JobId(line.strip()) for line in whole if dialect.id.fullmatch(line.strip())]


def _integer(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,9}", text) else None


def _time(record: Record, *names: str) -> datetime | None:
    """Return the first of these times: as qstat prints it under ``TZ=UTC``, or in seconds since the epoch."""
    for name in names:
        text = record.get(name, "")
        found = _TIME.fullmatch(text)
        try:
            if found:
                day, hour, minute, second, year = map(int, found.group(2, 3, 4, 5, 6))
                return datetime(year, _MONTHS.index(found[1]) + 1, day, hour, minute, second, tzinfo=UTC)
            if re.fullmatch(r"[0-9]{1,11}", text) and int(text):
                return datetime.fromtimestamp(int(text), UTC)
        except ValueError:
            continue
    return None
