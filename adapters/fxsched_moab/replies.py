"""What msub, showq, checkjob and canceljob print → ids, rows, statuses, errors. Pure.

Sources: Moab's administrator guide, output of ``showq --xml`` and ``msub --xml`` that Moab's users have published, and
recorded output of Maui 3.5. Moab itself could not be run.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched import reasons
from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.kit import last_line, not_cancelled, quoted, submitted, token_of
from fxsched_moab.reasons import of_block, of_hindrance, of_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.hosts import CommandResult

_MOAB_ID: Final = r"(?:[A-Za-z][\w-]*\.)?\d+(?:\.[A-Za-z][\w.-]*)?"  # 4217, Moab.4217, 4217.server
_ID_LINE: Final = re.compile(_MOAB_ID, re.ASCII)
_ID_TAG: Final = re.compile(rf'<job\s(?:[^<>]*\s)?JobID="({_MOAB_ID})"[^<>]*>', re.ASCII)
_OUR_ID: Final = re.compile(rf"({_MOAB_ID}):([a-z2-7]{{20}})", re.ASCII)
# A row that is not well formed spoils itself only, which a parser of XML could not promise.
_TAG: Final = re.compile(r'<(queue|job)((?:\s+[\w:.-]+\s*=\s*"[^"]*")*)\s*/?>', re.ASCII)
_ATTRIBUTE: Final = re.compile(r'([\w:.-]+)\s*=\s*"([^"]*)"', re.ASCII)
_SIGNALS: Final = 64

# Moab's word → ours, for what has not ended. A word that is not here is a live state.
_STATES: Final = {
    "Idle": JobState.QUEUED,
    "Deferred": JobState.QUEUED,  # a hold that Moab itself takes away again
    "Depend": JobState.QUEUED,
    "Migrated": JobState.QUEUED,
    "NotQueued": JobState.QUEUED,
    "Staging": JobState.QUEUED,
    "Starting": JobState.QUEUED,
    "Hold": JobState.HELD,
    "UserHold": JobState.HELD,
    "SystemHold": JobState.HELD,
    "BatchHold": JobState.HELD,
    "Running": JobState.RUNNING,
    "Canceling": JobState.RUNNING,
    "Suspended": JobState.SUSPENDED,
}

# A command that says one of these may have worked: the request had been sent.
_MAYBE_TAKEN: Final = ("timed out", "lost connection", "cannot request service")
# … but not where it says one of these too: Maui 3.5 says the first at once when its server is down.
_NOT_TAKEN: Final = ("cannot send request to server", "server may not be running", "cannot connect to")
_NO_SUCH_JOB: Final = ("cannot locate job", "invalid job specified")


class Row(Struct, frozen=True):
    """One job in ``showq --xml``."""

    queue: str
    """The list that it stands in: ``active``, ``eligible``, ``blocked`` or ``completed``."""
    values: Mapping[str, str]
    """Its attributes, as Moab calls them."""

    @property
    def id(self) -> str:
        """The id by which Moab's commands take it."""
        return self.values.get("JobID", "")

    @property
    def manager_id(self) -> str:
        """The id that it has in the resource manager; nothing before Moab has handed it down."""
        return self.values.get("DRMJID", "")

    @property
    def ids(self) -> frozenset[str]:
        """All ids of the job. Moab may rename one when it hands it down: GJID is then the one it had before."""
        named = {self.values[name] for name in ("JobID", "GJID", "SRMJID", "DRMJID") if self.values.get(name)}
        return frozenset(named | {number(id) for id in named})

    @property
    def name(self) -> str:
        return self.values.get("JobName", "")

    @property
    def token(self) -> Token | None:
        return token_of(self.name)


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def job_id(moab_id: str, token: Token) -> JobId:
    """Return the id that we give to a job of Moab's: Moab's own, a colon, the session's token.

    Moab has one id for a job and its resource manager another, and Moab alone knows which belong together, until it
    forgets the job, or renames it. The token is in the name that both keep: with it, each can be asked at any time.
    """
    return JobId(f"{moab_id}:{token}")


def split_id(id: JobId) -> tuple[str, Token | None]:
    """Return Moab's id and the token; an id of the resource manager's own has no token."""
    found = _OUR_ID.fullmatch(id)
    return (found[1], Token(found[2])) if found else (id, None)


def number(id: str) -> str:
    """Return the number of a resource manager's id: ``123`` of ``123.server``. Others stay as they are."""
    return re.sub(r"^(\d+)\..*", r"\1", id)


