"""``JobSpec`` → the words of a bsub command, and the script for its standard input. Pure. Source: bsub(1).

bsub reads options from the script too, wherever ``#BSUB`` begins a line. Nothing of a request may get there.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.kit import refuse
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from fxsched.jobs import JobSpec

UNITS: Final = {"KB": 1024, "MB": MIB, "GB": 1024**3, "TB": 1024**4, "PB": 1024**5, "EB": 1024**6}
"""The units that ``LSF_UNIT_FOR_LIMITS`` in lsf.conf may name, in bytes."""
UNSET: Final = "unset"
"""What stands for a unit where LSF has none: it then counts limits in KB, and reservations in MB."""

# What would name a job or make an array of it, submit several, wait for its end, or run it again. Commands of the older
# family join a flag to others and a value to its option; "-Jd" is a description.
_NOT_NATIVE: Final = re.compile(r"-J(?!d$)|-(?:pack|K|I|Q)|-[BHNx]*r", re.ASCII)

_SHELL: Final = re.compile(rb"#! *\S*sh( .*)?", re.ASCII)
_DIRECTIVE: Final = re.compile(rb"^[ \t]*#[ \t]*BSUB", re.MULTILINE)

# The log is its owner's alone, and what is there already stays: a job may run again. Where the home directory takes its
# time to appear on a node, the job waits for it.
_DIRECTORY: Final = """\
n=0
until cd -- {} 2>/dev/null || [ "$n" -ge 60 ]; do n=$((n + 1)); sleep 1; done
unset n
"""
_OUTPUT: Final = "(umask 077; : >>{0}) 2>/dev/null && exec >>{0} 2>&1\n"


def bsub_options(
    spec: JobSpec,
    *,
    modern: bool = True,
    unit: str = UNSET,
    reserve_per_slot: bool = False,
    gpu_resource: str | None = None,
) -> list[str]:
    """Return bsub's options for ``spec``; the script goes to its standard input, and no command is named.

    A slot is a core. LSF counts the run limit in minutes, memory in ``unit``; all round up. The administrator's native
    options come last, where they win.

    Args:
        spec: the job.
        modern: whether bsub has -sla, -U, -gpu and -rn. An older one takes ``-sla gold`` for ``-s la`` and a command
            "gold"; it runs a job again only if it is told so, or if its queue is.
        unit: what memory is counted in, of ``UNITS``, or ``UNSET``.
        reserve_per_slot: whether a reservation counts once for each slot (``RESOURCE_RESERVE_PER_SLOT`` in lsb.params,
            also called ``…_PER_TASK``) and not once for each host.
        gpu_resource: the resource that counts a host's GPUs, to be reserved in place of the option -gpu.

    Raises:
        SubmitRejected: bsub cannot be told so.
    """
    if not modern:
        refuse(spec, "qos", "reservation", *(() if gpu_resource else ("gpus",)), whose="LSF before version 9")
    if spec.native and not spec.native[0].startswith("-"):
        raise SubmitRejected(
            f"native begins with {spec.native[0]!r}, which bsub would take for a command: begin with an option"
        )
    for word in spec.native:
        if found := _NOT_NATIVE.match(word):
            raise SubmitRejected(
                f"native holds {word!r}: {found[0]} names the job, makes several of it, waits for it, or decides "
                "whether it runs again, which is for requeue to say"
            )
    needs = spec.resources
    limit = UNITS["KB" if unit == UNSET else unit]
    options = {
        "-J": spec.job_name,
        "-o": "/dev/null",  # without it, LSF sends the output by mail; with a real file, it appears only at the end
        "-n": str(needs.nodes * needs.cores),
        "-R": _requirement(spec, unit, reserve_per_slot, gpu_resource),
        # A limit is for the whole job, or for each of its processes: of several nodes' jobs it would say too little.
        "-M": str(ceil_div(needs.memory, limit)) if needs.memory and needs.nodes == 1 else None,
        "-W": str(ceil_div(needs.walltime, 60)) if needs.walltime else None,
        "-gpu": f"num={needs.gpus}" if needs.gpus and not gpu_resource else None,
        "-q": spec.queue,
        "-P": spec.account,
        "-sla": spec.qos,
        "-U": spec.reservation,
    }
    words = ["-r"] if spec.requeue else ["-rn"] if modern else []
    for option, value in options.items():
        if value is None:
            continue
        if value.startswith("-"):
            raise SubmitRejected(f"{value!r} begins with a hyphen: bsub would take it for an option")
        words += [option, value]
    return [*words, *(["-x"] if spec.exclusive else []), *spec.native]


def bsub_script(spec: JobSpec) -> bytes:
    """Return the job's script, which goes to its directory and opens its output by itself.

    bsub has no option for the directory in every version, and writes the output only when the job has ended.

    Raises:
        SubmitRejected: it is no script for a shell of sh's family, or a line of it would be an option.
    """
    shebang, _, rest = spec.script.partition(b"\n")
    if not _SHELL.fullmatch(shebang):
        raise SubmitRejected(f"a job in LSF is a script for sh, but this one begins with {shebang[:80]!r}")
    head = _DIRECTORY.format(quote(spec.working_directory)) if spec.working_directory else ""
    head += _OUTPUT.format(quote(spec.output)) if spec.output else ""
    script = shebang + b"\n" + head.encode() + rest
    if _DIRECTIVE.search(script):
        raise SubmitRejected("a line of the script begins with #BSUB: bsub would read options from it")
    return script


def _requirement(spec: JobSpec, unit: str, reserve_per_slot: bool, gpu_resource: str | None) -> str | None:
    needs = spec.resources
    parts = []
    if spec.constraint:
        if "[" in spec.constraint or "]" in spec.constraint:
            raise SubmitRejected(
                f"constraint {spec.constraint!r} holds a bracket, which would end select[…]: use native's -R instead"
            )
        parts.append(f"select[{spec.constraint}]")
    shares = needs.cores if reserve_per_slot else 1
    reserved = []
    if needs.memory:
        reserved.append(f"mem={ceil_div(needs.memory, UNITS['MB' if unit == UNSET else unit] * shares)}")
    if needs.gpus and gpu_resource:
        reserved.append(f"{gpu_resource}={ceil_div(needs.gpus, shares)}")
    if reserved:
        parts.append(f"rusage[{','.join(reserved)}]")
    if needs.nodes > 1:
        parts.append(f"span[ptile={needs.cores}]")
    elif needs.cores > 1:
        parts.append("span[hosts=1]")
    return " ".join(parts) or None
