"""What sbatch, squeue and sacct print → ids, statuses, errors. Pure.

Sources: squeue(1), sacct(1), slurm_errno.c, and what Slurm 22.05.8 was seen to print.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import by_token, complaint_of, last_line, not_cancelled, submitted
from fxsched_slurm.reasons import held, sentence

if TYPE_CHECKING:
    from fxsched.hosts import CommandResult
    from fxsched.jobs import Token

SQUEUE_FORMAT: Final = "%i|%T|%V|%S|%e|%N|%r|%j"
"""Id, state, times of submission, (expected) start and end, nodes, reason; last the name, which may hold anything."""

NAMES_FORMAT: Final = "%i|%j"

SACCT_FORMAT: Final = "JobIDRaw,State,ExitCode,Submit,Start,End,NodeList,JobName"

_ID: Final = re.compile(r"(\d+)(?:;[\w.-]+)?", re.ASCII)
_ROW_ID: Final = re.compile(r"\d+(?:_\d+)?", re.ASCII)
_HEADER: Final = re.compile(r"^JOBID\|(?:.*\|)?NAME\n", re.MULTILINE)
_SPAN: Final = r"[0-9]{1,6}(?:-[0-9]{1,6})?"
_NODES: Final = re.compile(rf"([^\[\]]*)\[({_SPAN}(?:,{_SPAN})*)\]([^\[\]]*)")
_EXIT: Final = re.compile(r"(\d{1,5}):(\d{1,5})", re.ASCII)
_SIGNALS: Final = 64
_NOT_LAUNCHED: Final = "0:53"  # no signal: 22.05.8 says so of a job whose node or output could not be used

# Slurm's word → ours, and the cause of an end. A word that is not here is a live state.
_STATES: Final[dict[str, tuple[JobState, EndCause | None]]] = {
    "PENDING": (JobState.QUEUED, None),
    "CONFIGURING": (JobState.QUEUED, None),  # it has its nodes, but they are still booting
    "REQUEUED": (JobState.QUEUED, None),
    "REQUEUE_FED": (JobState.QUEUED, None),
    "REQUEUE_HOLD": (JobState.HELD, None),
    "SPECIAL_EXIT": (JobState.HELD, None),  # requeued and held because of its exit code
    "RESV_DEL_HOLD": (JobState.HELD, None),
    "RUNNING": (JobState.RUNNING, None),
    "COMPLETING": (JobState.RUNNING, None),  # processes or an epilog are still at work
    "STAGE_OUT": (JobState.RUNNING, None),
    "SIGNALING": (JobState.RUNNING, None),
    "RESIZING": (JobState.RUNNING, None),
    "SUSPENDED": (JobState.SUSPENDED, None),
    "STOPPED": (JobState.SUSPENDED, None),  # by SIGSTOP; it keeps its nodes
    "COMPLETED": (JobState.ENDED, EndCause.COMPLETED),
    "FAILED": (JobState.ENDED, EndCause.FAILED),
    "CANCELLED": (JobState.ENDED, EndCause.CANCELLED),
    "TIMEOUT": (JobState.ENDED, EndCause.WALLTIME),
    "DEADLINE": (JobState.ENDED, EndCause.WALLTIME),
    "OUT_OF_MEMORY": (JobState.ENDED, EndCause.MEMORY),
    "NODE_FAIL": (JobState.ENDED, EndCause.NODE_FAILURE),
    "BOOT_FAIL": (JobState.ENDED, EndCause.NODE_FAILURE),
    "PREEMPTED": (JobState.ENDED, EndCause.PREEMPTED),
}

# A command that says one of these may have worked: the request had been sent, or it is not said how far it came
# (slurm_errno.c). 22.05.8 says the first while its controller hangs, and runs the job when it goes on.
_MAYBE_TAKEN: Final = (
    "timed out",
    "Zero Bytes",
    "Unexpected message received",
    "Communication connection failure",
    "receive failure",
    "shutdown failure",
    "Connection reset",
    "Broken pipe",
    "Incomplete packet",
    "Header lengths are longer than data received",
    "Insane message length",
    "Unspecified error",
)
# These come before the whole request is sent, or with the controller's assurance that it took nothing.
_NOT_TAKEN: Final = (
    "Unable to contact slurm controller (connect failure)",
    "Unable to contact slurm controller (send failure)",
    "temporarily unable to accept job",
    "Resource temporarily unavailable",
    "Munge encode failed",
    "Invalid authentication credential",
    "Protocol authentication error",
    "fetch_config",
    "Could not establish a configuration source",
)


def parse_submit(result: CommandResult) -> JobId:
    """Return the id that ``sbatch --parsable`` printed on a line of its own, whatever else a site prints around it.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    found = last_line(_ID, result.text)
    words = complaint_of(result)
    return submitted(
        JobId(found[1]) if found else None,
        result,
        who="Slurm",
        command="sbatch",
        words=words,
        unreached=any(sign in words for sign in _NOT_TAKEN),
        doubtful=any(sign in words for sign in _MAYBE_TAKEN),
    )


