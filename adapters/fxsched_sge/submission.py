"""``JobSpec`` → the words of a qsub command, and the script for its standard input. Pure.

Source: qsub(1) and sge_request(5) of Grid Engine 8.1.9, and what it was seen to do.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from fxsched.errors import SubmitRejected
from fxsched.kit import refuse
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from fxsched.jobs import JobSpec

STAND_IN: Final = 101
"""The exit code with which a job ends instead of 99, which would run it again, and of 100, which would park it."""

_SHEBANG: Final = b"#!/bin/sh\n"
_TRAP: Final = f"""\
# To Grid Engine, exit code 99 means "run me again" and 100 "park me until somebody looks".
trap 'case $? in 99 | 100) exit {STAND_IN} ;; esac' EXIT
"""
# In paths, qsub replaces $HOME, $JOB_ID and the like, and a comma begins another path.
_CHANGED: Final = re.compile(r"[$,]")
# What would name a job, make an array of it, bring options from a file, wait for its end, run it again, or submit none.
_NOT_NATIVE: Final = frozenset({"-N", "-t", "-tc", "-@", "-sync", "-r", "-verify", "-help"})


class SiteResources(Struct, frozen=True, kw_only=True):
    """What the site calls that which jobs ask for: its parallel environments and complexes have any names."""

    parallel_environment: str | None = None
    """For more than one core: one whose allocation rule is ``$pe_slots``, so that all slots are on one host."""
    spread_environment: str | None = None
    """For more than one node: one with a fixed number of slots on each host. ``{cores}`` in it stands for that
    number, as in ``"mpi-{cores}"``."""
    memory_resource: str | None = None
    """The complex that counts memory, such as ``h_vmem`` or ``mem_free``."""
    memory_per: Literal["slot", "job"] = "slot"
    gpu_resource: str = "gpu"
    gpu_per: Literal["slot", "job"] = "job"
    exclusive_resource: str = "exclusive"
    """The complex (with the relation ``EXCL``) that keeps other jobs off a host."""


def qsub_options(spec: JobSpec, site: SiteResources, *, clear: bool = False) -> list[str]:
    """Return qsub's options for ``spec``; the script goes to its standard input, and no file is named.

    A value is the word behind its option, whatever it begins with: qsub takes it unseen. Memory is counted in MiB and
    time in seconds. The administrator's native options come last, where they win.

    Raises:
        SubmitRejected: it asks for what this site has no name for, or the native options do not begin with an option.
    """
    if spec.native and not spec.native[0].startswith("-"):
        raise SubmitRejected(
            f"native begins with {spec.native[0]!r}, which qsub would take for a script: begin with an option"
        )
    refused = _NOT_NATIVE.intersection(spec.native)
    if refused:
        raise SubmitRejected(
            f"native holds {min(refused)!r}, which names the job, makes several of it, waits for it, or decides "
            "whether it runs again, which is for requeue to say"
        )
    refuse(spec, "qos", whose="Grid Engine")
    # What a site's or a user's sge_request may hold and must not: a qsub that waits for the end of the job, or takes
    # the script for a command; and a script is looked through for options unless their prefix is empty.
    words = [*(["-clear"] if clear else []), "-terse", "-sync", "n", "-b", "n", "-C", ""]
    words += ["-r", "y" if spec.requeue else "n"]
    plain = not _wrapped(spec)
    options = {
        "N": spec.job_name,
        "S": "/bin/sh",
        "wd": spec.working_directory if plain else None,
        # It is appended to, so that a second run wipes nothing. In front of the colon would stand a host.
        "o": f":{spec.output if plain and spec.output else '/dev/null'}",
        "j": "y",
        "q": spec.queue,
        "P": spec.account,
        "ar": spec.reservation,
    }
    words += [word for name, value in options.items() if value is not None for word in (f"-{name}", value)]
    for request in (*([spec.constraint] if spec.constraint else []), *_requests(spec, site)):
        words += ["-l", request]
    return [*words, *_slots(spec, site), *spec.native]


def qsub_script(spec: JobSpec) -> bytes:
    """Return the job script, with what Grid Engine makes necessary in front: see ``STAND_IN``.

    Where Grid Engine would change a path, the script itself goes there. A script that is not for ``/bin/sh`` stays as
    it is; fxsched's are.
    """
    if not spec.script.startswith(_SHEBANG):
        return spec.script
    lines = _TRAP
    if _wrapped(spec):
        lines += f"exec >>{quote(spec.output or '/dev/null')} 2>&1 || exit\n"
        lines += f"cd {quote(spec.working_directory)} || exit\n" if spec.working_directory else ""
    return _SHEBANG + lines.encode() + spec.script.removeprefix(_SHEBANG)


def _wrapped(spec: JobSpec) -> bool:
    """Whether Grid Engine would change one of the paths, and the script can see to them itself."""
    paths = (spec.working_directory, spec.output)
    changed = any(path and _CHANGED.search(path) for path in paths)
    if changed and not spec.script.startswith(_SHEBANG):
        raise SubmitRejected(
            f"Grid Engine would change the path {' or '.join(filter(None, paths))!r}, which holds '$' or ','"
        )
    return changed


def _requests(spec: JobSpec, site: SiteResources) -> list[str]:
    needs = spec.resources
    requests = [f"h_rt={needs.walltime}"] if needs.walltime else []
    slots = needs.nodes * needs.cores
    if needs.memory is not None:
        if site.memory_resource is None:
            raise SubmitRejected(
                "memory is asked for, but what counts it differs from one Grid Engine to another: name the complex in "
                'options.memory_resource, as in "h_vmem"'
            )
        share = needs.cores if site.memory_per == "slot" else 1
        whole = needs.memory if site.memory_per == "slot" else needs.memory * needs.nodes
        requests.append(f"{site.memory_resource}={ceil_div(whole, share * MIB)}M")
    if needs.gpus:
        gpus = needs.gpus * needs.nodes
        if site.gpu_per == "slot" and gpus % slots:
            raise SubmitRejected(
                f"{gpus} gpus cannot be shared out evenly among {slots} slots, and this cluster counts them per slot"
            )
        requests.append(f"{site.gpu_resource}={gpus if site.gpu_per == 'job' else gpus // slots}")
    if spec.exclusive:
        requests.append(f"{site.exclusive_resource}=true")
    return requests


def _slots(spec: JobSpec, site: SiteResources) -> list[str]:
    needs = spec.resources
    if needs.nodes == 1 and needs.cores == 1:
        return []
    option = "parallel_environment" if needs.nodes == 1 else "spread_environment"
    name: str | None = getattr(site, option)
    if name is None:
        raise SubmitRejected(
            f"{needs.cores} cores on {needs.nodes} nodes need a parallel environment: name it in options.{option}"
        )
    return ["-pe", name.replace("{cores}", str(needs.cores)), str(needs.nodes * needs.cores)]
