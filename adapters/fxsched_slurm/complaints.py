"""What sbatch and scancel complain of → what that says of the request. Pure.

It was refused, or never asked for, or it is not said how far it came. Words that no table has leave open what became of
it, whatever the exit code. Sources: slurm_errno.c, opt.c and sbatch.c of Slurm 22.05, and output of 22.05.8.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from fxsched.kit import both_streams

if TYPE_CHECKING:
    from fxsched.hosts import CommandResult

# The request had been sent, or it is not said how far it came. 22.05.8 says the first while its controller hangs, and
# runs the job when it goes on; the last is what sbatch says of a job that it made.
_DOUBTFUL: Final = (
    "timed out",
    "Zero Bytes",
    "Unexpected message received",
    "Communication connection failure",
    "Communication shutdown failure",
    "receive failure",
    "shutdown failure",
    "Connection reset",
    "Broken pipe",
    "Incomplete packet",
    "Header lengths are longer than data received",
    "Received message length",
    "Received zero length message",
    "Insane message length",
    "ubmitted batch job",
)
# These come before the whole request is sent, or with the controller's assurance that it took nothing: it is out of
# reach, on standby, full or without a disk, does not know who asks, or something is amiss on the client's own machine.
_UNREACHED: Final = (
    "Unable to contact slurm controller (connect failure)",
    "Unable to contact slurm controller (send failure)",
    "temporarily unable to accept job",
    "Resource temporarily unavailable",
    "Unable to create job record",
    "I/O error writing script/environment to file",
    "standby mode",
    "System submissions disabled",
    "Munge encode failed",
    "Invalid authentication credential",
    "Authentication credential invalid",
    "Protocol authentication error",
    "Failed to connect to authentication agent",
    "Failed to open authentication public key",
    "Incompatible versions of client and server code",
    "Invalid user id",
    "Invalid group id",
    "Invalid user for SlurmUser",
    "Can't find an address, check slurm.conf",
    "Plugin initialization failed",
    "fetch_config",
    "configuration source",
    "configuration file",
    "can't be reached now",
)
# The request was looked at: by sbatch itself, or by the controller.
_REFUSED: Final = re.compile(
    r"""(?xi) \b(?:
        invalid\ (?!job\ credential) | unrecognized | illegal | not\ (?:a\ )?valid | is\ ambiguous
        | requires?\ (?:an\ argument|more\ ports) | doesn't\ allow | mutually\ exclusive | incompatible\ with
        | specification | specified\ or\ | too\ long | too\ many | not\ (?:permitted|allowed|supported|available)
        | unsupported | denied | reject | refus | forbid | only\ permitted | must\ be | exceed | policy | breached
        | can\ ?not\ be\ satisfied | cannot\ request | insufficient | requested\ | more\ processors
        | dependency | job\ --batch\ option | burst\ buffer | partition\ in\ down | no\ eligible
        | core\ count | multiple\ (?:partition|knl) | only\ batch\ jobs | environment\ is\ missing | script\ not
        | batch\ script | like\ a\ batch | allow\ scripts | unable\ to\ open\ file | could\ not\ open\ user\ env
        | terminated\ with\ error
    )"""
)
_CANCEL_REFUSED: Final = re.compile(
    r"(?i)denied|permission|not permitted|can not be altered|invalid (?:job id(?! specified)|option|user)|no job ident|"
    r"unknown job signal"
)
_OVER: Final = ("Invalid job id specified", "already completing or completed", "already finished")

_FAILED: Final = "Batch job submission failed: "
_UNSPECIFIED: Final = f"{_FAILED}Unspecified error"
# Lines of sbatch itself, which has its functions' names in them. All others are the controller's for the user.
_OWN: Final = re.compile(r"\w*_\w*: |If munged|Munge |Slurm temporarily")


class Complaint(Struct, frozen=True):
    """What is certain of a command that failed."""

    doubtful: bool
    """It may have taken effect."""
    unreached: bool
    """Nothing was asked for."""
    refused: bool
    """The request was judged."""


def of_submit(result: CommandResult) -> Complaint:
    """Return what the words of an sbatch say.

    A site's own submit plugin refuses with a sentence, and whatever error it likes behind it: mostly "Unspecified
    error". Nobody but the controller can have sent that sentence.
    """
    said = both_streams(result)
    refused = bool(_REFUSED.search(said)) or bool(_sentences(result))
    return _complaint(said, refused)


def of_cancel(result: CommandResult) -> Complaint:
    """Return what the words of a scancel say, which ends well after some complaints, too."""
    said = both_streams(result)
    return _complaint(said, bool(_CANCEL_REFUSED.search(said)))


def nothing_left(result: CommandResult) -> bool:
    """Whether a scancel found its job ended, or none of that id."""
    said = both_streams(result)
    return any(sign in said for sign in _OVER)


def refused_without_a_word(result: CommandResult) -> bool:
    """Whether the controller said no, and nothing else: a submit plugin that gives no reason."""
    return bool(result.exit_code) and both_streams(result) == f"sbatch: error: {_UNSPECIFIED}"


def _complaint(said: str, refused: bool) -> Complaint:
    doubtful = any(sign in said for sign in _DOUBTFUL)
    # sbatch gives up with "fatal" over its own surroundings, or over options that exclude each other; both at once.
    unreached = any(sign in said for sign in _UNREACHED) or (": fatal: " in said and not refused)
    return Complaint(doubtful=doubtful, unreached=unreached, refused=refused)


def _sentences(result: CommandResult) -> list[str]:
    """Return what the controller had to say to the user before it said no."""
    lines = [line.strip() for line in result.complaint.splitlines()]
    plain = [re.sub(r"^sbatch: (?:error: )?", "", line) for line in lines if line.startswith("sbatch: ")]
    if not any(line.startswith(_FAILED) for line in plain):
        return []
    return [line for line in plain if line and not line.startswith(_FAILED) and not _OWN.match(line)]
