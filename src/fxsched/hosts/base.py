"""The seam between an adapter and the machine that its commands run on: one method, ``run``."""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from fxsched.errors import HostUnreachable, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


LIMIT: Final = 1 << 26
"""Bytes that a command may print on each stream. Whatever prints more prints without end, and is ended."""
_HEAD: Final = 300
_TAIL: Final = 200
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class CommandResult(Struct, frozen=True):
    """What a command left behind when it ended by itself."""

    exit_code: int
    """As the shell counts: 128 + n for a command that ended by signal n."""
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text. A byte that is not UTF-8 becomes U+FFFD: it spoils its own row only."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """What the command said about its failure: standard error, else standard output, without the margins."""
        return (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")


class Host(Protocol):
    """A machine on which commands run."""

    @property
    def label(self) -> str:
        """What messages call this host."""

    @property
    def home(self) -> Path | None:
        """The user's home directory, where it is at hand as plain files; None where only commands reach it."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        deadline: float,
    ) -> CommandResult:
        """Run ``argv`` to its end and return what it left behind, whatever its exit code.

        The command gets a clean environment: who and where the user is, ``LC_ALL=C``, and ``environment``;
        nothing else that might change its output. No shell reads ``argv``. When the ``deadline`` (seconds from now)
        passes, or the caller is cancelled, its whole process group is ended.

        Raises:
            HostUnreachable: nothing was sent.
            CommandNotFound: there is no such program.
            OutcomeUnknown: it was started, and no answer came before the deadline.
        """


async def connect(host: Host) -> None:
    """Open the way to a host now, where there is one to open; otherwise its first command does.

    Raises:
        HostError: it cannot be reached.
    """
    opening = getattr(host, "connect", None)
    if opening is not None:
        await opening()


def check_deadline(deadline: float, argv: Sequence[str], label: str) -> None:
    """Raise unless a deadline leaves time and comes at all.

    Raises:
        HostUnreachable: it does not; nothing was sent.
    """
    if not 0 < deadline < math.inf:
        raise HostUnreachable(f"{argv[0]} was not run on {label}: {deadline:g} s is no time for a command")


def quoted(*outputs: bytes | bytearray) -> str:
    """Return what was printed, for a message: one line, not too long, without what would move a terminal's cursor."""
    texts = (_ESCAPE.sub("", bytes(output).decode("utf-8", "replace")) for output in outputs)
    text = " ".join(_CONTROL.sub(" ", " ".join(texts)).split())
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} … {text[-_TAIL:]}"


def unanswered(text: str, stdout: bytes | bytearray = b"", stderr: bytes | bytearray = b"") -> OutcomeUnknown:
    """Return the error for a command that did not answer, with what it had printed: often that is the reason."""
    error = OutcomeUnknown(f"{text}{_told(stdout, stderr)}")
    error.printed = bytes(stdout), bytes(stderr)
    return error


def rephrased(error: OutcomeUnknown, stdout: bytes, stderr: bytes) -> OutcomeUnknown:
    """Return the error with something else for what the command had printed."""
    return unanswered(str(error).removesuffix(_told(*error.printed)), stdout, stderr)


def _told(stdout: bytes | bytearray, stderr: bytes | bytearray) -> str:
    words = quoted(stderr, stdout)
    return f". It had printed: {words}" if words else ""
