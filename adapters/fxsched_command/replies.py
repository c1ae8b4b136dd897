"""What the described commands print → ids, statuses, errors, by the administrator's regular expressions. Pure.

Only whole lines are read: half an id is another job's. Only a list with its mark of completeness says that a job is not
there, and a line that cannot be read, but names the job, keeps it alive.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fxsched import reasons
from fxsched.errors import OutcomeUnknown, SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.kit import both_streams, not_cancelled, submitted, token_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fxsched.hosts import CommandResult
    from fxsched.jobs import Token
    from fxsched_command.options import Options

_SHOWN: Final = 200
_BY_SIGNAL: Final = range(129, 255)
_CUT: Final = 3
"""Characters of the token at the end of a shortened name that are no accident."""
_CAUSES: Final = frozenset(cause.value for cause in EndCause)
_WAITING: Final = (JobState.QUEUED, JobState.HELD)


class Answer(Struct, frozen=True):
    """What one status command said."""

    found: dict[JobId, JobStatus]
    one_is_unknown: bool
    """It said that a job is unknown, but not which: of those that are not ``found``, each must be asked for alone."""


def parse_submit(result: CommandResult, options: Options, who: str) -> JobId:
    """Return the id in the one line that tells it.

    Raises:
        SubmitRejected, SchedulerUnavailable: the administrator knows these words for certain.
        OutcomeUnknown: everything else, for a job may exist.
    """
    ids = {id for line in _lines(result.stdout) if (id := _id_in(line, options))}
    ids = ids or {id for line in _lines(result.stderr) if (id := _id_in(line, options))}
    if len(ids) > 1:
        raise OutcomeUnknown(f"{who} named {len(ids)} jobs: {', '.join(sorted(ids))}")
    return submitted(
        ids.pop() if ids else None,
        result,
        who=who,
        command="the submit command",
        words=_complaint(result),
        unreached=_says(result, options.unavailable),
        doubtful=_says(result, options.doubtful) or result.exit_code in _BY_SIGNAL,
        refused=_says(result, options.rejected),
    )


def parse_status(result: CommandResult, options: Options, ids: frozenset[JobId], who: str, owner: str = "") -> Answer:
    """Return what a list says of ``ids``: of each a status, or GONE, unless ``one_is_unknown``.

    A list that comes with an exit code other than zero counts only with a line that explains it, and then only for the
    jobs that it names. With an ``owner``, a row of somebody else's is none of ours.

    Raises:
        SchedulerUnavailable: it is no answer.
    """
    lines = _lines(result.stdout)
    said = [line.strip() for line in (*lines, *_lines(result.stderr))]
    rows, unread = _rows(lines, options, who, owner)
    matches = [match for pattern in options.gone for line in said if (match := re.fullmatch(pattern, line))]
    named = {JobId(match["id"].strip()) for match in matches if "id" in match.re.groupindex and match["id"]}
    unnamed = any("id" not in match.re.groupindex for match in matches)
    none = not rows and _has_line(said, options.empty)
    if result.exit_code and not (named or unnamed or none):
        raise SchedulerUnavailable(f"{who} could not be asked: {_complaint(result)}")

    found = {id: status for id in ids if (status := rows.get(id) or _of_tasks(id, rows))}
    for id in ids - found.keys():
        line = next(
            (line for line in unread if _mentions(line, id) and not _has_line([line], [options.complete])), None
        )
        if line is not None:
            text = reasons.said(who, line[:_SHOWN])
            found[id] = JobStatus(id=id, state=JobState.RUNNING, reason=text, source=who)
        elif id in named or none:
            found[id] = JobStatus(id=id, state=JobState.GONE, source=who)
    missing = ids - found.keys()
    if missing and unnamed and len(ids) > 1:
        return Answer(found, True)
    if missing and not unnamed:
        check_whole(result, options.complete, options.row, who)
    return Answer(found | {id: JobStatus(id=id, state=JobState.GONE, source=who) for id in missing}, False)


def parse_names(
    result: CommandResult, options: Options, who: str, token: Token | None = None, owner: str = ""
) -> list[tuple[str, str]]:
    """Return the id and the name in each row of a whole list; of a name that is the bare token, with a dot before it.

    Where the row has the token itself, that takes the name's place.

    Args:
        result: what the command left behind.
        options: how to read it.
        who: the scheduler, for messages.
        token: what is looked for. A line that has it, but cannot be read, is no answer.
        owner: whose rows are ours, where they say so.

    Raises:
        SchedulerUnavailable: it is no answer.
    """
    pattern = re.compile(options.find_row or options.row)
    lines = _lines(result.stdout)
    pairs = []
    for line in lines:
        match = pattern.fullmatch(line)
        id, name = _text(match, "id"), _text(match, "token") or _text(match, "name")
        if re.fullmatch(options.job_id, id):
            if not _is_foreign(match, owner):
                pairs.append((id, f".{name}"))
        elif token and token in line:
            raise SchedulerUnavailable(f"{who} has a job {token}, but its line is not understood: {line[:_SHOWN]!r}")
        cut = name.rpartition(".")[2]
        if token and len(cut) >= _CUT and cut != token and token.startswith(cut):
            raise SchedulerUnavailable(f"{who} cuts names short in this list, as in {name!r}: no job is found in it")
    if not pairs and _has_line([line.strip() for line in (*lines, *_lines(result.stderr))], options.empty):
        return []
    if result.exit_code:
        raise SchedulerUnavailable(f"{who} could not be asked: {_complaint(result)}")
    check_whole(result, options.find_complete or options.complete, options.find_row or options.row, who)
    return pairs


def check_whole(result: CommandResult, complete: str, row: str, who: str) -> None:
    """Raise unless a list ended well, with its last line feed, and has the line that only a whole one has.

    Where that line comes behind the rows, it is the last of the list, and what follows it is none of it.

    Raises:
        SchedulerUnavailable: it may have been cut off, or is no list at all.
    """
    if result.exit_code:
        raise SchedulerUnavailable(f"{who} could not be asked: {_complaint(result)}")
    lines = _lines(result.stdout)
    last = max((number for number, line in enumerate(lines) if re.fullmatch(complete, line)), default=None)
    closed = last is not None and _has_line(lines[:last], [row]) and not _has_line(lines[last + 1 :], [row])
    if last is None or not (closed or result.stdout.endswith(b"\n")):
        raise SchedulerUnavailable(f"{who} could not be asked: it printed no whole list, but ends in {_end(result)!r}")


def check_cancel(result: CommandResult, options: Options, id: JobId, who: str) -> None:
    """Raise unless a cancel worked, or had nothing left to do.

    Raises:
        CancelRefused, SchedulerUnavailable: the administrator knows these words for certain.
        OutcomeUnknown: everything else, for it may have worked.
    """
    if _says(result, options.already):
        return
    doubtful, denied = _says(result, options.doubtful), _says(result, options.denied)
    unreached = _says(result, options.unavailable)
    if not result.exit_code and not (doubtful or denied or unreached):
        return
    known = denied or unreached
    raise not_cancelled(id, who=who, words=_complaint(result), unreached=unreached, doubtful=doubtful or not known)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(lines: Sequence[str], options: Options, who: str, owner: str) -> tuple[dict[JobId, JobStatus], list[str]]:
    """Return the status in each row of ours, and the lines that are none."""
    pattern = re.compile(options.row)
    words = {word: state for state, own in options.states.items() for word in own}
    zone = _zone(options.zone)
    rows: dict[JobId, JobStatus] = {}
    unread = []
    for line in lines:
        match = pattern.fullmatch(line)
        id = JobId(_text(match, "id")) if match else JobId("")
        if match is None or not re.fullmatch(options.job_id, id) or not _text(match, "state"):
            unread.append(line)
            continue
        if _is_foreign(match, owner):
            continue
        status = _status(match, id, options, words, zone, who)
        # A name with a line feed in it can look like a row: of two that differ, the one that ends no session counts.
        if id not in rows or rows[id].state is JobState.ENDED:
            rows[id] = status
    return rows, unread


def _of_tasks(id: JobId, rows: dict[JobId, JobStatus]) -> JobStatus | None:
    """Return how the array ``id`` stands of which there are rows (``7[1]``): it lives while any of its tasks does."""
    tasks = [status for row, status in rows.items() if row.startswith(f"{id}[")]
    live = [status for status in tasks if status.state is not JobState.ENDED]
    return next((replace(status, id=id) for status in (*live, *tasks)), None)


def _is_foreign(match: re.Match[str] | None, owner: str) -> bool:
    return bool(owner) and _text(match, "owner") not in ("", owner)


def _status(
    match: re.Match[str], id: JobId, options: Options, words: dict[str, str], zone: tzinfo, who: str
) -> JobStatus:
    word, reason, name = (_text(match, group) for group in ("state", "reason", "name"))
    code, signal = (_number(_text(match, group)) for group in ("exit_code", "signal"))
    state, cause = _meaning(words.get(word, "running"), code)
    if state is JobState.QUEUED and reason in options.held_reasons:
        state = JobState.HELD
    ended, waiting = state is JobState.ENDED, state in _WAITING

    def moment(group: str) -> datetime | None:
        return _moment(_text(match, group), options.time_format, zone)

    if ended and reason in options.held_reasons:
        reason = ""  # why it had waited until then
    return JobStatus(
        id=id,
        state=state,
        # A name without a token is no job of ours, or is one that is cut short; the latter must not end a session.
        name=name if token_of(f".{name}") else "",
        token=token_of(f".{_text(match, 'token')}") or token_of(f".{name}"),
        native_state=word,
        reason=options.reasons[reason] if reason in options.reasons else reasons.said(who, reason),
        cause=cause,
        exit_code=code if ended else None,
        signal=signal or None if ended else None,
        nodes=() if waiting else tuple(re.findall(r"(?:[^,\s\[]|\[[^\]]*\])+", _text(match, "nodes"))),
        submitted_at=moment("submitted"),
        started_at=None if waiting else moment("started"),
        ended_at=moment("ended") if ended else None,
        expected_start=moment("expected") if waiting else None,
        source=who,
    )


def _meaning(state: str, exit_code: int | None) -> tuple[JobState, EndCause | None]:
    """Return what a key of the option ``states`` means."""
    if state in _CAUSES:
        return JobState.ENDED, EndCause(state)
    if state != JobState.ENDED:
        return JobState(state), None
    if exit_code is None:
        return JobState.ENDED, EndCause.UNKNOWN
    return JobState.ENDED, EndCause.FAILED if exit_code else EndCause.COMPLETED


# ── text ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _lines(output: bytes) -> list[str]:
    """Return the whole lines; what follows the last line feed is none."""
    return [line.rstrip("\r") for line in output.decode("utf-8", "replace").split("\n")[:-1]]


def _id_in(line: str, options: Options) -> JobId | None:
    match = re.fullmatch(options.id, line.strip())
    if match is None:
        return None
    id = (match["id" if "id" in match.re.groupindex else 1] or "").strip()
    return JobId(id) if re.fullmatch(options.job_id, id) else None


def _says(result: CommandResult, patterns: Iterable[str]) -> bool:
    text = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace")
    return any(re.search(pattern, text, re.MULTILINE) for pattern in patterns)


def _has_line(lines: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, line) for pattern in patterns for line in lines)


def _mentions(line: str, id: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(id)}(?![A-Za-z0-9])", line) is not None


def _complaint(result: CommandResult) -> str:
    """Return all that a command said, on one line: what of it is a complaint, or a mere prefix, nobody knows here."""
    return both_streams(result) or f"exit code {result.exit_code}"


def _end(result: CommandResult) -> str:
    return result.text.strip()[-_SHOWN:]


def _text(match: re.Match[str] | None, group: str) -> str:
    if match is None or group not in match.re.groupindex:
        return ""
    return (match[group] or "").strip()


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _moment(text: str, form: str, zone: tzinfo) -> datetime | None:
    """Return a time; None for what is none, such as ``N/A``."""
    try:
        if form:
            time = datetime.strptime(text, form)
        elif re.fullmatch(r"[0-9]{1,11}", text):
            return datetime.fromtimestamp(int(text), UTC) if int(text) else None
        else:
            time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
