"""``JobSpec`` → the words of an sbatch command. Pure. Source: sbatch(1) of Slurm 22.05."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from fxsched.jobs import JobSpec

# Options that make another job of it: their names, what sbatch takes for them at least, their letters, and why not.
_NOT_NATIVE: Final = (
    ("clusters", "cl", "M", "no other command would look there: set options.cluster"),
    ("job-name", "j", "J", "fxsched finds the job by its name"),
    ("array", "ar", "a", "a session is one job"),
    ("wrap", "wr", "", "it would take the session's place"),
    ("test-only", "te", "", "no job would come of it"),
    ("requeue", "req", "", "that is the profile's to say: set requeue"),
    ("no-requeue", "no-r", "", "that is the profile's to say: set requeue"),
)
_FLAGS: Final = re.compile(r"-[HIOQWsv]*([A-Za-z])")
"""Letters without a value may stand before one."""


def sbatch_options(spec: JobSpec) -> list[str]:
    """Return sbatch's options for ``spec``; the script goes to its standard input, and no file is named.

    Every value is joined to its option by "=", so that none can be taken for another option. Slurm counts memory in MiB
    on each node and time in minutes; both round up. The administrator's native options come last, where they win.

    Raises:
        SubmitRejected: the native options do not begin with an option, or say what is not theirs to say.
    """
    if spec.native and not spec.native[0].startswith("-"):
        raise SubmitRejected(
            f"native begins with {spec.native[0]!r}, which sbatch would take for a script: begin with an option"
        )
    for word in spec.native:
        why = _not_native(word, spec.requeue)
        if why:
            raise SubmitRejected(f"native has {word!r}, but {why}")
    needs = spec.resources
    options = {
        "job-name": spec.job_name,
        "output": _file_pattern(spec.output or "/dev/null"),
        "open-mode": "append",  # a requeued run, or a twin that ends at once, would otherwise wipe the session's log
        "chdir": spec.working_directory,
        "nodes": needs.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": needs.cores,
        "mem": f"{ceil_div(needs.memory, MIB)}M" if needs.memory else None,
        "gres": f"gpu:{needs.gpus}" if needs.gpus else None,
        "time": ceil_div(needs.walltime, 60) if needs.walltime else None,
        "partition": spec.queue,
        "account": spec.account,
        "qos": spec.qos,
        "reservation": spec.reservation,
        "constraint": spec.constraint,
    }
    # The limits of the process that submits are those of a daemon or a login, and no business of a session's.
    words = ["--parsable", "--requeue" if spec.requeue else "--no-requeue", "--propagate=NONE"]
    words += [f"--{name}={value}" for name, value in options.items() if value is not None]
    if spec.exclusive:
        words.append("--exclusive")
    return [*words, *spec.native]


def _not_native(word: str, requeue: bool) -> str:
    """Return why an administrator's own option cannot be passed on; nothing if it can. sbatch takes beginnings, too."""
    if word == ":":
        return "a session is one job"
    name = word.removeprefix("--").partition("=")[0]
    flags = _FLAGS.match(word)
    for option, least, letter, why in _NOT_NATIVE:
        if word.startswith("--") and name.startswith(least) and option.startswith(name):
            return "" if option == ("requeue" if requeue else "no-requeue") else why
        if flags and flags[1] == letter:
            return why
    return ""


def _file_pattern(path: str) -> str:
    """Return ``path`` so that Slurm, which expands ``%`` in a file's name, takes it as it stands."""
    return path.replace("%", "%%")
