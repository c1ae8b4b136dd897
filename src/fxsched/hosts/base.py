"""The seam between an adapter and the machine that its commands run on: one method, ``run``."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


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
