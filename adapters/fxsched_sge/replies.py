"""What qsub, qstat and qdel print → ids, statuses, errors. Pure.

Sources: qstat(1), sge_status(5), and what Grid Engine 8.1.9 was seen to print. Its XML is none: "<" becomes
"%lt;", and bytes of any kind stand in names. So it is read element by element, and a bad one spoils only itself.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from fxsched import reasons
from fxsched.errors import CancelRefused, SchedulerUnavailable
from fxsched.hosts import CommandResult
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import by_token, complaint_of, last_line, not_cancelled, submitted
from fxsched_sge.reasons import parked, waiting

if TYPE_CHECKING:
    from fxsched.jobs import Token

_ID: Final = re.compile(r"(\d+)(?:\.\d+-\d+:\d+)?", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
# The closing mark says that it is whole. What a site prints behind it does no harm.
_LIST: Final = re.compile(r"<job_info\b.*</job_info>\s*</job_info>", re.DOTALL)
_DETAILS: Final = re.compile(r"<detailed_job_info\b.*</detailed_job_info>|<unknown_jobs\b.*</unknown_jobs>", re.DOTALL)
_ROW: Final = re.compile(r"<job_list\b.*?</job_list>", re.DOTALL)
_JOB: Final = re.compile(r"<JB_job_number>.*?(?=<JB_job_number>|</djob_info>)", re.DOTALL)
_TASK_STATUS: Final = re.compile(r"<JAT_status>(\d{1,18})</JAT_status>", re.ASCII)
_NOTED: Final = re.compile(r"<ULNG_value>(\d+)</ULNG_value>", re.ASCII)
_PARKED: Final = "E"
_SUSPENDED: Final = frozenset("sSTNP")
_HAS_A_HOST: Final = 0x80 | 0x100 | 0x200  # JRUNNING, JSUSPENDED, JTRANSFERING in JAT_status

# A command that says one of these may have worked: the request had been sent.
_MAYBE_TAKEN: Final = ("answer list from qmaster", "failed receiving gdi request", "got read error", "timeout error")
# It did, though qsub warned and failed: "your job is not allowed to run in any queue … has been submitted".
_TAKEN: Final = re.compile(r"Your job(?:-array)? \d|has been submitted", re.ASCII)
# These come before anything is sent.
_NOT_TAKEN: Final = (
    "unable to send message to qmaster",
    "unable to contact qmaster",
    "got select error",
    "SGE_ROOT directory",
    "cell directory",
    "Please set the environment variable",
    "Unable to initialize environment",
    "is no submit host",
    "is neither submit nor admin host",
    "GDI version",
    "access denied (client",
    "rejected cause it can",  # … 't be written: the qmaster's own disk
    "error while loading shared libraries",
)
# These judge the request. Source: msg_qmaster.h, msg_sgeobjlib.h, msg_common.h and msg_clients_common.h of Grid Engine
# 6.2 and 8.1.9. A sentence of a site's own script (JSV) is in no table, and leaves it open.
_REFUSED: Final = (
    "job rejected",
    "was rejected because",
    "denied: ",
    "rejected: ",
    "unknown resource",
    "unknown queue",
    "unknown attribute",
    "Unknown option",
    "invalid option argument",
    "must have argument",
    "ERROR! ",
    "is not a valid",
    "is not a time value",
    "is not a memory value",
    "is not a number",
    "not allowed in objectname",
    "not allowed as",
    "job name too long",
    "this is not allowed for objectnames",
    "no suitable queues",
    "the advance reservation id",
    "is not requestable",
    "can't resolve hostname",
    "Unable to read script file",
    "jobs are allowed per",
    "Can only specify",
    "Numerical value invalid",
    "invalid hostname",
    "must be an unsigned integer",
    "ust be an integer",
    "Wrong ",
    "Invalid ",
    "Range specifier",
    "Negative or zero step",
    "Complex attribute",
    "rejected job",  # a JSV did
)
_MAY_NOT_DELETE: Final = re.compile(r"necessary privileges|denied|permission", re.IGNORECASE)
_HELD_NOTE: Final = "Job is in hold state"


class Detail(Struct, frozen=True):
    """What ``qstat -j`` tells of one job."""

    id: JobId
    name: str
    owner: str
    submitted_at: datetime | None
    placed: bool
    """It has a host: it runs, or is about to."""
    after_others: bool
    """It waits for other jobs."""
    errors: tuple[str, ...]
    """Why it was parked."""
    notes: tuple[str, ...]
    """What the scheduler notes of it, where the site lets it."""
    general: tuple[str, ...]
    """What the scheduler notes of all jobs."""


def parse_submit(result: CommandResult) -> JobId:
    """Return the id that ``qsub -terse`` printed on a line of its own, whatever else a site prints around it.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    found = last_line(_ID, result.text)
    words = _words(result)
    said = f"{result.text} {result.complaint}"  # a prefix that ``words`` leaves out may judge: "denied: …"
    taken = any(sign in said for sign in _MAYBE_TAKEN) or bool(_TAKEN.search(said))
    unreached = any(sign in said for sign in _NOT_TAKEN)
    judged = unreached or any(sign in said for sign in _REFUSED)
    return submitted(
        JobId(found[1]) if found else None,
        result,
        who="Grid Engine",
        command="qsub",
        words=words,
        unreached=unreached,
        doubtful=taken or (bool(result.complaint) and not judged and result.exit_code <= 128),
    )


