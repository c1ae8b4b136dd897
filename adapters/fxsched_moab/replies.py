"""What msub, showq, checkjob and canceljob print → what was answered, or an error. Pure.

Sources: Moab's administrator guide, output of ``showq --xml`` and ``msub --xml`` that Moab's users have published, and
recorded output of Maui 3.5. Moab itself could not be run.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import JobId, JobState, JobStatus
from fxsched.kit import both_streams, complaint_of, last_line, not_cancelled, submitted
from fxsched.reasons import said
from fxsched_moab.ids import MOAB_ID
from fxsched_moab.reasons import TRYING_AGAIN, of_hindrance, of_state

if TYPE_CHECKING:
    from fxsched.hosts import CommandResult

_ID_LINE: Final = re.compile(MOAB_ID, re.ASCII)
_ID_TAG: Final = re.compile(rf'<job\s(?:[^<>]*\s)?JobID="({MOAB_ID})"[^<>]*>', re.ASCII)
# In lower case. A command that says one of these never sent its request: Moab is out of reach, or something is amiss on
# the client's own machine. Maui 3.5 says "cannot request service" too when its server is down.
_NOT_TAKEN: Final = (
    "cannot send request to server",
    "server may not be running",
    "cannot connect to",
    "couldn't connect to",
    "unable to communicate with",
    "unable to contact",
    "connection refused",
    "server shutting down",
    "invalid credential",
    "trqauthd",
    "pbs_iff",
    "munge",
    "cannot open",
    "cannot load",
    "configuration file",
)
# Moab, or the resource manager in its own words, has looked at the request, and will not have it. Moab's own are not
# known; these are what both managers, and what its users have published, have in common.
_REFUSED: Final = re.compile(
    r"""\b(?:
        invalid\ (?!request|job\ credential) | illegal | undefined | unrecognized | usage:
        | unknown\ (?:queue|resource|node|class|account|user) | no\ such | no\ default | does\ not\ exist
        | not\ authori[sz]ed | unauthori[sz]ed | not\ permitted | not\ allowed | denied | permission | rejected
        | violates | exceeds? | more\ .+\ than\ permitted | maximum\ number | limit\ reached
        | not\ enabled | not\ available | does\ not\ allow | cannot\ be\ (?:used|satisfied|met)
    )""",
    re.VERBOSE,
)
_CANCEL_REFUSED: Final = ("not authorized", "denied", "permission", "not permitted", "not allowed", "usage:")
_CREATED: Final = re.compile(r"\b(?:\d+(?:\[\d*\])?\.[A-Za-z]|Moab\.\d)", re.ASCII)
_NO_SUCH_JOB: Final = ("cannot locate job", "invalid job specified")


# ── msub ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_submit(result: CommandResult) -> str:
    """Return the id that ``msub --xml`` printed, in a tag, or on a line of its own where it does not know ``--xml``.

    Raises:
        SubmitRejected, SchedulerUnavailable, OutcomeUnknown: as its words tell.
    """
    tags = _ID_TAG.findall(result.text)
    line = last_line(_ID_LINE, result.text)
    words = both_streams(result)
    unreached = _has(_NOT_TAKEN, words)
    return submitted(
        JobId(tags[-1]) if tags else JobId(line[0]) if line else None,
        result,
        who="Moab",
        command="msub",
        words=_plain(result),
        unreached=unreached,
        doubtful=_CREATED.search(words) is not None and not unreached,
        refused=_REFUSED.search(words.lower()) is not None,
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
    # Noise may stand behind the mark that closes the list: each "<" in it is escaped.
    if missing or "<Data>" not in text or text.rfind("</Data>") < text.rfind("<queue"):
        end = text.strip()[-200:]
        raise SchedulerUnavailable(f"Moab could not be asked: showq printed no whole list, but ends in {end!r}")
    return text


def check_answer(result: CommandResult) -> None:
    """Raise unless a command that asks has answered.

    Raises:
        SchedulerUnavailable: it has not.
    """
    if result.exit_code:
        raise SchedulerUnavailable(f"Moab could not be asked: {complaint_of(result)}")


def is_forbidden(result: CommandResult) -> bool:
    """Whether the user may not run the command so: Maui 3.5 says it of ``showq -r``."""
    return bool(result.exit_code) and "not authorized to run this command" in complaint_of(result)


# ── checkjob ──────────────────────────────────────────────────────────────────────────────────────────────────────

_STATE_LINE: Final = re.compile(r"^State: (\w+)(?: +EState: (\w+))?", re.MULTILINE | re.ASCII)
_DEFERRED: Final = re.compile(r"^job is deferred\. +Reason: +(.*?)\s*$", re.MULTILINE)
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
    if result.exit_code and not any(sign in complaint_of(result) for sign in _NO_SUCH_JOB):
        raise SchedulerUnavailable(f"Maui could not be asked: {complaint_of(result)}")
    if result.exit_code or not state:
        return status
    if "Deferred" in state.groups():
        why = _DEFERRED.search(text)
        reason = f"{TRYING_AGAIN} {said('Maui', why[1])}" if why else TRYING_AGAIN
        return replace(status, state=JobState.HELD, native_state="Deferred", reason=reason)
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
    words = both_streams(result)
    if re.search(r"\bjob '[^']*' cancelled\b", words):
        return True
    if _has(_NO_SUCH_JOB, words):
        return False
    unreached, refused = _has(_NOT_TAKEN, words), _has(_CANCEL_REFUSED, words)
    raise not_cancelled(
        id, who="Moab", words=_plain(result), unreached=unreached, doubtful=not refused and not unreached
    )


def _plain(result: CommandResult) -> str:
    """Return what a command said on both streams, on one line, without its own prefixes."""
    return complaint_of(replace(result, stderr=b"\n".join((result.stderr, result.stdout)), stdout=b""))


def _has(signs: tuple[str, ...], words: str) -> bool:
    return any(sign in words.lower() for sign in signs)