def parse_squeue(text: str) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``squeue -o SQUEUE_FORMAT``, with times in UTC."""
    found = {}
    for line in text.splitlines():
        match line.split("|", 7):
            case [id, word, submit, start, end, nodes, reason, name] if _is_id(id) and word.isupper():
                standing = _standing(word, start, end, nodes, reason)
                found[JobId(id)] = replace(standing, id=JobId(id), name=name, submitted_at=_time(submit))
    return found


@lru_cache(maxsize=4096)
def _standing(word: str, start: str, end: str, nodes: str, reason: str) -> JobStatus:
    """Return how a job stands, whichever it is. Of many jobs in one list, many stand alike, or as they did before."""
    state, cause = _STATES.get(word, (JobState.RUNNING, None))
    if state is JobState.QUEUED and held(reason):
        state = JobState.HELD
    if cause is EndCause.FAILED and reason == "BadConstraints":
        cause = EndCause.REJECTED
    if cause is EndCause.CANCELLED and reason != "DependencyNeverSatisfied":
        reason = ""  # why it had waited until then
    waiting = state in (JobState.QUEUED, JobState.HELD)
    return JobStatus(
        id=JobId(""),
        state=state,
        native_state=word,
        cause=cause,
        reason=sentence(reason, word),
        nodes=() if waiting else expand_nodes(nodes),
        started_at=None if waiting else _time(start),
        ended_at=_time(end) if state is JobState.ENDED else None,
        expected_start=_time(start) if waiting else None,
        source="squeue",
    )


def parse_sacct(text: str) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``sacct -X -n -P -o SACCT_FORMAT``, with times in UTC."""
    found = {}
    for line in text.splitlines():
        match line.split("|", 7):
            case [id, words, exit_code, submit, start, end, nodes, name] if _ROW_ID.fullmatch(id) and words.strip():
                word = words.split()[0]  # "CANCELLED by 1003"
                state, cause = _STATES.get(word, (JobState.RUNNING, None))
                ended = state is JobState.ENDED
                exited = _EXIT.fullmatch(exit_code) if ended else None
                code, signal = map(int, exited.groups()) if exited else (None, None)
                found[JobId(id)] = JobStatus(
                    id=JobId(id),
                    state=state,
                    name=name,
                    native_state=words,
                    cause=cause,
                    reason=sentence("JobLaunchFailure", word) if ended and exit_code == _NOT_LAUNCHED else "",
                    exit_code=code,
                    signal=signal if signal and signal <= _SIGNALS and exit_code != _NOT_LAUNCHED else None,
                    nodes=() if nodes == "None assigned" else expand_nodes(nodes),
                    submitted_at=_time(submit),
                    started_at=_time(start),
                    ended_at=_time(end) if ended else None,
                    source="sacct",
                )
    return found


def parse_names(text: str) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids in the rows ``id|name`` whose name ends in a token, by that token, the lowest id first."""
    rows = (line.partition("|") for line in text.splitlines())
    return by_token((id, name) for id, _, name in rows if _ROW_ID.fullmatch(id))


def listing(result: CommandResult) -> str:
    """Return what squeue printed, if it is a list from its header to its last line feed.

    Only a whole list says that a job is *not* there. A wrapper's message, a login's banner or the first half of a list
    with exit status 0 would otherwise end sessions that live, and make twins of them.

    Raises:
        SchedulerUnavailable: squeue failed, or printed something else.
    """
    check_answer(result)
    if not _HEADER.search(result.text) or not result.text.endswith("\n"):
        end = result.text.strip()[-200:]
        raise SchedulerUnavailable(f"Slurm could not be asked: squeue printed no whole list, but ends in {end!r}")
    return result.text


def check_answer(result: CommandResult) -> None:
    """Raise unless a command that asks has answered.

    Raises:
        SchedulerUnavailable: it has not.
    """
    if result.exit_code:
        raise SchedulerUnavailable(f"Slurm could not be asked: {complaint_of(result)}")


def check_cancel(id: JobId, result: CommandResult) -> None:
    """Raise unless scancel worked, or had nothing left to cancel, about which it is silent.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    if not result.exit_code:
        return
    words = complaint_of(result)
    raise not_cancelled(
        id,
        who="Slurm",
        words=words,
        unreached=any(sign in words for sign in _NOT_TAKEN),
        doubtful=any(sign in words for sign in _MAYBE_TAKEN),
    )


def expand_nodes(text: str) -> tuple[str, ...]:
    """Return the names in Slurm's short form of a list: ``n[1-2,05-07],gpu3`` is n1 n2 n05 n06 n07 gpu3.

    A form that is not understood stays one name, as it stands.
    """
    names: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        found = _NODES.fullmatch(part)
        if not found:
            names.append(part)
            continue
        for span in found[2].split(","):
            first, _, last = span.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            names += [f"{found[1]}{number:0{len(first)}d}{found[3]}" for number in numbers]
    return tuple(names)


def _is_id(text: str) -> bool:
    return (text.isascii() and text.isdigit()) or _ROW_ID.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _time(text: str) -> datetime | None:
    """Return a time that Slurm printed under ``TZ=UTC``; None for ``N/A``, ``Unknown`` and the like."""
    if not text[:1].isdigit():
        return None
    try:
        return datetime.fromisoformat(f"{text}Z")
    except ValueError:
        return None