# ── qstat ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def listing(result: CommandResult) -> str:
    """Return what ``qstat -xml`` printed, if it is a list from its beginning to its end.

    Only a whole list says that a job is *not* there. A wrapper's message, a login's banner or the first half of a list
    with exit status 0 would otherwise end sessions that live, and make twins of them.

    Raises:
        SchedulerUnavailable: qstat failed, or printed something else.
    """
    return _whole(result, _LIST)


def details(result: CommandResult) -> str:
    """Return what ``qstat -j … -xml`` printed, if it is whole: as :func:`listing`."""
    return _whole(result, _DETAILS)


def parse_list(text: str) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``qstat -s az -xml``, with times in UTC.

    A job that is over has the cause UNKNOWN: the list does not tell it. A parked one is HELD.
    """
    found: dict[JobId, JobStatus] = {}
    for row in _ROW.findall(text):
        id, word = _field(row, "JB_job_number"), _field(row, "state")
        if not _NUMBER.fullmatch(id):
            continue
        if not word.isalpha():
            found.setdefault(JobId(id), _unreadable(id, _field(row, "JB_name")))
            continue
        state = _state(word)
        started = state in (JobState.RUNNING, JobState.SUSPENDED)
        status = JobStatus(
            id=JobId(id),
            state=state,
            name=_field(row, "JB_name"),
            native_state=word,
            cause=EndCause.UNKNOWN if state is JobState.ENDED else None,
            nodes=_host(_field(row, "queue_name")) if started else (),
            submitted_at=_time(_field(row, "JB_submission_time")),
            started_at=_time(_field(row, "JAT_start_time")) if started else None,
            source="qstat",
        )
        found.setdefault(JobId(id), status)  # the tasks of an array: those that run come first
    return found


def parse_names(text: str) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids in the rows of a list whose job's name ends in a token, by that token, the lowest id first."""
    return by_token((status.id, status.name) for status in parse_list(text).values())


def parse_details(text: str) -> dict[JobId, Detail]:
    """Return what ``qstat -j … -xml`` tells of each job; what it does not know is not there."""
    jobs, _, notes = text.partition("</djob_info>")
    own, general = _notes(notes)
    found: dict[JobId, Detail] = {}
    for job in _JOB.findall(f"{jobs}</djob_info>"):
        id = _field(job, "JB_job_number")
        if not _NUMBER.fullmatch(id):
            continue
        found[JobId(id)] = Detail(
            id=JobId(id),
            name=_field(job, "JB_job_name"),
            owner=_field(job, "JB_owner"),
            submitted_at=_moment(_field(job, "JB_submission_time")),
            placed=any(int(status) & _HAS_A_HOST for status in _TASK_STATUS.findall(job)),
            after_others="<job_predecessors>" in job,
            errors=tuple(map(_plain, re.findall(r"<QIM_message>(.*?)</QIM_message>", job, re.DOTALL))),
            notes=tuple(own.get(id, ())),
            general=general,
        )
    return found


def parked_status(status: JobStatus) -> bool:
    """Whether a job stands in the state "Eqw": it could not be started, and will not be by itself."""
    return _PARKED in status.native_state


def ended_in_error(status: JobStatus, detail: Detail | None) -> JobStatus:
    """Return the end of a job that was parked."""
    return JobStatus(
        id=status.id,
        state=JobState.ENDED,
        name=status.name,
        native_state=status.native_state,
        reason=parked(detail.errors if detail else ()),
        cause=EndCause.FAILED,
        submitted_at=status.submitted_at,
        source="qstat",
    )


