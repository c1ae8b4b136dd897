"""Somebody who starts sessions on a real cluster with the installed programs, in a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fxsched.jobs import JobId
from fxsched.records.ledger import Entry, Ledger, read_entry
from fxsched.session.directory import Report, parse_report

PROGRAMS = Path(sys.executable).parent


class Person:
    """Runs ``fxsched-launch`` as FastX would, and ``fxsched`` as people do.

    Args:
        home: an own, empty directory.
        cluster: what a client of the cluster needs in its environment.
        settings: further lines of ``[clusters.slurm]``.
        wait: the launcher's ``wait_for_start``, in seconds.
        start: what FastX's start script does.
    """

    def __init__(
        self,
        home: Path,
        cluster: Mapping[str, str],
        *,
        settings: str = "",
        wait: float = 0,
        start: str = "exec sleep 600",
    ) -> None:
        self.home = home
        self.uid, self.gid = os.getuid(), os.getgid()
        self.prefix: tuple[str, ...] = ()
        """What makes a command run as this person, where the tests run as somebody else."""
        self.state = home / ".local" / "state" / "fxsched"
        self.ledger = Ledger(self.state)
        self.config = home / "fxsched.toml"
        self.environment = {
            "HOME": str(home),
            "PATH": cluster["PATH"],
            "SLURM_CONF": cluster["SLURM_CONF"],
            "FXSCHED_CONFIG": str(self.config),
        }
        home.mkdir(exist_ok=True)
        self.configure(settings, wait)
        self.start_script(start)

    def configure(self, settings: str = "", wait: float = 0, profile: str = "") -> None:
        """Write the configuration."""
        self.config.write_text(
            f'[clusters.slurm]\nadapter = "slurm"\n{settings}\n[profiles.default]\nwait_for_start = {wait}\n{profile}\n'
        )
        self.config.chmod(0o644)

    def start_script(self, text: str) -> None:
        """Make ``text`` what FastX's start script does."""
        script = self.home / "fastx" / "scripts" / "start"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)

    def request(self, name: str = "session", **members: Any) -> bytes:
        """Return FastX's request, with ``members`` in place of the usual ones."""
        usual = {
            "uid": self.uid,
            "gid": self.gid,
            "login": "ada",
            "homedir": str(self.home),
            "rootDir": str(self.home / "fastx"),
            "configDir": str(self.home),
            "defaultStartScript": "$FX_ROOT_DIR/scripts/start",
            "start": {"command": "xterm", "geometry": "800x600", "name": name, "params": {}},
        }
        return json.dumps(usual | members).encode()

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of one of the installed programs."""
        return [*self.prefix, str(PROGRAMS / program), *arguments]

    def begin_launch(self, **members: Any) -> subprocess.Popen[str]:
        """Start the launcher on a request and go on; ``communicate()`` gives its end."""
        launcher = subprocess.Popen(
            self.command("fxsched-launch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.home,
            text=True,
        )
        assert launcher.stdin
        launcher.stdin.write(self.request(**members).decode())
        launcher.stdin.flush()
        launcher.stdin.close()
        launcher.stdin = None
        return launcher

    def launch(self, *, code: int = 0, timeout: float = 60, **members: Any) -> subprocess.CompletedProcess[str]:
        """Launch to the end, which must be an exit with ``code``."""
        return self._run(self.command("fxsched-launch"), code, timeout, self.request(**members))

    def fxsched(self, *arguments: str, code: int | None = 0, timeout: float = 90) -> str:
        """Run fxsched, which must exit with ``code``; return what it printed, and what it complained of."""
        result = self._run(self.command("fxsched", *arguments), code, timeout)
        return result.stdout + result.stderr

    def status(self, id: str, code: int | None = 0) -> dict[str, Any]:
        """Return what ``fxsched status`` says of a job."""
        result = self._run(self.command("fxsched", "status", "--json", id), code, 60)
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def status_until(self, id: str, state: str, seconds: float = 30) -> dict[str, Any]:
        """Ask for a job's status until it is ``state``."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            nonlocal found
            result = subprocess.run(
                self.command("fxsched", "status", "--json", id),
                env=self.environment,
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=60,
            )
            found = json.loads(result.stdout or "{}")
            return result.returncode in (0, 3) and found["state"] == state

        until(f"job {id} to be {state}", reached, seconds, lambda: found)
        return found

    def entries(self) -> list[Entry]:
        """Return all entries of the ledger, live and ended."""
        paths = (path for kind in ("live", "ended") for path in self.state.glob(f"ledger/{kind}/*.json"))
        return [read_entry(path.read_bytes(), path.stem) for path in paths]

    def only_entry(self) -> Entry:
        """Return the ledger's only entry."""
        (entry,) = self.entries()
        return entry

    def log(self) -> str:
        """Return what the launcher and the library logged."""
        logs = (self.state / "launch.log.1", self.state / "launch.log")
        return "".join(log.read_text() for log in logs if log.exists())

    def session(self, token: str) -> Path:
        """Return a session's directory."""
        return self.state / "sessions" / token

    def report(self, token: str) -> Report:
        """Return what the job itself says of its session."""
        lines = []
        for name in ("started", "ended"):
            path = self.session(token) / name
            if path.exists():
                lines.append(f"{name} {path.read_text()}")
        return parse_report("".join(lines).encode())

    def _run(
        self, argv: Sequence[str], code: int | None, timeout: float, data: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv,
            input=data.decode(),
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert code in (None, done.returncode), (done, self.log()[-2000:])
        return done


def until(
    what: str, condition: Callable[[], object], seconds: float = 30, shown: Callable[[], object] = lambda: ""
) -> None:
    """Wait for what nobody announces. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}: {shown()}")
        time.sleep(0.05)


def jobs_by_name(listing: str) -> dict[str, list[JobId]]:
    """Return the ids in the rows ``id|name`` of a squeue, by name."""
    found: dict[str, list[JobId]] = {}
    for line in listing.splitlines():
        id, _, name = line.partition("|")
        found.setdefault(name, []).append(JobId(id))
    return found
