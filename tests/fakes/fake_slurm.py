"""A fake Slurm in a temporary directory, driven as a user would: by its commands."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fxsched_fakes import Cluster, faults, install
from fxsched_fakes.processes import MARK, RUNNER_MARK

from ..captures import Captures
from ..commands import command_server

PATIENCE = 20


def captures(*names: str) -> list[dict[str, str]]:
    """Recorded commands of Slurm 22.05.8, by name or by the start of names (`03-*`)."""
    rows = Captures("slurm").rows()
    wanted = [
        row
        for name in names
        for row in rows
        if row["name"] == name or (name.endswith("*") and row["name"].startswith(name[:-1]))
    ]
    assert wanted, names
    return wanted


class Slurm:
    """One simulated cluster, whose commands run in the server, unless ``server`` says otherwise."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.bin = directory / "bin"
        self.cluster: Cluster = install(self.bin, state=directory / "state", **{"server": command_server()} | settings)
        self.state = Path(self.cluster.directory)

    def start(self, *argv: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.bin / argv[0], *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC"} | dict(environment or {}),
        )

    def run(
        self, *argv: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*argv, environment=environment)
        out, err = process.communicate(stdin, PATIENCE)
        return subprocess.CompletedProcess(argv, process.returncode, os.fsdecode(out), os.fsdecode(err))

    def out(self, *argv: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        done = self.run(*argv, stdin=stdin, environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.removesuffix("\n")

    def submit(self, command: str, *options: str) -> str:
        """Submits a shell command; the job's id."""
        return self.out("sbatch", "--parsable", *options, "--wrap", command)

    def show(self, job: str, pattern: str = "%T") -> str:
        return self.out("squeue", "-h", "-t", "all", "-j", job, "-o", pattern)

    def detail(self, job: str) -> dict[str, str]:
        words = self.out("scontrol", "-o", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def await_state(self, job: str, state: str) -> None:
        wait_for(lambda: self.show(job) == state, lambda: f"job {job} is {self.show(job)}, not {state}")

    def await_file(self, name: str) -> str:
        """The content of a file that a job writes; it must end with a line feed."""
        path = self.home / name
        wait_for(lambda: path.exists() and path.read_text().endswith("\n"), lambda: f"no {name}")
        return path.read_text()

    def plan(self, command: str, fault: str, **options: object) -> None:
        faults.plan(self.state, [{"command": command, "fault": fault, **options}])

    def advance_clock(self, seconds: float) -> None:
        with self.cluster as cluster:
            cluster.set_clock(cluster.clock_offset + seconds)

    def close(self) -> None:
        """Ends all jobs, and makes sure that no process of this cluster is left."""
        with self.cluster as cluster:
            for job in list(cluster.jobs.values()):
                cluster.lose(job)
        wait_for(lambda: not self.processes(), lambda: f"left: {self.processes()}")

    def processes(self) -> dict[int, str]:
        """Every process of a job of this cluster, and every runner beside one."""
        marks = f"@{self.state}".encode(), f"{RUNNER_MARK}={self.state}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            pairs = environment.split(b"\0")
            if marks[1] in pairs or any(pair.startswith(MARK.encode()) and pair.endswith(marks[0]) for pair in pairs):
                found[int(entry.name)] = os.fsdecode(command.replace(b"\0", b" "))
        return found


def wait_for(condition: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """It exists, and is no zombie that waits for its parent."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
