"""Every error that fxsched raises on purpose.

    FxschedError
    ├── ConfigurationError        the administrator's file is wrong; nothing was submitted
    ├── InvalidRequest            what FastX or the caller sent is wrong; nothing was submitted
    ├── LedgerError               the record of submissions could not be read or written
    ├── OutcomeUnknown            a command may have taken effect: no answer came in time
    │   └── SubmitUnsettled       … and asking afterwards did not settle it
    ├── HostError                 a command certainly did not run
    │   ├── HostUnreachable       nothing was sent
    │   ├── HostKeyRejected       the host does not prove to be the one that is meant
    │   ├── AuthenticationFailed  the host lets nobody in without a human, or not with these keys
    │   └── CommandNotFound       the host has no such program
    └── SchedulerError            the scheduler's side of things
        ├── SchedulerUnavailable  it could not be asked; certainly nothing was changed
        │   └── PartlyUnavailable  … about some of the jobs; the others' statuses are with it
        ├── SubmitRejected        it refused the job for good, in its own words
        ├── CancelRefused         it refused to cancel
        ├── CancelUnverified      it accepted the cancel, but the job's end was not seen
        └── NotSupported          it has no such ability; nothing was sent

The text of an error is written for the person who reads it: what happened, with what, and what to do next. No text
ever holds a secret. A ``Cluster`` lets an error that leaves it know whose it is: its text then names the cluster, and
ends with the advice.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_TO_ADMIN: Final = "to the cluster's administrator"


class FxschedError(Exception):
    """The root: catch this to catch everything that fxsched raises on purpose."""

    cluster: str = ""
    """The cluster whose error it is, once it has left its ``Cluster``."""

    advice: str = f"Try again later; if it stays so, show this {_TO_ADMIN}"
    """What to do about it."""

    @property
    def what(self) -> str:
        """What happened: the text without the cluster's name and the advice."""
        return super().__str__()

    def __str__(self) -> str:
        if not self.cluster:
            return self.what
        return f"cluster {self.cluster!r}: {self.what.removesuffix('.')}. {self.advice}"


class ConfigurationError(FxschedError):
    """A configuration file, or an adapter that it names, cannot be used."""

    origin: str = ""
    """The file, once it is known whose fault it is. The text then begins with it."""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.origin}: {text}" if self.origin else text


class InvalidRequest(FxschedError):
    """A request or a job specification has a member that is missing, of the wrong kind, or outside its limits."""


class LedgerError(FxschedError):
    """The ledger's directory or one of its entries cannot be used."""


class OutcomeUnknown(FxschedError):
    """A command was started and no answer came: it may have done its work. Ask before doing it again."""

    printed: tuple[bytes, bytes] = (b"", b"")
    """What the command had printed by then, on standard output and on standard error; the text quotes it."""


class SubmitUnsettled(OutcomeUnknown):
    """It could not be found out whether a job exists. The ledger keeps the entry."""

    advice = "When the scheduler answers again, the next launch will settle it, or run: fxsched reconcile --fix"


class HostError(FxschedError):
    """A command certainly did not run."""


class HostUnreachable(HostError):
    """The host could not be reached; nothing was sent."""


class HostKeyRejected(HostError):
    """The host's key is unknown or not the one that is known. The text has the command that mends it."""

    advice = f"Show this {_TO_ADMIN}"


class AuthenticationFailed(HostError):
    """The host accepts none of the keys and tickets that can be used without a human."""

    advice = f"Show this {_TO_ADMIN}"


class CommandNotFound(HostError):
    """The host has no such program, or it may not be executed."""

    advice = "See to the cluster's options.commands in the configuration, or to the PATH"


class SchedulerError(FxschedError):
    """Something that the scheduler said, or failed to say."""


class SchedulerUnavailable(SchedulerError):
    """The scheduler could not be asked, and nothing was changed. Trying again later is right."""


class PartlyUnavailable(SchedulerUnavailable):
    """Some of the jobs are where nobody could be asked. ``answers`` has the others' statuses."""

    answers: Mapping[Any, Any] = MappingProxyType({})
    """``JobId`` → ``JobStatus``."""


class SubmitRejected(SchedulerError):
    """The scheduler refused the job. Trying the same again is pointless; its own words are in the text."""

    advice = f"Ask for something else, or show this {_TO_ADMIN}"


class CancelRefused(SchedulerError):
    """The scheduler refused to cancel the job, usually because it belongs to somebody else."""

    advice = f"It may be somebody else's job; if it is not, show this {_TO_ADMIN}"


class CancelUnverified(SchedulerError):
    """The scheduler accepted the cancel, but the job was still there when the time to check ran out."""

    advice = "Ask for its status later; if it stays, the scheduler's administrator can end it"


class NotSupported(SchedulerError):
    """The scheduler, or fxsched's adapter for it, has no such ability. The text names both; nothing was sent."""

    advice = "Do without it, or name a cluster that can"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about a mistyped word: the known word nearest to it, else all that are known."""
    from difflib import get_close_matches

    known = sorted(known)
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known) or 'none'})"
