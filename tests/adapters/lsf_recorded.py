"""What volclava 2.2 was recorded to say."""

from __future__ import annotations

from typing import Any

from ..captures import Captures

LSF = Captures("lsf")


def commands(program: str, *options: str) -> list[dict[str, Any]]:
    """Return the recorded commands of a program that ended by themselves and have these options, ``env`` or not."""
    return [row for row in LSF.rows() if "rc" in row and _is(row["cmd"].split("\n")[0].split(), program, options)]


def _is(words: list[str], program: str, options: tuple[str, ...]) -> bool:
    while words[0] == "env" or "=" in words[0]:
        words = words[1:]
    return words[0] == program and all(option in words for option in options)