# ── msub ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_submit(result: CommandResult) -> str:
    """Return the id that ``msub --xml`` printed, in a tag, or on a line of its own where it does not know ``--xml``.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    tags = _ID_TAG.findall(result.text)
    line = last_line(_ID_LINE, result.text)
    words = quoted(result)
    return submitted(
        JobId(tags[-1]) if tags else JobId(line[0]) if line else None,
        result,
        who="Moab",
        command="msub",
        words=words,
        unreached=_not_taken(words),
        doubtful=_maybe_taken(words) and not _not_taken(words),
    )


# ── showq ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def listing(result: CommandResult, *queues: str) -> str:
    """Return what ``showq --xml`` printed, if it is a whole document that has these lists.

    Only a whole list says that a job is *not* there. A wrapper's message or the first half of a list with exit status
    0 would otherwise end sessions that live, and make twins of them.

    Raises:
        SchedulerUnavailable: showq failed, or printed something else.
    """
    check_answer(result)
    text = result.text
    missing = [name for name in queues if not re.search(rf'<queue\s[^<>]*option="{name}"', text)]
    if missing or "<Data>" not in text or not text.rstrip().endswith("</Data>"):
        end = text.strip()[-200:]
        raise SchedulerUnavailable(f"Moab could not be asked: showq printed no whole list, but ends in {end!r}")
    return text


def check_answer(result: CommandResult) -> None:
    """Raise unless a command that asks has answered.

    Raises:
        SchedulerUnavailable: it has not.
    """
    if result.exit_code:
        raise SchedulerUnavailable(f"Moab could not be asked: {quoted(result)}")


def is_forbidden(result: CommandResult) -> bool:
    """Whether the user may not run the command so: Maui 3.5 says it of ``showq -r``."""
    return bool(result.exit_code) and "not authorized to run this command" in quoted(result)


def parse_showq(text: str) -> list[Row]:
    """Return the jobs in ``showq --xml``."""
    rows = []
    queue = ""
    for kind, attributes in _TAG.findall(text):
        values = {name: unescape(value) for name, value in _ATTRIBUTE.findall(attributes)}
        if kind == "queue":
            queue = values.get("option", "")
        elif _ID_LINE.fullmatch(values.get("JobID", "")):
            rows.append(Row(queue, values))
    return rows


def row_of(rows: Sequence[Row], moab_id: str, token: Token | None) -> Row | None:
    """Return the row of a job: by its token, and among several by its id; one without a name by its id alone."""
    named = [row for row in rows if row.token == token] if token else []
    for row in named or [row for row in rows if not token or not row.name]:
        if moab_id in row.ids:
            return row
    return named[0] if named else None


def status_of(row: Row, id: JobId) -> JobStatus:
    """Return the status of a job of which Moab alone knows."""
    if row.queue == "completed":
        return _ended(row, id)
    state = _state(row)
    begun = state in (JobState.RUNNING, JobState.SUSPENDED)
    node = row.values.get("MasterHost", "")
    return JobStatus(
        id=id,
        state=state,
        name=row.name,
        native_state=row.values.get("State", ""),
        reason="" if begun else _reason(row, state),
        nodes=(node,) if begun and node else (),
        submitted_at=_time(row, "SubmissionTime"),
        started_at=_time(row, "StartTime") if begun else None,
        expected_start=None if begun else _time(row, "RsvStartTime"),
        source="showq",
    )


def waiting(status: JobStatus, row: Row) -> JobStatus:
    """Return the status of a job that waits in the resource manager, with what Moab, who will start it, says of it."""
    own = status_of(row, status.id)
    if own.state not in (JobState.QUEUED, JobState.HELD):  # Moab starts it at this moment
        own = replace(own, state=JobState.QUEUED, reason=reasons.PREPARING)
    return replace(
        status,
        state=own.state,
        native_state=own.native_state or status.native_state,
        reason=own.reason,
        expected_start=own.expected_start or status.expected_start,
        source=own.source,
    )


def _state(row: Row) -> JobState:
    word = row.values.get("State", "")
    if row.values.get("Hold"):  # mjobctl has Hold="Batch" beside State="Idle"
        return JobState.HELD
    return _STATES.get(word) or (JobState.RUNNING if row.queue == "active" else JobState.QUEUED)


def _reason(row: Row, state: JobState) -> str:
    if row.values.get("Hold"):
        return of_state(f"{row.values['Hold']}Hold") or of_state("Hold")
    said = of_state(row.values.get("State", ""))
    if said:
        return said
    block = row.values.get("BlockReason", "")
    if block:
        return of_block(block)
    return reasons.RESOURCES if row.queue == "eligible" and state is JobState.QUEUED else ""


def _ended(row: Row, id: JobId) -> JobStatus:
    code = row.values.get("CompletionCode", "")
    exit_code = int(code) if re.fullmatch(r"\d{1,5}", code, re.ASCII) else None
    signal = exit_code - 256 if exit_code is not None and 256 < exit_code <= 256 + _SIGNALS else None
    return JobStatus(
        id=id,
        state=JobState.ENDED,
        name=row.name,
        native_state=row.values.get("State", ""),
        cause=_cause(row, code, exit_code),
        exit_code=exit_code if exit_code is not None and exit_code < 256 else None,
        signal=signal,
        nodes=(row.values["MasterHost"],) if row.values.get("MasterHost") else (),
        submitted_at=_time(row, "SubmissionTime"),
        started_at=_time(row, "StartTime"),
        ended_at=_time(row, "CompletionTime"),
        source="showq",
    )


def _cause(row: Row, code: str, exit_code: int | None) -> EndCause:
    word = row.values.get("State", "")
    if word == "Vacated":
        return EndCause.PREEMPTED
    # Torque gives 256 + 15 to what was deleted.
    if word == "Removed" or code.startswith("CNCLD") or exit_code == 256 + 15:
        used, limit = (_count(row, name) for name in ("AWDuration", "ReqAWDuration"))
        return EndCause.WALLTIME if limit and used >= limit else EndCause.CANCELLED
    if exit_code is None:
        return EndCause.UNKNOWN
    return EndCause.FAILED if exit_code else EndCause.COMPLETED


def _count(row: Row, name: str) -> int:
    text = row.values.get(name, "")
    return int(text) if re.fullmatch(r"\d{1,11}", text, re.ASCII) else 0


def _time(row: Row, name: str) -> datetime | None:
    """Return a time, which Moab counts in seconds since 1970; 0 is none."""
    seconds = _count(row, name)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


# ── checkjob ──────────────────────────────────────────────────────────────────────────────────────────────────────

_STATE_LINE: Final = re.compile(r"^State: (\w+)", re.MULTILINE | re.ASCII)
_HINDRANCE: Final = re.compile(r"^(?:job cannot run|cannot select job) .*?\((.*)\)\s*$", re.MULTILINE)
_RESERVATION: Final = re.compile(r"^Reservation '[^']*' \(((?:\d{1,4}:){2,3}\d\d) -> ", re.MULTILINE | re.ASCII)


def explained(status: JobStatus, result: CommandResult, now: datetime) -> JobStatus:
    """Return the status of a waiting job with what Maui's checkjob says of it.

    It stays as it is where that says nothing: Maui learns of a job some time after the resource manager.

    Raises:
        SchedulerUnavailable: Maui could not be asked, and need not be asked about other jobs.
    """
    text = result.text
    state = _STATE_LINE.search(text)
    if result.exit_code and not any(sign in quoted(result) for sign in _NO_SUCH_JOB):
        raise SchedulerUnavailable(f"Maui could not be asked: {quoted(result)}")
    if result.exit_code or not state:
        return status
    reservation = _RESERVATION.search(text)
    hindrance = _HINDRANCE.search(text)
    reason = of_state(state[1]) or (of_hindrance(hindrance[1]) if hindrance else "")
    if status.state is JobState.HELD:  # Maui has one word for all holds, the resource manager tells who holds it
        reason = status.reason or reason
    expected = now + _span(reservation[1]) if reservation else None
    return replace(status, reason=reason or status.reason, expected_start=expected or status.expected_start)


def _span(clock: str) -> timedelta:
    """Return the length of ``[days:]hours:minutes:seconds``."""
    days, hours, minutes, seconds = ([0] * 4 + [int(part) for part in clock.split(":")])[-4:]
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


# ── canceljob ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check_cancel(id: JobId, result: CommandResult) -> bool:
    """Return whether canceljob has cancelled the job; False if Moab knows no such job.

    Maui 3.5 complains on standard output, and with exit code 0 that the job is somebody else's.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    words = " ".join(f"{result.text} {quoted(result)}".split())
    if re.search(r"\bjob '[^']*' cancelled\b", words):
        return True
    if any(sign in words for sign in _NO_SUCH_JOB):
        return False
    refused = "not authorized" in words or (result.exit_code and result.complaint and not _maybe_taken(words))
    raise not_cancelled(
        id,
        who="Moab",
        words=quoted(result),
        unreached=_not_taken(words),
        doubtful=not refused and not _not_taken(words),
    )


def _maybe_taken(words: str) -> bool:
    return any(sign in words for sign in _MAYBE_TAKEN)


def _not_taken(words: str) -> bool:
    return any(sign in words for sign in _NOT_TAKEN)
