"""What sbatch, squeue and sacct print → ids, statuses, errors. Pure.

Sources: squeue(1), sacct(1), slurm_errno.c, and what Slurm 22.05.8 was seen to print.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched import reasons
from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.kit import by_token, complaint_of, last_line, not_cancelled, submitted
from fxsched_slurm import complaints
from fxsched_slurm.reasons import NOT_LAUNCHED, end_sentence, held, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fxsched.hosts import CommandResult

SQUEUE_FORMAT: Final = (
    "JobArrayID:|,State:|,SubmitTime:|,StartTime:|,EndTime:|,NodeList:|,RestartCnt:|,exit_code:|,Reason:|,"
    "StdOut:|,Name:"
)
"""What may hold anything comes last. Only this form has the exit code; its colons have each value as wide as it is."""
SACCT_FORMAT: Final = "JobID,User,State,ExitCode,Submit,Start,End,NodeList,JobName"

_HEADER: Final = re.compile(
    r"^JOBID\|STATE\|SUBMIT_TIME\|START_TIME\|END_TIME\|NODELIST\|RESTART_COUNT\|EXIT_CODE\|REASON\|STDOUT\|NAME\r?\n",
    re.MULTILINE,
)
_ID: Final = re.compile(r"(\d+)(?:;[\w.-]+)?", re.ASCII)
# 7, but also a task of the array 7 (7_1), those that wait (7_[2-9]), and a part of a heterogeneous job (7+0).
_ROW_ID: Final = re.compile(r"(\d+)(?:_\d+|_\[.*|\+\d+)?", re.ASCII)
_ROW_BEGIN: Final = re.compile(r"(\d+)(?:[_+][^|]*)?(?:\||$)", re.ASCII)
# The session's own directory, which is named after the token, has the output: a job that was renamed keeps that.
_OUTPUT: Final = re.compile(r"/([a-z2-7]{20})/job\.log\|")
_SPAN: Final = r"[0-9]{1,6}(?:-[0-9]{1,6})?"
_NODES: Final = re.compile(rf"([^\[\]]*)\[({_SPAN}(?:,{_SPAN})*)\]([^\[\]]*)")
_EXIT: Final = re.compile(r"(\d{1,5}):(\d{1,5})", re.ASCII)
_WAIT_STATUS: Final = re.compile(r"\d{1,5}", re.ASCII)
_SIGNALS: Final = 64
_NOT_LAUNCHED: Final = 53  # no signal: 22.05.8 says so of a job whose node or output could not be used
_SHOWN: Final = 200
_LIVELIEST: Final = (JobState.RUNNING, JobState.SUSPENDED, JobState.QUEUED, JobState.HELD, JobState.ENDED)

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


def parse_submit(result: CommandResult) -> JobId:
    """Return the id that ``sbatch --parsable`` printed on a line of its own, whatever else a site prints around it.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    found = last_line(_ID, result.text)
    said = complaints.of_submit(result)
    return submitted(
        JobId(found[1]) if found else None,
        result,
        who="Slurm",
        command="sbatch",
        words=complaint_of(result),
        unreached=said.unreached,
        doubtful=said.doubtful,
        refused=said.refused,
    )


def parse_squeue(rows: str) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``squeue -O SQUEUE_FORMAT``, with times in UTC.

    A row that bears an id, but cannot be read, keeps that job alive. A requeued job's time of submission is that of its
    requeue, and tells nothing.
    """
    found: dict[JobId, JobStatus] = {}
    unread: dict[JobId, str] = {}
    for line in rows.split("\n"):
        match line.split("|", 9):
            case [id, word, submit, start, end, nodes, restarts, exit, reason, tail] if _is_row(id, word):
                token, name = _named(tail)
                standing = _standing(word, start, end, nodes, reason, exit)
                first = _time(submit) if restarts == "0" else None
                _add(found, id, replace(standing, name=name, token=token, submitted_at=first))
            case _ if begin := _ROW_BEGIN.match(line):
                unread.setdefault(JobId(begin[1]), line)
    for base, line in unread.items():
        if base not in found:
            text = reasons.said("Slurm", line[:_SHOWN])
            found[base] = JobStatus(id=base, state=JobState.RUNNING, reason=text, source="squeue")
    return found


@lru_cache(maxsize=4096)
def _standing(word: str, start: str, end: str, nodes: str, reason: str, status: str) -> JobStatus:
    """Return how a job stands, whichever it is. Of many jobs in one list, many stand alike, or as they did before."""
    state, cause = _STATES.get(word, (JobState.RUNNING, None))
    if state is JobState.QUEUED and held(reason):
        state = JobState.HELD
    if cause is EndCause.FAILED and reason == "BadConstraints":
        cause = EndCause.REJECTED
    waiting, ended = state in (JobState.QUEUED, JobState.HELD), state is JobState.ENDED
    code, signal, text = _exit(cause, status)
    return JobStatus(
        id=JobId(""),
        state=state,
        native_state=word,
        cause=cause,
        reason=(text or end_sentence(reason)) if ended else sentence(reason, word),
        exit_code=code,
        signal=signal,
        nodes=() if waiting else expand_nodes(nodes),
        started_at=None if waiting else _time(start),
        ended_at=_time(end) if ended else None,
        expected_start=_time(start) if waiting else None,
        source="squeue",
    )


def parse_sacct(text: str, owner: str) -> dict[JobId, JobStatus]:
    """Return the status in each row of ``sacct -X -n -P -o SACCT_FORMAT`` of the owner's jobs, times in UTC."""
    found: dict[JobId, JobStatus] = {}
    for line in text.split("\n"):
        match line.split("|", 8):
            case [id, user, words, exit, submit, start, end, nodes, name] if user == owner and _is_row(
                id, words.partition(" ")[0]
            ):
                word = words.partition(" ")[0]  # "CANCELLED by 1003"
                state, cause = _STATES.get(word, (JobState.RUNNING, None))
                code, signal, reason = _exit(cause, exit)
                status = JobStatus(
                    id=JobId(""),
                    state=state,
                    name=name,
                    native_state=words,
                    cause=cause,
                    reason=reason,
                    exit_code=code,
                    signal=signal,
                    nodes=() if nodes == "None assigned" else expand_nodes(nodes),
                    submitted_at=_time(submit),
                    started_at=_time(start),
                    ended_at=_time(end) if state is JobState.ENDED else None,
                    source="sacct",
                )
                _add(found, id, status)
    return found


