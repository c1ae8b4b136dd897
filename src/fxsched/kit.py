"""What adapters' translations have in common. Pure."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Final

from fxsched.errors import CancelRefused, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.jobs import JobId, Resources, Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fxsched.hosts import CommandResult
    from fxsched.jobs import JobSpec

_TOKEN_AT_END: Final = re.compile(r"\.([a-z2-7]{20})$")

# Words of a program that never came so far as to ask: what it needs on its own machine is broken.
_NEVER_RAN: Final = (
    "error while loading shared libraries",
    "symbol lookup error",
    "bad interpreter",
    "cannot execute binary file",
    "Exec format error",
)
_TAKEN: Final = "has been submitted"

_PLACE: Final = """\
#!/bin/sh
n=0; until cd -- {directory} 2>/dev/null || [ "$n" -ge 60 ]; do n=$((n + 1)); sleep 1; done; unset n
if ( umask 077; : >>{output} ) 2>/dev/null; then exec >>{output} 2>&1; fi
"""


def token_of(name: str) -> Token | None:
    """Return the token at the end of a job's name (``JobSpec.job_name``); None if it is no job of ours."""
    found = _TOKEN_AT_END.search(name)
    return Token(found[1]) if found else None


def by_token(jobs: Iterable[tuple[str, str]]) -> dict[Token, tuple[JobId, ...]]:
    """Return the ids of our jobs among pairs of id and name, by token; the shortest and lowest id first."""
    found: dict[Token, tuple[JobId, ...]] = {}
    for id, name in jobs:
        token = token_of(name)
        if token:
            found[token] = (*found.get(token, ()), JobId(id))
    return {token: tuple(sorted(ids, key=lambda id: (len(id), id))) for token, ids in found.items()}


def complaint_of(result: CommandResult) -> str:
    """Return what a command complained of, on one line, without its own prefixes (``sbatch: error: ``)."""
    lines = [re.sub(r"^\w+: (?:error: |fatal: )?", "", line.strip()) for line in result.complaint.splitlines()]
    return " ".join(line for line in lines if line) or f"exit code {result.exit_code}"


def both_streams(result: CommandResult) -> str:
    """Return all that a command printed, on one line: a site's wrapper may complain on standard output."""
    return " ".join(f"{result.stderr.decode('utf-8', 'replace')} {result.text}".split())


def last_line(form: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return the last whole line that has this form, whatever a site prints around it: half an id is another job's."""
    found = (form.fullmatch(line.strip()) for line in reversed(text.split("\n")[:-1]))
    return next(filter(None, found), None)


def submitted(
    id: JobId | None,
    result: CommandResult,
    *,
    who: str,
    command: str,
    words: str,
    unreached: bool,
    doubtful: bool,
    refused: bool = True,
    signals: range = range(129, 193),
) -> JobId:
    """Return the id of a submit that worked, or say what is certain of one that did not.

    Args:
        id: what the command printed.
        result: what it left behind.
        who: the scheduler, as messages have it.
        command: what the scheduler's submit command is called.
        words: what the command complained of.
        unreached: its words say that nothing was asked for.
        doubtful: they leave open whether the scheduler took the job.
        refused: they judge the request. A failure alone judges nothing.
        signals: exit codes that stand for a signal.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell. One that says nothing leaves it open.
    """
    if not result.exit_code:
        if id is not None:
            return id
        raise OutcomeUnknown(f"{command} ended well, but printed no job id: {both_streams(result)[:400]!r}")
    if id is not None:  # with an option such as --wait, the command ends as the job does
        raise OutcomeUnknown(f"{command} ended with exit code {result.exit_code}, but after it had printed {id}")
    if doubtful or _TAKEN in both_streams(result):
        raise OutcomeUnknown(f"{who} did not confirm the job: {words}")
    if unreached or _never_ran(words):
        raise SchedulerUnavailable(f"{who} cannot be reached: {words.removesuffix('.')}. No job was submitted")
    if result.exit_code in signals:
        raise OutcomeUnknown(f"{command} was killed by signal {result.exit_code - 128}")
    if not result.complaint:
        raise OutcomeUnknown(f"{command} ended with exit code {result.exit_code} and did not say why")
    if not refused:
        raise OutcomeUnknown(f"{who} did not confirm the job: {words}")
    raise SubmitRejected(f"{who} refused the job: {words}")


def not_cancelled(id: JobId, *, who: str, words: str, unreached: bool, doubtful: bool) -> Exception:
    """Return the error for a cancel that failed: its words say that nothing was asked for, leave it open, or refuse."""
    never_ran = _never_ran(words)
    if doubtful and not never_ran:
        return OutcomeUnknown(f"{who} did not confirm that it cancels job {id}: {words}")
    if unreached or never_ran:
        return SchedulerUnavailable(f"{who} cannot be reached: {words.removesuffix('.')}. Nothing was cancelled")
    return CancelRefused(f"{who} refused to cancel job {id}: {words}")


def short_options(words: Iterable[str], letters: str) -> Iterator[tuple[str, str]]:
    """Yield the options in ``words`` as getopt(3) reads them, each by its letter and with its value.

    ``-hN x`` is ``-h`` and ``-N x``. A word that is no option's comes without a letter; a long option is its own.

    Args:
        words: of a command line.
        letters: the options that there are, as getopt has them: one with a value is followed by a colon.
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flags = ""
        if word.startswith("--"):
            yield word, ""
        elif word.startswith("-") and word != "-":
            flags = word[1:]
        else:
            yield "", word
        while flags:
            letter, flags = flags[0], flags[1:]
            if f"{letter}:" in letters:
                yield letter, flags or (rest.pop(0) if rest else "")
                break
            yield letter, ""


def script_in_place(spec: JobSpec) -> bytes:
    """Return the script behind a few lines that take it to its directory and its output.

    For schedulers that have no way for these that takes any path. Both are the session's own, and the script names the
    directory itself: nothing of the request. The lines come first, and are no comments, so that no line behind them is
    read as a scheduler's directive. The output is its owner's alone, and what is in it stays: a job may run again. An
    NFS client may take a while to see a new directory.
    """
    directory = quote(spec.working_directory) if spec.working_directory else '"$HOME"'
    return _PLACE.format(directory=directory, output=quote(spec.output or "/dev/null")).encode() + spec.script


def refuse(spec: JobSpec, *fields: str, whose: str) -> None:
    """Refuse a spec that asks for something in ``fields``, of ``JobSpec`` or ``Resources``, rather than drop it.

    Args:
        spec: what is asked for.
        fields: what cannot be granted.
        whose: who cannot, as the message has it: "a host without a scheduler".

    Raises:
        SubmitRejected: it asks for one of them.
    """
    plain = Resources()
    asked = [name for name in fields if name in plain.__struct_fields__ and _asks(spec.resources, plain, name)]
    asked += [name for name in fields if name not in plain.__struct_fields__ and getattr(spec, name)]
    if asked:
        raise SubmitRejected(
            f"{whose} cannot grant {', '.join(asked)}: remove it from the profile, or name a cluster that can"
        )


def _asks(needs: Resources, plain: Resources, name: str) -> bool:
    return bool(getattr(needs, name) != getattr(plain, name))


def _never_ran(words: str) -> bool:
    return any(sign in words for sign in _NEVER_RAN)
