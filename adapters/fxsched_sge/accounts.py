"""What qacct prints → how jobs ended. Pure.

Sources: qacct(1), accounting(5), sge_status(5), what Grid Engine 8.1.9 was seen to print, and what users of Univa's
published of theirs, which could not be run.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from signal import SIGUSR1, SIGXCPU
from typing import TYPE_CHECKING, Final, Literal

from fxsched import reasons
from fxsched.errors import CommandNotFound, SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import complaint_of
from fxsched_sge.reasons import parked
from fxsched_sge.submission import STAND_IN

if TYPE_CHECKING:
    from fxsched.hosts import CommandResult

_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_TIME: Final = re.compile(r"(?:(?:(\d{1,18}):)?(\d{1,18}):)?(\d{1,18})", re.ASCII)
_RULE: Final = re.compile(r"^=+$", re.MULTILINE)
_KILLED: Final = 128 + 9
_TERMINATED: Final = 128 + 15
"""With this code, our job scripts end when they are sent TERM."""
_SIGNALS: Final = 64
# Univa's codes 44 (h_rt), 47 (h_rss) and 52 (cgroups) stand for one limit each.
_ENFORCED: Final = re.compile(r"\benforced (h_rt|h_vmem|h_rss|memory) limit")
# Codes of qacct's "failed" that have a meaning of their own; the words of all others are quoted.
_LIMIT: Final = 37
_RUN_AGAIN: Final = (24, 25)
_AFTER_JOB: Final = 100
_APPLICATION_ERROR: Final = 30
_HOST_LOST: Final = (1, 3, 4, 18, 19)


def records(result: CommandResult) -> str:
    """Return what ``qacct -j`` printed, which is nothing where no such job is in the books yet.

    Raises:
        SchedulerUnavailable: the books cannot be read here.
    """
    if not result.exit_code:
        return result.text
    if re.search(r"job (?:id|name) .* not found", result.complaint, re.DOTALL):
        return ""
    raise SchedulerUnavailable(f"Grid Engine's accounts could not be read: {complaint_of(result)}")


def has_no_accounts(error: SchedulerUnavailable) -> bool:
    """Whether qacct cannot answer here at all: there is none, or no books that it may read; not that it did not now."""
    if error.__cause__ is None:
        return bool(re.search(r"No such file|Permission denied|no jobs running since startup", str(error)))
    return isinstance(error.__cause__, CommandNotFound)


def parse_accounts(
    text: str, memory_per: Literal["slot", "job"] = "slot", *, owner: str = ""
) -> dict[JobId, JobStatus]:
    """Return the end that each record of ``qacct -j`` tells, with times in UTC. Of several runs, the last counts.

    Args:
        text: what qacct printed.
        memory_per: what the memory that was asked for is counted by.
        owner: whose jobs count; nothing for everybody's, which are in the books.
    """
    found: dict[JobId, JobStatus] = {}
    for record in _RULE.split(text):
        pairs = (line.partition(" ") for line in record.splitlines())
        fields = {name: value.strip() for name, _, value in pairs}
        id = fields.get("jobnumber", "")
        if owner and fields.get("owner") != owner:
            continue
        if _NUMBER.fullmatch(id) and "failed" in fields and "exit_status" in fields:
            found[JobId(id)] = _account(JobId(id), fields, memory_per)
    return found


def _account(id: JobId, fields: dict[str, str], memory_per: Literal["slot", "job"]) -> JobStatus:
    failed, _, words = fields["failed"].partition(":")
    code = _number(failed)
    status = _number(fields["exit_status"].partition(" ")[0])
    started = _date(fields.get("start_time", ""))
    ended_by = status - 128 if status is not None and 128 < status <= 128 + _SIGNALS else None
    limit = _limit(code, words, fields, memory_per) or _soft_limit(code, ended_by, fields)
    cause, reason, signal = (limit, "", ended_by) if limit else _cause(code, words, status)
    if not limit and fields.get("deleted_by", "") not in ("", "NONE"):  # only Univa's notes it
        cause, reason = EndCause.CANCELLED, ""
    exit_code = None if signal or started is None or status == STAND_IN else status
    return JobStatus(
        id=id,
        state=JobState.ENDED,
        name=fields.get("jobname", ""),
        native_state=" ".join(fields["failed"].split()),
        reason=reason,
        cause=cause,
        exit_code=exit_code,
        signal=signal,
        nodes=(fields["hostname"],) if started and fields.get("hostname") else (),
        submitted_at=_date(fields.get("qsub_time", "")),
        started_at=started,
        ended_at=_date(fields.get("end_time", "")),
        source="qacct",
    )


def _cause(code: int | None, words: str, status: int | None) -> tuple[EndCause, str, int | None]:
    """Return cause, reason and signal of an end. Source: sge_status(5), "failed"."""
    if code in _RUN_AGAIN:  # it was to run again, and was deleted before
        return EndCause.CANCELLED, "", None
    if code == _AFTER_JOB and status is not None and 128 < status <= 128 + _SIGNALS:
        # KILL is what qdel sends, or TERM where the queue's terminate_method says so; hardly anything else sends them
        # to the job's own shell. Grid Engine notes no difference.
        return (EndCause.CANCELLED if status in (_KILLED, _TERMINATED) else EndCause.FAILED), "", status - 128
    if code == 0 and status == _TERMINATED:
        return EndCause.CANCELLED, "", None
    if code == 0:
        return (EndCause.FAILED if status else EndCause.COMPLETED), "", None
    if code == _APPLICATION_ERROR:
        return EndCause.FAILED, parked(["exit_status of job start = 100"]), None
    cause = EndCause.NODE_FAILURE if code in _HOST_LOST else EndCause.FAILED
    return cause, reasons.said("Grid Engine", f"failed {words.strip()}" if words.strip() else ""), None


def _limit(code: int | None, words: str, fields: dict[str, str], memory_per: Literal["slot", "job"]) -> EndCause | None:
    """Return which limit ended the job, if one did: where the words do not name it, one code stands for all.

    ``maxvmem`` is the whole job's. So is the limit: the shepherd of 8.1.9 multiplies ``h_vmem`` by the slots, unless
    its complex counts for the job.
    """
    named = _ENFORCED.search(words)
    if named:
        return EndCause.WALLTIME if named[1] == "h_rt" else EndCause.MEMORY
    if code != _LIMIT:
        return None
    seconds = _seconds(_asked("h_rt", fields))
    if seconds is not None and _ran(fields) >= seconds:
        return EndCause.WALLTIME
    asked, used = _size(_asked("h_vmem", fields)), _size(fields.get("maxvmem", ""))
    slots = _number(fields.get("slots", "")) if memory_per == "slot" else 1
    if asked and used and used >= asked * (slots or 1):
        return EndCause.MEMORY
    return EndCause.WALLTIME


def _soft_limit(code: int | None, signal: int | None, fields: dict[str, str]) -> EndCause | None:
    """Return which soft limit ended the job, if one did. Source: queue_conf(5), "s_rt", "s_cpu", "s_vmem".

    USR1 warns of the run time, XCPU of the processor time and of the memory. A job that traps them may end with any
    signal's code, once its time is up.
    """
    if signal is None or code not in (0, _AFTER_JOB):
        return None
    if signal == SIGUSR1 or (_seconds(_asked("s_rt", fields)) or float("inf")) <= _ran(fields):
        return EndCause.WALLTIME
    if signal != SIGXCPU:
        return None
    memory = any(_asked(name, fields) for name in ("s_vmem", "s_data", "s_rss", "s_stack"))
    return EndCause.MEMORY if memory and not _asked("s_cpu", fields) else EndCause.WALLTIME


def _asked(name: str, fields: dict[str, str]) -> str:
    """Return how much of a resource was asked for; nothing where it was not. Univa's has no category."""
    found = re.findall(rf"-l (?:\S*,)?{name}=([^\s,]+)", fields.get("category") or fields.get("submit_cmd", ""))
    return found[-1] if found else ""


