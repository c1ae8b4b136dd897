"""A site where everything can go wrong: a fake Slurm, a user with a home, our programs, and the library."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.timing import Timing
from fxsched.jobs import JobSpec, Token, new_token
from fxsched.records.ledger import Entry, Ledger
from fxsched_fakes import Cluster as FakeCluster
from fxsched_fakes import State, faults, install
from fxsched_slurm.adapter import SlurmAdapter

from .. import programs
from ..contract.in_process import InProcessHost
from ..programs import FXSCHED, LAUNCHER

if TYPE_CHECKING:
    from fxsched.hosts import Host

PATIENCE = 30.0
"""Seconds until a condition that must come true is given up: a loaded machine is slow, not wrong."""
COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "sinfo", "scontrol")


def until(condition: Callable[[], object], otherwise: str = "it did not come true") -> None:
    """Wait for a condition of another process, which can tell nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


class Site:
    """One user's home and one cluster, ``main``, whose nodes are drained at first: its jobs wait, and cost nothing."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.state = self.home / ".local" / "state" / "fxsched"
        self.root = directory / "fastx"
        self.bin = directory / "bin"
        self.fake: FakeCluster = install(self.bin, "slurm", state=directory / "slurm", nodes=2)
        self.slurm = Path(self.fake.directory)
        self.home.mkdir(mode=0o700)
        self.environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.timing = {"settle_pause": 0.0, "gone_after": 0.0}
        """How patient the cluster is, in our programs too, where no setting says it."""
        self.start_script("exec sleep 60")
        self.configure()
        with self.fake as fake:
            fake.drain("n1")
            fake.drain("n2")

    # ── how it is set up

    def configure(self, text: str = "", **settings: object) -> None:
        """Write the configuration, with ``settings`` in place of the usual ones, and ``text`` behind it."""
        values = {
            "poll_interval": 0.2,
            "launch_timeout": 20.0,
            "deadline": 15.0,
            "submit_deadline": 15.0,
            "wait_for_start": 0.0,
        } | settings
        commands = "\n".join(f'{name} = "{self.bin / name}"' for name in COMMANDS)
        self.config = self.root / "fxsched.toml"
        self.config.write_text(
            f'[clusters.main]\nadapter = "slurm"\npoll_interval = {values["poll_interval"]}\n'
            f"launch_timeout = {values['launch_timeout']}\n"
            f"[clusters.main.options]\naccounting = false\ndeadline = {values['deadline']}\n"
            f"submit_deadline = {values['submit_deadline']}\n"
            f"[clusters.main.options.commands]\n{commands}\n"
            f'[profiles.default]\ncluster = "main"\nwait_for_start = {values["wait_for_start"]}\n{text}'
        )
        self.environment["FXSCHED_CONFIG"] = str(self.config)

    def start_script(self, text: str) -> None:
        """Make ``text`` what FastX's start scripts do."""
        for name in ("start", "start-weblink"):
            script = self.root / "scripts" / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f"#!/bin/sh\n{text}\n")
            script.chmod(0o755)

    def undrain(self) -> None:
        """Let the nodes run jobs."""
        with self.fake as fake:
            fake.undrain("n1")
            fake.undrain("n2")

    def plan(self, command: str = "", fault: str = "", **options: object) -> None:
        """Plan one fault, in place of those before; without one, all is well again."""
        self.plan_all([{"command": command, "fault": fault, **options}] if command else [])

    def plan_all(self, plan: list[dict[str, object]]) -> None:
        """Plan several faults. Calls are counted anew."""
        (self.slurm / "calls.json").unlink(missing_ok=True)
        faults.plan(self.slurm, plan)

    # ── what people do

    def request(self, **members: Any) -> bytes:
        """Return FastX's request, with ``members`` in place of the usual ones."""
        usual = {
            "uid": os.getuid(),
            "gid": os.getgid(),
            "login": "ada",
            "homedir": str(self.home),
            "rootDir": str(self.root),
            "start": {"command": "xterm", "name": "my session", "params": {}},
        }
        return json.dumps(usual | members).encode()

    def launching(
        self, *arguments: str, start: Callable[..., subprocess.Popen[str]] | None = None, **members: Any
    ) -> subprocess.Popen[str]:
        """Start the launcher on a request, and do not wait for it. ``start`` may be ``subprocess.Popen``."""
        process = (start or partial(programs.Popen, timing=self.timing))(
            [LAUNCHER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.home,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(self.request(**members).decode())
        process.stdin.close()
        process.stdin = None
        return process

    def launch(self, *arguments: str, **members: Any) -> subprocess.CompletedProcess[str]:
        """Run the launcher on a request."""
        process = self.launching(*arguments, **members)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def launched(self) -> str:
        """Launch a session that is queued, and return its job's id."""
        done = self.launch()
        found = re.search(r"as job (\d+) on main", done.stdout)
        assert found, done
        return found[1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``fxsched``."""
        return programs.run([FXSCHED, *arguments], env=self.environment, cwd=self.home, timing=self.timing, text=True)

    def fxsched(self, *arguments: str, code: int = 0) -> str:
        """Run ``fxsched``, which must exit with ``code``; return what it said on both streams."""
        done = self.run(*arguments)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def open(self, host: Host | None = None, **timing: float) -> Cluster:
        """Return the cluster, as a program that uses the library has it; it never saw what another one did.

        On another host than the usual one, a command is a process, and one that hangs does so until it is given up.
        """
        commands = {name: str(self.bin / name) for name in COMMANDS} if host else {}
        options = SlurmAdapter.Options(commands=commands, accounting=False)
        usual = self.timing | {"launch": 20.0, "cancel": 15.0, "poll_interval": 0.0, "gone_after": 0.0}
        adapter = SlurmAdapter(host or InProcessHost(self.fake, self.home, "slurm"), options)
        return Cluster("main", adapter, self.ledger, timing=Timing(**(usual | timing)))

    def sbatch(self, name: str, command: str = "sleep 60", *options: str) -> str:
        """Submit a job without fxsched, as anybody may; return its id."""
        argv = [str(self.bin / "sbatch"), "--parsable", f"--job-name={name}", *options, f"--wrap={command}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=self.home, timeout=60)
        return done.stdout.strip()

    def spec(self) -> JobSpec:
        """Return a session to submit."""
        return JobSpec(token=new_token(), name="my session", command=("sleep", "60"))

    # ── what there is

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.state)

    def live_entries(self) -> dict[Token, Entry]:
        """Return the live entries of the ledger."""
        return {entry.token: entry for entry in self.ledger.live("main")}

    def ended_tokens(self) -> set[str]:
        """Return the tokens of the ended entries of the ledger."""
        return {path.stem for path in self.state.glob("ledger/ended/*.json")}

    def live_jobs(self) -> dict[str, str]:
        """Return the name of every job that waits or runs, by its id."""
        with self.fake as fake:
            return {str(job.id): job.name for job in fake.jobs.values() if job.state != State.ENDED}

    def live_jobs_by_token(self) -> dict[str, list[str]]:
        """Return the ids of the jobs that wait or run, by the tokens in their names."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for id, name in self.live_jobs().items():
            found[name.rpartition(".")[2]].append(id)
        return dict(found)

    def sessions(self) -> set[str]:
        """Return the tokens of the sessions that have a directory."""
        return {path.name for path in self.state.glob("sessions/*")}

    def calls(self, command: str) -> int:
        """Return how often a command of the scheduler was called."""
        return len(faults.calls(self.slurm, command))

    def clients(self) -> list[str]:
        """Return the command lines of the scheduler's clients that run at this moment."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(os.fsencode(f"{self.bin}/")) for word in words):
                found.append(os.fsdecode(b" ".join(words)))
        return found

    def assert_exactly_once(self) -> None:
        """At most one live job for each token, each live job in the ledger by its id, and no entry without its job."""
        jobs = self.live_jobs_by_token()
        assert {token: [entry.job] for token, entry in self.live_entries().items()} == jobs
        assert all(len(ids) == 1 for ids in jobs.values())
        assert self.sessions() - self.ended_tokens() == jobs.keys()

    # ── the end

    def end_everything(self) -> None:
        """End all jobs, and whatever else the test has left running, also when it failed."""
        self.plan()
        with self.fake as fake:
            for job in list(fake.jobs.values()):
                fake.lose(job)
        programs.end_all(self.home)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of one's own, whose home is also that of the test itself."""
    site = Site(tmp_path)
    for name in ("FXSCHED_STATE", "FXSCHED_CONFIG", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(site.home))
    yield site
    site.end_everything()
