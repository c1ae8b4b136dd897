"""What qsub and qdel complain of → what that says of the request. Pure.

It was refused, or never asked for, or there was nothing left to do; words that no table has leave open what became of
it, whatever the exit code. Sources: pbs_messages.c, pbs_loadconf.c, auth.c, iff2.c, qsub.c and qdel.c of OpenPBS;
pbs_error_db.h, qsub_functions.c and qdel.c of Torque; recorded output of both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from fxsched.kit import both_streams, complaint_of

if TYPE_CHECKING:
    from fxsched.hosts import CommandResult

# In lower case. These come before anything is sent, or with the server's assurance that it took nothing: it is out of
# reach or full, we could not say who we are, or something is amiss on the client's own machine.
_UNREACHED: Final = (
    "cannot connect to",
    "couldn't connect to",
    "could not connect to batch server",
    "could not connect to trqauthd",
    "unable to communicate with",
    "server shutting down",
    "too busy to service this request",
    "server busy. not available threads",
    "server connection table full",
    "no free connections",
    "no server specified",
    "pbs server undefined",
    "pbs_iff",
    "trqauthd",
    "munge",
    "invalid credential",
    "expired credential",
    "auth: ",
    "failed to load auths",
    "unable to initialize security library",
    "failed to load configuration parameters",
    "pbsconf error",
    "cannot get full",
    "cannot get (full)",
    "cannot get uname info",
    "cannot stat current directory",
    "could not create copy of script",
    "error writing copy of script",
    "error writing to filter stdin",
    "could not open filter",
)
# The server, a filter of the site, or the command itself has looked at the request, and will not have it.
_REFUSED_SUBMIT: Final = (
    "unauthorized request",
    "unknown queue",
    "unknown resource",
    "unknown node",
    "unknown reservation",
    "unknown/illegal",
    "undefined attribute",
    "error (15002)",  # 23.06 of an attribute that is none
    "cannot set attribute",
    "illegal ",
    "illegally formed",
    "queue is not enabled",
    "queue is currently not available",
    "queue does not allow",
    "access to queue is denied",
    "access from host not allowed",
    "bad uid",
    "bad gid",
    "bad effective",
    "bad job array request",
    "invalid account",
    "invalid job dependency",
    "violates queue",
    "exceed",  # "Job exceeds queue resource limits", "would exceed complex's per-user limit"
    "maximum number of jobs",
    "no default queue specified",
    "rejected by all possible destinations",
    "no support for requested service",
    "no time-share node available",
    "conflicting specification",
    "not a reservation",
    "too late for reservation",
    "node(s) specification error",
    "license is invalid",
    "mutually exclusive",
    "duplicate entry",
    "duplicated resource",
    "out of range",
    "too long",
    "cannot be used",
    'cannot have "',
    'invalid in "select"',
    "not valid resources",
    "invalid provisioning request",
    "non-rerunable",
    "administratively rejected",
    "submit filter returned an error code",
    "directive error",
    "cannot send environment with the job",
    "cannot be loaded",
    "script file:",
    "script not a file",
    "script contains cr",
    "can not be run as root",
)
_REFUSED_CANCEL: Final = ("unauthorized request", "denied", "permission", "not permitted", "illegal")
_OVER: Final = (
    "unknown job id",
    "nonexistent job id",
    "job has finished",
    "request invalid for state of job",  # Torque of one that is complete, OpenPBS of one that finishes
)

_USAGE: Final = re.compile(rb"^(?:\[exiting\]|usage:)", re.MULTILINE)
_JOB: Final = re.compile(r"\b\d+(?:\[\d*\])?\.[A-Za-z]", re.ASCII)


class Complaint:
    """What a command that failed has said."""

    def __init__(self, result: CommandResult) -> None:
        complaint, *usage = _USAGE.split(result.stderr, maxsplit=1)
        said = replace(result, stderr=b"\n".join((complaint, result.stdout)), stdout=b"")
        self._usage = bool(usage)
        self._words = both_streams(said).lower()
        self.text = complaint_of(said) if self._words else "it was called wrongly" if usage else complaint_of(result)
        """It on one line, without the page on the command's usage that may follow."""

    @property
    def unreached(self) -> bool:
        """Whether nothing was asked for."""
        return self._has(_UNREACHED)

    @property
    def names_a_job(self) -> bool:
        """Whether a job's id is in a submit's words, so that there may be one: "cannot locate new job 35.vm"."""
        return not self.unreached and _JOB.search(self._words) is not None

    @property
    def refuses_submit(self) -> bool:
        """Whether a submit was judged, and refused."""
        return self._usage or self._has(_REFUSED_SUBMIT)

    @property
    def refuses_cancel(self) -> bool:
        """Whether a cancel was judged, and refused."""
        return self._usage or self._has(_REFUSED_CANCEL)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to cancel."""
        return self._has(_OVER)

    def _has(self, signs: tuple[str, ...]) -> bool:
        return any(sign in self._words for sign in signs)
