"""``JobSpec`` → the words of a qsub command, and the script that it reads. Pure.

Sources: qsub(1B) and pbs_resources(7B) of OpenPBS 23.06, qsub(1B) of Torque 6.1, and what both were seen to do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.kit import refuse, script_in_place, short_options
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from fxsched.jobs import JobSpec, Token

# What stands within a word that PBS takes apart itself must hold none of its separators: "," "+" ":" ";" and "=".
_PLAIN: Final = r"[A-Za-z0-9_.-]+"
_CHUNK_PART: Final = re.compile(rf"([A-Za-z][A-Za-z0-9_-]*)={_PLAIN}")
_PROPERTY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ONE_WORD: Final = re.compile(_PLAIN)
# Letters of qsub's options, as getopt has them, from its sources. Of Torque's -P, the job would be another user's.
_OPENPBS_LETTERS: Final = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
_TORQUE_LETTERS: Final = "a:A:b:c:C:d:D:e:EfF:hi:Ij:J:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:Xxz"
_NAMES_OR_SPLITS: Final = {_OPENPBS_LETTERS: "NJ", _TORQUE_LETTERS: "NtP"}
# -W takes any attribute of a job, in either case.
_NAME_ATTRIBUTE: Final = re.compile(
    r"(?:^|,)\s*(?:job_name|array_indices_submitted|job_array_request)\s*=", re.IGNORECASE
)
_RERUN_ATTRIBUTE: Final = re.compile(r"(?:^|,)\s*rerunable\s*=\s*(\w?)", re.IGNORECASE)
_OWN_PARTS: Final = frozenset({"ncpus", "mem", "vmem", "ngpus", "mpiprocs", "ompthreads"})


def job_name(token: Token) -> str:
    """Return the name of the job with this token.

    It holds nothing else: qselect compares whole names, and is the only look-up that does not list everybody's jobs.
    What people call the session would hardly be seen: qstat shows 15 characters, Torque's the last 13.
    """
    return f"fxsched.{token}"


def job_script(spec: JobSpec) -> bytes:
    """Return what qsub reads: the script, which takes itself to its directory and its output.

    PBS has no way for them that takes any path: a job starts in its home (OpenPBS has no -d); -v cannot carry quotes,
    and a second -v replaces the first; -o refuses what is not ASCII, is delivered at the job's end only, and costs half
    a minute where it cannot be.
    """
    return script_in_place(spec)


def openpbs_options(spec: JobSpec) -> list[str]:
    """Return qsub's options of OpenPBS for ``spec``. Everything that is asked for is asked for in each chunk.

    A reservation of PBS is a queue. With -f, qsub submits itself, in place of a process in the background that may do
    so after qsub was killed.

    Raises:
        SubmitRejected: PBS cannot express something of it.
    """
    refuse(spec, "qos", whose="PBS")
    if spec.queue and spec.reservation:
        raise SubmitRejected(
            f"PBS cannot grant both queue {spec.queue!r} and reservation {spec.reservation!r}: a reservation is a "
            "queue of its own, so remove one from the profile"
        )
    needs = spec.resources
    chunk = [f"ncpus={needs.cores}"]
    if needs.memory:
        chunk.append(f"mem={ceil_div(needs.memory, MIB)}mb")
    if needs.gpus:
        chunk.append(f"ngpus={needs.gpus}")
    chunk += _chunk_parts(spec.constraint)
    place = ["scatter"] if needs.nodes > 1 else []
    if spec.exclusive:
        place = [*(place or ["free"]), "exclhost"]
    options = ["-f", *_common(spec, spec.reservation or spec.queue)]
    options += ["-l", f"select={needs.nodes}:{':'.join(chunk)}"]
    if place:
        options += ["-l", f"place={':'.join(place)}"]
    return [*options, *_native(spec, _OPENPBS_LETTERS)]


def torque_options(spec: JobSpec) -> list[str]:
    """Return qsub's options of Torque for ``spec``.

    Memory is the job's, over all its nodes: the scheduler divides it. (``pmem`` would limit each single process.) QOS
    and reservation are words for Maui or Moab, whose extension ``-W x=`` they are: pbs_sched knows neither.

    Raises:
        SubmitRejected: Torque cannot express something of it.
    """
    needs = spec.resources
    node = [f"nodes={needs.nodes}", f"ppn={needs.cores}"]
    if needs.gpus:
        node.append(f"gpus={needs.gpus}")
    for part in (spec.constraint or "").split(":") if spec.constraint else ():
        if not _PROPERTY.fullmatch(part):
            raise SubmitRejected(
                f"Torque cannot grant constraint {spec.constraint!r}: it takes properties of nodes, joined by colons, "
                'as in "bigmem:ib"'
            )
        node.append(part)
    options = [*_common(spec, spec.queue), "-l", ":".join(node)]
    if needs.memory:
        options += ["-l", f"mem={ceil_div(needs.memory, MIB) * needs.nodes}mb"]
    if spec.exclusive:
        options += ["-l", "naccesspolicy=singlejob"]
    extension = [
        f"{keyword}:{_one_word(value, field)}"
        for keyword, field, value in (("QOS", "qos", spec.qos), ("FLAGS:ADVRES", "reservation", spec.reservation))
        if value
    ]
    if extension:
        options += ["-W", f"x={';'.join(extension)}"]
    return [*options, *_native(spec, _TORQUE_LETTERS)]


def walltime(seconds: int) -> str:
    """Return a duration as both write it: hours, which may be many, minutes and seconds."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _common(spec: JobSpec, queue: str | None) -> list[str]:
    """Return what both say alike. PBS delivers no output, and sends no mail about each cancelled session.

    Both run a job again whose node was lost, unless they are told otherwise.
    """
    options = ["-N", job_name(spec.token), "-j", "oe", "-o", "/dev/null", "-m", "n", "-r", "y" if spec.requeue else "n"]
    if queue:
        options += ["-q", queue]
    if spec.account:
        options += ["-A", spec.account]
    if spec.resources.walltime:
        options += ["-l", f"walltime={walltime(spec.resources.walltime)}"]
    return options


