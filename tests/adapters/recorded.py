"""What Slurm 22.05.8 really said, word for word: ``captures/slurm.jsonl``."""

from __future__ import annotations

import json
import re
from ast import literal_eval
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxsched.hosts import CommandResult

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(prefix: str = "", command: str = "") -> list[dict[str, Any]]:
    """Return the recorded commands whose name begins so, and which ran this program."""
    text = Path(__file__).with_name("captures").joinpath("slurm.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    return [row for row in found if row["name"].startswith(prefix) and row["cmd"].split()[0].endswith(command)]


def result(row: dict[str, Any]) -> CommandResult:
    """Return a recorded command as a host would have."""
    return CommandResult(
        row["rc"], row["stdout"].encode("utf-8", "surrogateescape"), row["stderr"].encode("utf-8", "surrogateescape")
    )


def recorded(name: str) -> CommandResult:
    """Return the recorded command of that name."""
    [row] = [row for row in rows(name) if row["name"] == name]
    return result(row)


def states() -> Iterator[tuple[str, str]]:
    """Yield each state and reason that squeue showed in the traces ``20-state-…`` (``%i|%T|%t|%r|%R|%M|%L``)."""
    for row in rows("20-state-"):
        for sample in re.findall(r"^ +\d+\.\d+s (?!ACTION)(.*)$", row["stdout"], re.MULTILINE):
            lines = literal_eval(sample) if sample[0] in "'\"" else sample
            for line in lines.split("\n"):
                _, state, _, *reason, _, _, _ = line.split("|")
                yield state, "|".join(reason)


def accounts() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each record of a whole job that sacct showed in the traces, with the trace's name."""
    for row in rows("20-state-"):
        for columns, lines in re.findall(r"^--- sacct .* -o (\S+): rc=0\n((?:.*\|.*\n)*)", row["stdout"], re.MULTILINE):
            for line in lines.splitlines():
                record = dict(zip(columns.split(","), line.split("|"), strict=False))
                if "." not in record["JobID"] and "Submit" in record:
                    yield row["name"], record
