"""The batch script: where it comes from, which ones sbatch 22.05.8 refuses, and the options inside."""

from __future__ import annotations

import os
import sys

from ..frame import CommandError

LIMIT = 4 * 1024 * 1024


def wrapped(command: str) -> bytes:
    return os.fsencode(f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{command}\n")


def found(name: str, path: str) -> str:
    """The script that is meant: one of that name here, else on PATH."""
    places = [] if "/" in name or os.path.exists(name) else path.split(":")
    return next((f"{place}/{name}" for place in places if os.path.isfile(f"{place}/{name}")), name)


def read(name: str | None) -> bytes:
    """The script in that file, or the one on stdin."""
    if name is None:
        with os.fdopen(0, "rb", closefd=False) as stdin:
            return checked(stdin.read())
    # 22.05.8 wants a regular file: /dev/stdin fails even when it has content.
    if not os.path.isfile(name):
        raise CommandError(f"sbatch: error: Unable to open file {name}\n")
    with open(name, "rb") as file:
        return checked(file.read())


def checked(script: bytes) -> bytes:
    if not script:
        raise CommandError("sbatch: error: Batch script is empty!\n")
    if not script.strip():
        raise CommandError("sbatch: error: Batch script contains only whitespace!\n")
    if not script.startswith(b"#!"):
        raise CommandError(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh\n"
        )
    if b"\0" in script:
        raise CommandError(
            "sbatch: error: The Slurm controller does not allow scripts that\n"
            "sbatch: error: contain a NULL character '\\0'.\n"
        )
    if b"\r\n" in script:
        raise CommandError(
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n"
            "sbatch: error: instead of expected UNIX line breaks (\\n).\n"
        )
    if len(script) > LIMIT:
        reason = "Pathname of a file, directory or other parameter too long"  # so says 22.05.8 of a script, too
        raise CommandError(f"sbatch: error: Batch job submission failed: {reason}\n")
    return script


def options(script: bytes) -> list[str]:
    """The words of its #SBATCH lines, which end with the first command."""
    words: list[str] = []
    for line in os.fsdecode(script).split("\n"):
        if line.startswith("#SBATCH"):
            words += _words(line.removeprefix("#SBATCH"))
        elif line.strip() and not line.startswith("#"):
            break
    return words


def _words(line: str) -> list[str]:
    """Words as sbatch splits them: quotes and backslashes as in a shell, an unquoted # begins a comment."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    characters = iter(line)
    for character in characters:
        if character == "\\" and quote != "'":
            word = (word or "") + next(characters, "")
        elif quote:
            word, quote = (word, "") if character == quote else ((word or "") + character, quote)
        elif character in "'\"":
            word, quote = word or "", character
        elif character == "#" and word is None:
            break
        elif character.isspace():
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + character
    if quote:
        print(f"sbatch: error: Unmatched `{quote}`", file=sys.stderr)
    return words + ([] if word is None else [word])
