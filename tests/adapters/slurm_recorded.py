"""What Slurm 22.05.8 was recorded to say."""

from __future__ import annotations

import re
from ast import literal_eval
from typing import TYPE_CHECKING

from ..captures import Captures

if TYPE_CHECKING:
    from collections.abc import Iterator

SLURM = Captures("slurm")


def states() -> Iterator[tuple[str, str]]:
    """Yield each state and reason that squeue showed in the traces ``20-state-…`` (``%i|%T|%t|%r|%R|%M|%L``)."""
    for row in SLURM.rows("20-state-"):
        for sample in re.findall(r"^ +\d+\.\d+s (?!ACTION)(.*)$", row["stdout"], re.MULTILINE):
            lines = literal_eval(sample) if sample[0] in "'\"" else sample
            for line in lines.split("\n"):
                _, state, _, *reason, _, _, _ = line.split("|")
                yield state, "|".join(reason)


def accounts() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each record of a whole job that sacct showed in the traces, with the trace's name."""
    for row in SLURM.rows("20-state-"):
        for columns, lines in re.findall(r"^--- sacct .* -o (\S+): rc=0\n((?:.*\|.*\n)*)", row["stdout"], re.MULTILINE):
            for line in lines.splitlines():
                record = dict(zip(columns.split(","), line.split("|"), strict=False))
                if "." not in record["JobID"] and "Submit" in record:
                    yield row["name"], record
