"""``JobSpec`` → the words of an sbatch command. Pure. Source: sbatch(1) of Slurm 22.05."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import SubmitRejected
from fxsched.units import MIB, ceil_div

if TYPE_CHECKING:
    from fxsched.jobs import JobSpec

# --clusters, --cluster, each beginning of them that sbatch may take for them, and -M, also behind flags of one letter.
# --cluster-constraint is another option.
_CLUSTERS: Final = re.compile(r"--clu?s?t?e?r?s?(?:=.*)?|-[HIOQWsv]*M.*", re.DOTALL)


def sbatch_options(spec: JobSpec) -> list[str]:
    """Return sbatch's options for ``spec``; the script goes to its standard input, and no file is named.

    Every value is joined to its option by "=", so that none can be taken for another option. Slurm counts memory in MiB
    on each node and time in minutes; both round up. The administrator's native options come last, where they win.

    Raises:
        SubmitRejected: the native options do not begin with an option, or name a cluster: the job would be on another
            than the one that is asked for it afterwards.
    """
    if spec.native and not spec.native[0].startswith("-"):
        raise SubmitRejected(
            f"native begins with {spec.native[0]!r}, which sbatch would take for a script: begin with an option"
        )
    for word in spec.native:
        if _CLUSTERS.fullmatch(word):
            raise SubmitRejected(f"native has {word!r}, but no other command would look there: set options.cluster")
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
    words = ["--parsable", *(f"--{name}={value}" for name, value in options.items() if value is not None)]
    if spec.exclusive:
        words.append("--exclusive")
    return [*words, *spec.native]


def _file_pattern(path: str) -> str:
    """Return ``path`` so that Slurm, which expands ``%`` in a file's name, takes it as it stands."""
    return path.replace("%", "%%")