def _native(spec: JobSpec, letters: str) -> tuple[str, ...]:
    """Return the administrator's options, unless one would lose the job, or run it again against ``spec.requeue``."""
    for letter, value in short_options(spec.native, letters):
        if not letter:
            raise SubmitRejected(
                f"native has {value!r}, which qsub would take for a script: each word must be an option's"
            )
        if letter in _NAMES_OR_SPLITS[letters] or (letter == "W" and _NAME_ATTRIBUTE.search(value)):
            raise SubmitRejected(
                f"native has -{letter} {value!r}, but the job could not be found again: fxsched names it, and it is "
                "one job of the user's own"
            )
        again = [value[:1]] if letter == "r" else _RERUN_ATTRIBUTE.findall(value) if letter == "W" else []
        if any((word.lower() in ("y", "t", "1")) != spec.requeue for word in again):
            raise SubmitRejected(f"native has -{letter} {value!r} against the setting: set requeue instead")
    return spec.native


def _chunk_parts(constraint: str | None) -> list[str]:
    """Return the further resources of each chunk, none of which may be one that the profile limits."""
    parts = constraint.split(":") if constraint else []
    for part in parts:
        found = _CHUNK_PART.fullmatch(part)
        if not found or found[1] in _OWN_PARTS:
            raise SubmitRejected(
                f"PBS cannot grant constraint {constraint!r}: it takes resources of a chunk, joined by colons, as in "
                f'"arch=linux:bigmem=true", other than {", ".join(sorted(_OWN_PARTS))}'
            )
    return parts


def _one_word(value: str, field: str) -> str:
    if not _ONE_WORD.fullmatch(value):
        raise SubmitRejected(f"Torque cannot grant {field} {value!r}: it takes letters, digits and _ . - only")
    return value
