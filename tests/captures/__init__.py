"""What real schedulers said, word for word: one file a scheduler, one recorded command a line.

A row has the command (``cmd``), its exit status (``rc``; a word where it was killed), ``stdout``, ``stderr``, and a
name and a note of what it shows.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from fxsched.hosts import CommandResult


class Captures:
    """The recorded commands of one scheduler."""

    def __init__(self, scheduler: str) -> None:
        self._file = Path(__file__).with_name(f"{scheduler}.jsonl")

    @cached_property
    def _all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    def rows(self, prefix: str = "", command: str = "") -> list[dict[str, Any]]:
        """Return the recorded commands whose name begins so, and which ran this program."""
        return [row for row in self._all if row["name"].startswith(prefix) and row["cmd"].split()[0].endswith(command)]

    def row(self, name: str) -> dict[str, Any]:
        """Return the recorded command of that name."""
        [row] = [row for row in self._all if row["name"] == name]
        return row

    def result(self, name: str) -> CommandResult:
        """Return the recorded command of that name as a host would have."""
        return result(self.row(name))


def result(row: dict[str, Any]) -> CommandResult:
    """Return a recorded command as a host would have."""
    return CommandResult(
        row["rc"], row["stdout"].encode("utf-8", "surrogateescape"), row["stderr"].encode("utf-8", "surrogateescape")
    )
