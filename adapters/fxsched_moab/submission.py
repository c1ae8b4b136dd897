"""``JobSpec`` → the words of an msub command, and the script that it reads. Pure.

Sources: Moab's administrator guide, "msub" and "Resource Manager Extensions". Moab itself could not be run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.kit import script_in_place, short_options
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from fxsched.jobs import JobSpec

# Letters of msub's options that there are, as getopt has them.
_LETTERS: Final = "a:A:c:C:d:D:e:EF:hIj:k:K:l:m:M:N:o:p:q:r:S:t:u:v:Vw:W:Xxz"
_RERUN: Final = re.compile(r"\b(?:resfailpolicy\s*[=:]\s*requeue|flags\s*[=:]\s*\S*restartable)", re.IGNORECASE)
_RESOURCE_VALUE: Final = re.compile(r"[\w@+-][\w.@:|+-]*", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"/[\w./+@-]*", re.ASCII)


def job_script(spec: JobSpec) -> bytes:
    """Return what msub reads: the script, which takes itself to its directory and its output.

    What Moab makes of a path is its resource manager's affair: Torque 6.1 refuses one that is not ASCII, and delivers
    the output at the job's end only; Slurm expands "%".
    """
    return script_in_place(spec)


def msub_options(spec: JobSpec) -> list[str]:
    """Return msub's options for ``spec``; the script goes to its standard input, and no file is named.

    The directory is for Moab's eyes, which may miss the one that msub was run in; the script goes there by itself.
    ``mem`` is what the whole job may have, in MiB, rounded up; the walltime is in seconds. The administrator's native
    options come last, where they win.

    Raises:
        SubmitRejected: a value could be taken for something else, or a native option is none, or one of fxsched's own.
    """
    needs = spec.resources
    resources = {
        "nodes": f"{needs.nodes}:ppn={needs.cores}" + (f":gpus={needs.gpus}" if needs.gpus else ""),
        "walltime": _clock(needs.walltime) if needs.walltime else None,
        "mem": f"{ceil_div(needs.memory * needs.nodes, MIB)}mb" if needs.memory else None,
        "naccesspolicy": "singlejob" if spec.exclusive else None,
        "qos": _resource_value(spec.qos, "qos"),
        "advres": _resource_value(spec.reservation, "reservation"),
        "feature": _resource_value(spec.constraint, "constraint"),
    }
    options = {
        "-N": spec.job_name,
        "-j": "oe",
        "-o": "/dev/null",
        "-d": spec.working_directory if _PLAIN_PATH.fullmatch(spec.working_directory or "") else "/",
        "-q": spec.queue,
        "-A": spec.account,
        "-r": "y" if spec.requeue else "n",
    }
    words = ["--xml"]
    for name, value in options.items():
        if value is not None:
            words += [name, _argument(value, name)]
    for name, value in resources.items():
        if value is not None:
            words += ["-l", f"{name}={value}"]
    return [*words, *_native(spec)]


def _native(spec: JobSpec) -> tuple[str, ...]:
    """Return the administrator's options, unless one would lose the job, or run it again against ``spec.requeue``."""
    for letter, value in short_options(spec.native, _LETTERS):
        if not letter:
            raise SubmitRejected(
                f"native has {value!r}, which msub would take for a script: each word must be an option's"
            )
        if letter in ("N", "t"):
            raise SubmitRejected(
                f"native has -{letter} {value!r}, but the job could not be found again: fxsched names it, and it is "
                "one job"
            )
        again = value[:1].lower() == "y" if letter == "r" else True if _RERUN.search(value) else None
        if again is not None and again is not spec.requeue:
            raise SubmitRejected(f"native has -{letter} {value!r} against the setting: set requeue instead")
    return spec.native


def _clock(seconds: int) -> str:
    """Return a duration as ``-l walltime=`` takes it: ``HH:MM:SS``, with as many hours as it needs."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _argument(value: str, option: str) -> str:
    """Return a value that stands in a word of its own behind its option, unless it looks like an option itself."""
    if value.startswith("-"):
        raise SubmitRejected(f"msub would take {value!r}, the value of {option}, for an option")
    return value


def _resource_value(value: str | None, what: str) -> str | None:
    """Return a value that stands in a list of resources, where a comma would begin another one."""
    if value is not None and not _RESOURCE_VALUE.fullmatch(value):
        raise SubmitRejected(f"the {what} {value!r} has a character that cannot stand in a list of Moab's resources")
    return value
