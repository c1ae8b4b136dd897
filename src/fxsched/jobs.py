"""What is submitted and what is known of it: plain values, no behaviour, no I/O.

*Spec* is what we submit, *job* is what the scheduler has. Times are aware UTC datetimes, sizes are bytes, durations
are seconds.
"""

from __future__ import annotations

import base64
import os
import re
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, NewType

from msgspec import Meta, Struct

from fxsched.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

JobId = NewType("JobId", str)
"""A job's name at its scheduler, exactly as the scheduler's commands take it back: ``4217``, ``123.server``."""

Token = NewType("Token", str)
"""A submission's own name, made before the scheduler hears of it: 20 characters of ``[a-z2-7]``, never used twice."""

Moment = Annotated[datetime, Meta(tz=True)]
"""A point in time. One without a zone, which a file may hold after damage, is refused: it compares with nothing."""

_TOKEN: Final = re.compile(r"[a-z2-7]{20}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LABEL_LENGTH: Final = 40


class JobState(StrEnum):
    """Where a job stands. Only ENDED is an end; GONE is an answer about the scheduler's memory, not about the job."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDED = "ended"
    GONE = "gone"


class EndCause(StrEnum):
    """Why a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WALLTIME = "walltime"
    MEMORY = "memory"
    NODE_FAILURE = "node_failure"
    PREEMPTED = "preempted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class SessionWait(StrEnum):
    """How the job stays alive for the session's whole life."""

    FOREGROUND = "foreground"
    """The command itself stays until the session ends."""

    PROCESSES = "processes"
    """The command returns at once; the job waits for the processes that carry its token in their environment."""


class Secret:
    """A string that no message, log, traceback or ``repr`` shows; only :meth:`reveal` gives it out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret. Call it only where it is written to its destination."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not serialised")


class Resources(Struct, frozen=True, kw_only=True):
    """What a job needs. Everything is per node, except walltime."""

    nodes: int = 1
    cores: int = 1
    memory: int | None = None
    """Bytes on each node; None leaves it to the scheduler."""
    gpus: int = 0
    walltime: int | None = None
    """Seconds; None leaves it to the queue."""

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("cores", 1), ("memory", 1), ("gpus", 0), ("walltime", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidRequest(f"{name} is {value}, but must be at least {least}")


class JobSpec(Struct, frozen=True, kw_only=True):
    """One job to submit.

    The upper fields are the caller's and private to the session. A ``Cluster`` writes them into the session's own
    directory, and hands its adapter a spec in which they are empty and ``script`` is filled in: an adapter cannot
    leak what it never sees.
    """

    token: Token
    name: str = "session"
    """What people call the session: any text on one line. The scheduler gets :attr:`job_name`."""

    command: tuple[str, ...] = ()
    """The program and its arguments."""
    body: str = ""
    """A POSIX sh script (or one for the shell of sh's family in its ``#!`` line) to run in place of ``command``."""
    stdin: bytes = b""
    environment: Mapping[str, str] = MappingProxyType({})
    secrets: Mapping[str, Secret] = MappingProxyType({})
    wait_for_session: SessionWait = SessionWait.FOREGROUND

    script: bytes = b""
    """The job script that the scheduler must run. Nothing in it is private, and nothing of the request is in it."""
    working_directory: str | None = None
    """Where the job starts: for the caller the command's directory, for an adapter the session's."""
    output: str | None = None
    """Where output goes: for the caller the command's, for an adapter what the scheduler and the script say."""

    resources: Resources = Resources()
    queue: str | None = None
    """The queue, called partition in Slurm."""
    account: str | None = None
    qos: str | None = None
    reservation: str | None = None
    constraint: str | None = None
    exclusive: bool = False
    requeue: bool = False
    """Whether the scheduler may run the job again by itself, after its node failed or it had to make room."""
    native: tuple[str, ...] = ()
    """Further options in the scheduler's own syntax, one word each, from the administrator."""

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise InvalidRequest(f"{self.token!r} is not a token: make one with new_token()")
        for field in ("working_directory", "output", "queue", "account", "qos", "reservation", "constraint"):
            check_word(getattr(self, field), field)
        for word in self.native:
            check_word(word, "native")

    @property
    def job_name(self) -> str:
        """The job's name at the scheduler: a safe form of ``name``, a dot, the token. ``find`` looks for the token."""
        return f"{safe_label(self.name)}.{self.token}"


class JobStatus(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is known of one job at one moment."""

    id: JobId
    state: JobState
    name: str = ""
    """The job's name at the scheduler, where it tells."""
    token: Token | None = None
    """The token that the scheduler has for the job; None: the one at the end of its name, if there is one. It proves
    whose job it is: ids come again, and a job without it may have been renamed."""
    native_state: str = ""
    """The scheduler's own word, or the empty string where it has none."""
    reason: str = ""
    """Why the job waits, or why it ended: a sentence for its owner."""
    cause: EndCause | None = None
    """Set when the state is ENDED."""
    exit_code: int | None = None
    signal: int | None = None
    nodes: tuple[str, ...] = ()
    submitted_at: Moment | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    expected_start: Moment | None = None
    """When the scheduler thinks that a waiting job will start."""
    observed_at: Moment | None = None
    source: str = ""
    """Who said so: ``squeue``, ``sacct``, ``session`` (the job's own report), ``ledger``."""


def new_token() -> Token:
    """Return a token that nobody has used or can guess."""
    return Token(base64.b32encode(os.urandom(13))[:20].decode("ascii").lower())


def safe_label(name: str) -> str:
    """Return ``name`` as every scheduler takes it: ``[A-Za-z0-9_.+-]``, a letter first, at most 40 characters.

    A label that merely *looks* different is no matter: the token behind it tells jobs apart.
    """
    label = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)[: _LABEL_LENGTH - 1].strip("_.+-")
    if not label:
        return "session"
    return label if label[0].isalpha() else f"s{label}"


def check_word(value: str | None, what: str) -> None:
    """Raise ``InvalidRequest`` unless ``value`` can stand as one word of a command line.

    Control characters have no business in a scheduler's option: at best they garble a listing, at worst they end
    the line that somebody parses.
    """
    if value is None:
        return
    found = _CONTROL.search(value)
    if found:
        raise InvalidRequest(f"{what} holds a control character ({found.group()!r} in {value!r})")
    if not value:
        raise InvalidRequest(f"{what} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} holds a character that cannot be written as UTF-8 ({value!r})") from None