def _ran(fields: dict[str, str]) -> float:
    """Return how many seconds a job ran: the usage says 0 where it was lost with the shepherd, the times do not."""
    wallclock = re.match(r"\d{1,18}(?:\.\d+)?", fields.get("ru_wallclock", ""), re.ASCII)
    started, ended = (_date(fields.get(name, "")) for name in ("start_time", "end_time"))
    between = (ended - started).total_seconds() if started and ended else 0
    return max(float(wallclock[0]) if wallclock else 0, between)


def _seconds(text: str) -> int | None:
    """Return the seconds of ``90`` or ``0:1:30``."""
    time = _TIME.fullmatch(text)
    if not time:
        return None
    hours, minutes, seconds = (int(part or 0) for part in time.groups())
    return hours * 3600 + minutes * 60 + seconds


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text.strip()) else None


def _size(text: str) -> float:
    """Return the bytes of ``4M``, as they are asked for, or ``4.238MB``, as qacct prints them; 0 of anything else."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)([KMGTkmgt]?)B?", text, re.ASCII)
    return float(found[1]) * 1024.0 ** " KMGT".index(found[2].upper() or " ") if found else 0


def _date(text: str) -> datetime | None:
    """Return a time as qacct prints it under ``TZ=UTC`` and ``LC_ALL=C``, or Univa's; None for ``-/-``."""
    for form in ("%a %b %d %H:%M:%S %Y", "%m/%d/%Y %H:%M:%S.%f"):
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    return None
