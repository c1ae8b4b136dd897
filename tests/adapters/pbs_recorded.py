"""What OpenPBS 23.06.06 and Torque 6.1.3 were recorded to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fxsched.hosts import CommandResult

from ..captures import Captures, result

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENPBS = Captures("openpbs")
TORQUE = Captures("torque")
BOTH = {"openpbs": OPENPBS, "torque": TORQUE}


def commands(name: str, of: str = "openpbs") -> list[dict[str, Any]]:
    """Return the recorded calls of one command, alone and to its own end."""
    rows = (row for row in BOTH[of].rows(command=name) if isinstance(row.get("rc"), int))
    return [row for row in rows if not re.search(r"[;|] ", row["cmd"].split("\n")[0])]


def reply(row: dict[str, Any]) -> CommandResult:
    """Return a recorded command as a host would have, without what was noted beside it."""
    return result(row | {"stderr": "" if row["stderr"].startswith("# ") else row["stderr"]})


def forms(name: str) -> tuple[str, str]:
    """Return what qstat of 23.06.06 said, as JSON and as text, of a job that was submitted to spoil its JSON."""
    found = re.search(
        r"# \[23\.06\.06\] qstat -f -F json: [^\n]*\n(.*?)# \[23\.06\.06\] qstat -f:\n(.*)",
        OPENPBS.row(name)["stderr"],
        re.DOTALL,
    )
    assert found
    return found[1], found[2].rstrip() + "\n\n"


def spoilt() -> Iterator[str]:
    """Yield the names of the jobs whose JSON no strict reader reads."""
    for row in OPENPBS.rows("41-"):
        if re.search(r"\[23\.06\.06\] qstat -f -F json: INVALID", row["stderr"]):
            yield row["name"]
