"""A user with an own home, and FastX's request of that user, for the tests of the launcher."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from .. import programs
from ..programs import LAUNCHER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class User:
    """Somebody who starts sessions: runs the launcher as FastX would, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / ".local" / "state" / "fxsched"
        self.root = home / "fastx"
        self.environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.start_script("""echo '{"result": 1}'; sleep 60""")  # a launch does not wait for what says that it runs

    def start_script(self, text: str) -> None:
        """Make ``text`` what FastX's start script does."""
        script = self.root / "scripts" / "start"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)

    def request(self, **members: Any) -> dict[str, Any]:
        """Return FastX's request, with ``members`` in place of the usual ones."""
        return {
            "uid": os.getuid(),
            "gid": os.getgid(),
            "login": "ada",
            "homedir": str(self.home),
            "rootDir": str(self.root),
            "configDir": str(self.home / "etc"),
            "defaultStartScript": "$FX_ROOT_DIR/scripts/start",
            "start": {"command": "xterm", "geometry": "800x600", "name": "my session", "params": {"cores": "4"}},
        } | members

    def config(self, text: str) -> Path:
        """Write a configuration and return its path."""
        path = self.home / "fxsched.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def launch(self, *arguments: str, data: bytes | None = None, **members: Any) -> subprocess.CompletedProcess[str]:
        """Run the launcher on a request, or on any ``data``."""
        stdin = json.dumps(self.request(**members)).encode() if data is None else data
        result = programs.run([LAUNCHER, *arguments], input=stdin, env=self.environment)
        return subprocess.CompletedProcess(
            result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
        )

    def launch_in_shell(
        self, rest: str = "", environment: Mapping[str, str] | None = None, **members: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed launcher, with odd standard streams or an odd environment.

        At the head of a pipe, too, its exit status is returned.
        """
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shlex.quote(str(LAUNCHER))} {rest}"],
            input=json.dumps(self.request(**members)),
            capture_output=True,
            encoding="utf-8",
            env=self.environment | dict(environment or {}),
            timeout=60,
            check=False,
        )

    def submitted(self) -> list[str]:
        """Return the tokens of all that was submitted or staged, ever."""
        places = ("ledger/live", "ledger/ended", "sessions", "processes")
        return [path.name for place in places for path in self.state.glob(f"{place}/*")]


@pytest.fixture
def user(tmp_path: Path) -> Any:
    """A user whose jobs are ended after the test."""
    user = User(tmp_path)
    yield user
    programs.end_all(user.home)
