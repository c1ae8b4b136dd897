"""A shell of an operator: ``fxsched``, in a home of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from .. import programs
from ..programs import FXSCHED

if TYPE_CHECKING:
    from pathlib import Path


class Shell:
    """Runs ``fxsched`` and ends its jobs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        config = home / "usual.toml"
        config.write_text("[clusters.local]\npoll_interval = 0.1\n")
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "FXSCHED_CONFIG": str(config),
        }

    def fxsched(self, *arguments: str, code: int = 0) -> str:
        """Run fxsched, which must exit with ``code``; return what it printed, and what it complained of."""
        result = programs.run([FXSCHED, *arguments], env=self.environment, cwd=self.home, text=True)
        assert result.returncode == code, result
        return result.stdout + result.stderr

    def through(self, rest: str, **environment: str) -> tuple[int, str]:
        """Run the installed ``fxsched`` with the rest of a line of bash; its exit status and what it complained of."""
        result = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shlex.quote(str(FXSCHED))} {rest}"],
            capture_output=True,
            text=True,
            env=self.environment | environment,
            cwd=self.home,
            timeout=60,
        )
        return result.returncode, result.stderr

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run fxsched and return the one object that it printed."""
        found: dict[str, Any] = json.loads(self.fxsched(*arguments))
        return found

    def ended(self, id: str) -> dict[str, Any]:
        """Ask for a job's status until it has ended."""
        while (status := self.json("status", "--json", id))["state"] != "ended":
            pass
        return status


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    """A shell whose local jobs end with the test."""
    shell = Shell(tmp_path)
    yield shell
    programs.end_all(tmp_path)
