"""What is known of a new session → what the launcher prints for the user, and its exit code. Pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from fxsched.jobs import JobState
from fxsched.sentences import end_sentence, wait_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fxsched.cluster.cluster import Job
    from fxsched.cluster.starting import Start
    from fxsched.jobs import Secret
    from fxsched.session.directory import Report

TAIL_LINES: Final = 15

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Reply(Struct, frozen=True):
    """What the launcher leaves behind."""

    text: str
    exit_code: int = 0
    record: str = ""
    """What the log says in place of the text, where that is between the start script and FastX."""


def session_result(output: bytes) -> str | None:
    """Return the JSON object with a ``result`` member that a start script printed: FastX reads it as "has started".

    It is returned as it was printed: what stands under ``result`` is between the start script and FastX.
    """
    for text in (output, *output.splitlines()):
        if b'"result"' not in text:
            continue
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and "result" in value:
            return text.decode("utf-8", "replace").strip()
    return None


def is_ready(report: Report) -> bool:
    """Whether the start script has said all that its user waits for."""
    return report.started and session_result(report.output) is not None


def submitted(name: str, job: Job) -> Reply:
    """Return the reply for a job that nobody waits for."""
    return Reply(f'The session "{_plain(name)}" has been submitted as job {job.id} on {job.cluster}.')


def reply(name: str, job: Job, start: Start, secrets: Iterable[Secret] = ()) -> Reply:
    """Return the reply for a job whose first seconds were watched.

    Args:
        name: the session's.
        job: what was submitted.
        start: what is known of it.
        secrets: what must not be shown even if the start script printed it.
    """
    status, report = start.status, start.report
    where = f'The session "{_plain(name)}" (job {job.id} on {job.cluster})'
    if status is not None and status.state is JobState.ENDED:
        output = _tail(report, secrets)
        said = f" Its output ends so:\n{output}" if output else " It printed nothing."
        return Reply(f"{where} ended: {end_sentence(status)}.{said}", 1)
    result = session_result(report.output)
    if result is not None:
        return Reply(result, record=f"{where} has started: its start script printed a result")
    if report.started:
        return Reply(f"{where} has started on {report.node}.")
    if status is None:
        return Reply(f"{where} has been submitted. How it stands cannot be told: {start.trouble}")
    if status.state is JobState.RUNNING:
        on = f" on {', '.join(status.nodes)}" if status.nodes else ""
        return Reply(f"{where} is running{on} and will be there in a moment.")
    return Reply(f"{where} {wait_sentence(status)}")


def _tail(report: Report, secrets: Iterable[Secret]) -> str:
    text = (report.output + report.log).decode("utf-8", "replace")
    for secret in secrets:
        if secret.reveal():
            text = text.replace(secret.reveal(), "***")
    return "\n".join(_UNPRINTABLE.sub("", text).strip().splitlines()[-TAIL_LINES:])


def _plain(name: str) -> str:
    """Return a session's name without what would upset a terminal or break the line."""
    return " ".join(_UNPRINTABLE.sub("", name).split())
