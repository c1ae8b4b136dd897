"""A session's own directory: written through the host before the submit, read while the job lives, emptied at its end.

It stands under the user's home on the host, ``~/.local/state/fxsched/sessions/TOKEN``, readable by its owner only:

    command     what runs: environment, secrets and command, as one sh file
    unsettled   there while its submitter does not count on the job yet: until when it may
    unwanted    there if no session is wanted any more
    stdin       what the command reads
    lock        the id of the job that has the session
    started     the job's own report of its start: id, node, time
    output      what the command printed on standard output
    job.log     what the scheduler, the job script and the command had to say besides
    ended       the end marker: exit code, time

Everything goes through ``Host.run`` and a constant POSIX sh script; or, where the host's home directory is at hand as
plain files, through ``here``, which starts no process.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, TypeVarTuple

import anyio
from anyio import to_thread
from msgspec import Struct

from fxsched.errors import HostError, HostUnreachable, OutcomeUnknown
from fxsched.jobs import JobId
from fxsched.session import here
from fxsched.session.scripts import render_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fxsched.hosts import CommandResult, Host
    from fxsched.jobs import JobSpec, Token

T = TypeVar("T")
A = TypeVarTuple("A")

LOG: Final = "job.log"
DEADLINE: Final = 20.0
"""Seconds for a few small files; a home directory that hangs on NFS takes longer, and is better reported."""

_PLACE: Final = ".local/state/fxsched/sessions"
_ROOT: Final = f"d=${{HOME:?is not set}}/{_PLACE}/$1\n"

# Standard input comes first, in $2 bytes, and the command last: the job waits for it. $3 is for the file unsettled.
# Every program costs the user a millisecond, so there are no more than needed.
_STAGE: Final = (
    _ROOT
    + r"""