def tokens(jobs: Iterable[JobStatus]) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids of our jobs, by token, the lowest first; of an array, and of its like, the one of the whole."""
    named = ((status.id, f".{status.token}" if status.token else status.name) for status in jobs)
    return by_token((id, name) for id, name in named if "_" not in id)


def listing(result: CommandResult) -> str:
    """Return the rows that squeue printed below the header that was asked for, if it is a list to its last line feed.

    Only a whole list says that a job is *not* there. A wrapper's message, a login's banner or the first half of a list
    with exit status 0 would otherwise end sessions that live, and make twins of them. What cannot be the beginning of a
    row may stand behind it.

    Raises:
        SchedulerUnavailable: squeue failed, or printed something else.
    """
    check_answer(result)
    header = _HEADER.search(result.text)
    rows, feed, tail = result.text[header.end() :].rpartition("\n") if header else ("", "", "")
    if header is None or _ROW_BEGIN.match(tail):
        end = result.text.strip()[-_SHOWN:]
        raise SchedulerUnavailable(f"Slurm could not be asked: squeue printed no whole list, but ends in {end!r}")
    return rows + feed


def check_answer(result: CommandResult) -> None:
    """Raise unless a command that asks has answered.

    Raises:
        SchedulerUnavailable: it has not.
    """
    if result.exit_code:
        raise SchedulerUnavailable(f"Slurm could not be asked: {complaint_of(result)}")


def check_cancel(id: JobId, result: CommandResult) -> None:
    """Raise unless scancel worked, or had nothing left to cancel, about which it is silent or ends well all the same.

    Raises:
        CancelRefused, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    said = complaints.of_cancel(result)
    judged = said.doubtful or said.unreached or said.refused
    if not judged and (not result.exit_code or complaints.nothing_left(result)):
        return
    raise not_cancelled(
        id,
        who="Slurm",
        words=complaint_of(result),
        unreached=said.unreached,
        doubtful=said.doubtful or not judged,
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


def _is_row(id: str, word: str) -> bool:
    return _ROW_ID.fullmatch(id) is not None and word.isupper()


def _add(found: dict[JobId, JobStatus], row: str, status: JobStatus) -> None:
    """Enter a row's status for its own id, and for the job of which it is a part: that lives while any part does."""
    whole = re.split(r"[_+]", row, maxsplit=1)[0]
    for id in {whole, row} if "+" not in row and "[" not in row else {whole}:
        other = found.get(JobId(id))
        if other is None or _LIVELIEST.index(status.state) <= _LIVELIEST.index(other.state):
            found[JobId(id)] = replace(status, id=JobId(id))


def _named(tail: str) -> tuple[Token | None, str]:
    """Return the token in the path of the output, if it is there, and the name behind that path."""
    output = _OUTPUT.search(tail)
    if output:
        return Token(output[1]), tail[output.end() :]
    return None, tail.partition("|")[2]


def _exit(cause: EndCause | None, text: str) -> tuple[int | None, int | None, str]:
    """Return the exit code, or the signal, or why there is neither, of a job that ended by itself.

    Slurm 22.05.8 says JobLaunchFailure of every batch script that a signal ended; only here it tells them apart.
    sacct and scontrol print ``code:signal``, squeue prints the status of wait(2).
    """
    if cause not in (EndCause.COMPLETED, EndCause.FAILED):
        return None, None, ""
    if pair := _EXIT.fullmatch(text):
        code, signal = int(pair[1]), int(pair[2])
    elif _WAIT_STATUS.fullmatch(text):
        code, signal = int(text) >> 8, int(text) & 0x7F
    else:
        return None, None, ""
    if signal == _NOT_LAUNCHED:
        return None, None, NOT_LAUNCHED
    if signal:
        return None, signal if signal <= _SIGNALS else None, ""
    return code, None, ""


@lru_cache(maxsize=4096)
def _time(text: str) -> datetime | None:
    """Return a time that Slurm printed under ``TZ=UTC``; None for ``N/A``, ``Unknown`` and the like."""
    if not text[:1].isdigit():
        return None
    try:
        return datetime.fromisoformat(f"{text}Z")
    except ValueError:
        return None