def why_it_waits(status: JobStatus, detail: Detail, *, held_by_user: bool) -> str:
    """Return a sentence for a job that waits, or nothing where the scheduler does not tell."""
    if parked_status(status):
        return parked(detail.errors)
    if status.state is JobState.HELD:
        if detail.after_others:
            return reasons.DEPENDENCY
        return reasons.HELD_BY_OWNER if held_by_user else reasons.HELD_BY_ADMIN
    return waiting(detail.notes, detail.general)


def status_from(detail: Detail) -> JobStatus:
    """Return the status of a job that no list shows, but that ``qstat -j`` knows: it is alive."""
    held = detail.after_others or _HELD_NOTE in detail.notes
    return JobStatus(
        id=detail.id,
        state=JobState.RUNNING if detail.placed else JobState.HELD if held else JobState.QUEUED,
        name=detail.name,
        reason="" if detail.placed else waiting(detail.notes, detail.general),
        submitted_at=detail.submitted_at,
        source="qstat",
    )


def _unreadable(id: str, name: str) -> JobStatus:
    """Return the status of a job whose row cannot be read: it is there."""
    reason = reasons.said("fxsched", "what Grid Engine prints of it cannot be read")
    return JobStatus(id=JobId(id), state=JobState.RUNNING, name=name, reason=reason, source="qstat")


def _state(word: str) -> JobState:
    """Return what qstat's letters mean; a letter that nobody knows makes a live job."""
    if word == "z":
        return JobState.ENDED
    if _PARKED in word:
        return JobState.HELD
    if _SUSPENDED & set(word):
        return JobState.SUSPENDED
    if {"r", "t"} & set(word):  # also "hr", whose hold is for the next time, and "t", which may have begun long ago
        return JobState.RUNNING
    if "h" in word and {"q", "w"} & set(word):
        return JobState.HELD
    return JobState.QUEUED if {"q", "w"} & set(word) else JobState.RUNNING


def _notes(text: str) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the scheduler's notes, by the id of the job that they are of, and those of no job."""
    own: dict[str, list[str]] = {}
    general: list[str] = []
    for part in text.split("</MES_message>")[:-1]:
        before, _, note = part.rpartition("<MES_message>")
        ids = _NOTED.findall(before)
        for notes in [own.setdefault(id, []) for id in ids] or [general]:
            notes.append(_plain(note))
    return own, tuple(general)


# ── qdel ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_cancel(id: JobId, result: CommandResult) -> None:
    """Raise unless qdel worked, or had nothing left to delete. It writes its errors to standard output.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    both = CommandResult(result.exit_code, b"", result.stdout + b"\n" + result.stderr)
    words = _words(both)
    if re.search(rf'job "?{id}"? does not exist|job {id} is already in deletion', words):
        return
    if not result.exit_code and re.search(rf"has (?:registered the|deleted) job {id}\b", words):
        return
    if _MAY_NOT_DELETE.search(both.complaint) and "access denied (client" not in words:
        raise CancelRefused(f"Grid Engine refused to cancel job {id}: {words}")
    if not result.exit_code:
        return
    maybe = any(sign in words for sign in _MAYBE_TAKEN) or result.exit_code > 128
    unreached = not maybe and any(sign in words for sign in _NOT_TAKEN)
    raise not_cancelled(id, who="Grid Engine", words=words, unreached=unreached, doubtful=not unreached)


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _whole(result: CommandResult, form: re.Pattern[str]) -> str:
    if result.exit_code:
        raise SchedulerUnavailable(f"Grid Engine could not be asked: {_words(result)}")
    found = form.search(result.text)
    if not found:
        end = result.text.strip()[-200:]
        raise SchedulerUnavailable(f"Grid Engine could not be asked: qstat printed no whole list, but ends in {end!r}")
    return found[0]


def _words(result: CommandResult) -> str:
    """Return what a command complained of, on one line."""
    return re.sub(r"^Unable to run job: | Exiting\.$", "", complaint_of(result))


def _field(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return _plain(found[1]) if found else ""


def _plain(text: str) -> str:
    return html.unescape(text).replace("%lt;", "<")


def _host(queue: str) -> tuple[str, ...]:
    """Return the host of a queue's instance: ``all.q@n1.site`` is on n1.site."""
    host = queue.rpartition("@")[2]
    return (host,) if "@" in queue and host else ()


def _moment(text: str) -> datetime | None:
    """Return a time in seconds since the epoch."""
    try:
        return datetime.fromtimestamp(int(text), UTC) if _NUMBER.fullmatch(text) else None
    except (OverflowError, ValueError, OSError):
        return None


def _time(text: str) -> datetime | None:
    """Return a time as qstat prints it under ``TZ=UTC``."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