umask 077
r=${d%/*}
[ -d "$r" ] || mkdir -p "$r" || exit
if [ ! -O "$r" ] || [ -L "$r" ]; then
    echo "$r belongs to somebody else, or is a link" >&2
    exit 1
fi
mkdir "$d" || exit
[ -z "$3" ] || echo "$3" >"$d/unsettled" || { rm -rf "$d"; exit 1; }
head -c "$2" >"$d/stdin" && cat >"$d/command" && printf %s "$d" && exit
rm -rf "$d"
exit 1
"""
)

# Listing the directory makes an NFS client look again for files that it believes not to be there. What cannot be seen
# is not what is not there: then the question has failed.
_READ: Final = (
    _ROOT
    + r"""
e=$(LC_ALL=C ls "$d" 2>&1 >/dev/null) || case $e in
*'No such file'* | *'Not a directory'*) ;;
*) printf '%s\n' "$e" >&2; exit 1 ;;
esac
for f in started ended; do
    [ -e "$d/$f" ] || continue
    [ -f "$d/$f" ] && [ -r "$d/$f" ] || { printf '%s\n' "$d/$f: it is no regular file, or not readable" >&2; exit 1; }
    if read -r line <"$d/$f"; then printf '%s %s\n' "$f" "$line"; fi
done
for f in output job.log; do
    [ -f "$d/$f" ] && n=$(wc -c 2>/dev/null <"$d/$f") || continue
    [ "$n" -le 65536 ] || n=65536
    printf '%s %s\n' "$f" "$((n))"
    tail -c "$n" "$d/$f"
done
"""
)

_SETTLE: Final = _ROOT + 'rm -f "$d/unsettled"\n'
_FORBID: Final = (
    _ROOT
    + r"""
[ -d "$d" ] || exit 0
umask 077
: >"$d/unwanted"
"""
)
_DISCARD: Final = _ROOT + 'rm -f "$d/command" "$d/stdin"\n'
_REMOVE: Final = _ROOT + 'rm -rf "$d"\n'


class Report(Struct, frozen=True, kw_only=True):
    """What the job itself says of its session."""

    job: JobId | None = None
    node: str = ""
    started_at: datetime | None = None
    exit_code: int | None = None
    ended_at: datetime | None = None
    output: bytes = b""
    """The last 64 KiB of the command's standard output."""
    log: bytes = b""
    """The last 64 KiB of everything else that was said."""

    @property
    def started(self) -> bool:
        """Whether the job script has started the command."""
        return self.started_at is not None


class After(Protocol):
    """Does what must come before, and then, in the same thread, ``write``; or nothing of both: see ``GroupCommit``."""

    async def __call__(self, write: Callable[[], None], undo: Callable[[], None], /) -> None: ...


async def stage(host: Host, spec: JobSpec, *, until: int | None = None, after: After | None = None) -> str:
    """Write the session's directory and return its absolute path on the host.

    Args:
        host: where.
        spec: the session.
        until: the submission is *unsettled* until :func:`settle`: a job waits for that, but only until that moment
            (seconds since 1970), and then ends without a session. None: its job may start the session at once.
        after: what comes before the first file.

    Raises:
        HostUnreachable: it could not be written. Nothing was submitted, and nothing is left where we can reach it.
    """
    command = render_command(spec)
    if after is None:
        after = _at_once
    if host.home is None:
        with _answering(host, "the state directory", shield=True):
            await after(_nothing, _nothing)
        return await _stage_far(host, spec, command, until)
    directory = host.home / _PLACE / spec.token
    # A thread left to itself would write after its caller has tidied up.
    with _answering(host, f"the home directory on {host.label}", shield=True):
        await after(partial(here.stage, directory, command, spec.stdin, until), partial(here.remove, directory))
    return str(directory)


async def _at_once(write: Callable[[], None], _: Callable[[], None]) -> None:
    await to_thread.run_sync(write)


def _nothing() -> None:
    pass


async def _stage_far(host: Host, spec: JobSpec, command: bytes, until: int | None) -> str:
    arguments = (str(len(spec.stdin)), "" if until is None else str(until))
    try:
        result = await _ask(host, _STAGE, spec.token, *arguments, stdin=spec.stdin + command)
    except BaseException:  # it may be written, or half of it
        with anyio.CancelScope(shield=True), suppress(HostError):
            await remove(host, spec.token)
        raise
    return _text(host, result)


async def read(host: Host, token: Token) -> Report:
    """Return the job's own report; it is empty while the job has not run, and for a token that is not known.

    Raises:
        HostUnreachable: it could not be read.
    """
    if host.home is not None:
        return parse_report(await _here(host, here.read, host.home / _PLACE / token))
    text = await _run(host, _READ, token)
    return parse_report(text.encode("utf-8", "surrogateescape"))


async def settle(host: Host, token: Token) -> None:
    """Let the job of a submission that was unsettled start its session.

    Raises:
        HostUnreachable: it may never start it.
    """
    if host.home is not None:
        await _here(host, here.settle, host.home / _PLACE / token)
    else:
        await _run(host, _SETTLE, token)


async def forbid(host: Host, token: Token) -> None:
    """Let no job start the session any more. One that has started it is not touched.

    Raises:
        HostUnreachable: it may start it.
    """
    if host.home is not None:
        await _here(host, here.forbid, host.home / _PLACE / token)
    else:
        await _run(host, _FORBID, token)


async def discard(host: Host, token: Token) -> None:
    """Remove what is private of an ended session; its reports and output stay until :func:`remove`."""
    if host.home is not None:
        await _here(host, here.discard, host.home / _PLACE / token)
    else:
        await _run(host, _DISCARD, token)


async def remove(host: Host, token: Token) -> None:
    """Remove the session's directory."""
    if host.home is not None:
        await _here(host, here.remove, host.home / _PLACE / token)
    else:
        await _run(host, _REMOVE, token)


def parse_report(text: bytes) -> Report:
    """Read the reply of the script behind :func:`read`. Half a report counts as none: it will be whole next time."""
    fields: dict[str, object] = {}
    while text:
        line, _, text = text.partition(b"\n")
        kind, *words = line.decode("ascii", "replace").split() or [""]
        match kind, words:
            case "started", [job, node, seconds] if _is_number(seconds):
                fields |= {"job": JobId(job), "node": node, "started_at": _time(seconds)}
            case "ended", [code, seconds] if _is_number(code) and _is_number(seconds):
                fields |= {"exit_code": int(code), "ended_at": _time(seconds)}
            case "output" | "job.log", [size] if _is_number(size):
                fields["output" if kind == "output" else "log"] = text[: int(size)]
                text = text[int(size) :]
    return Report(**fields)  # type: ignore[arg-type]  # built from the patterns above


def _is_number(word: str) -> bool:
    return word.isdigit() and len(word) <= 11


def _time(seconds: str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


async def _here(host: Host, function: Callable[[*A], T], *arguments: *A) -> T:
    with _answering(host, f"the home directory on {host.label}"):
        return await to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


@contextmanager
def _answering(host: Host, what: str, *, shield: bool = False) -> Iterator[None]:
    """Let files on the host be out of reach if they cannot be used, or ``what`` holds them does not answer in time."""
    try:
        with anyio.fail_after(DEADLINE, shield=shield):
            yield
    except TimeoutError:
        raise HostUnreachable(f"{what} does not answer within {DEADLINE:g} s") from None
    except OSError as error:
        place = error.filename or "it"
        raise HostUnreachable(
            f"the session's directory cannot be used on {host.label}: {place}: {error.strerror}"
        ) from error


async def _run(host: Host, script: str, token: Token) -> str:
    return _text(host, await _ask(host, script, token))


async def _ask(host: Host, script: str, token: Token, *arguments: str, stdin: bytes = b"") -> CommandResult:
    argv = ["/bin/sh", "-c", script, "fxsched", token, *arguments]
    try:
        return await host.run(argv, stdin=stdin, deadline=DEADLINE)
    except OutcomeUnknown as error:
        raise HostUnreachable(f"the home directory on {host.label} does not answer: {error}") from error


def _text(host: Host, result: CommandResult) -> str:
    if result.exit_code:
        raise HostUnreachable(f"the session's directory cannot be used on {host.label}: {result.complaint}")
    return result.stdout.decode("utf-8", "surrogateescape")
