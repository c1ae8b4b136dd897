"""The jobs in ``showq --xml`` → statuses. Pure.

Sources: Moab's administrator guide, and output that Moab's users have published. Moab itself could not be run.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched import reasons
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.kit import token_of
from fxsched_moab.ids import MOAB_ID, number
from fxsched_moab.reasons import of_block, of_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ID: Final = re.compile(MOAB_ID, re.ASCII)
# A row that is not well formed spoils itself only, which a parser of XML could not promise, and is there all the same.
_TAG: Final = re.compile(
    r'<(queue|job)((?:\s+[\w:.-]+\s*=\s*"[^"]*")*\s*/?>|\s(?:(?!<job\s|<queue\s|</)[^>])*>)', re.ASCII
)
_ATTRIBUTE: Final = re.compile(r'([\w:.-]+)\s*=\s*"([^"]*)"', re.ASCII)
_SIGNALS: Final = 64

# Moab's word → ours, for what has not ended. A word that is not here is a live state.
_STATES: Final = {
    "Idle": JobState.QUEUED,
    "Depend": JobState.QUEUED,
    "Migrated": JobState.QUEUED,
    "NotQueued": JobState.QUEUED,
    "Staging": JobState.QUEUED,
    "Starting": JobState.QUEUED,
    "Hold": JobState.HELD,
    "Deferred": JobState.HELD,  # Moab itself lets it go again
    "UserHold": JobState.HELD,
    "SystemHold": JobState.HELD,
    "BatchHold": JobState.HELD,
    "Running": JobState.RUNNING,
    "Canceling": JobState.RUNNING,
    "Suspended": JobState.SUSPENDED,
}


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


def parse_showq(text: str) -> list[Row]:
    """Return the jobs in ``showq --xml``."""
    rows = []
    queue = ""
    for kind, attributes in _TAG.findall(text):
        values = {name: unescape(value) for name, value in _ATTRIBUTE.findall(attributes)}
        if kind == "queue":
            queue = values.get("option", "")
        elif _ID.fullmatch(values.get("JobID", "")):
            rows.append(Row(queue, values))
    return rows


def row_of(rows: Sequence[Row], moab_id: str, token: Token | None) -> Row | None:
    """Return the row of a job: by its token, and among several by its id; one that has lost its name by its id."""
    named = [row for row in rows if row.token == token] if token else []
    for row in named or [row for row in rows if not token or row.token is None]:
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
        submitted_at=own.submitted_at or status.submitted_at,
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
