"""Commands recorded on Docker 20.10.24 and Podman 4.3.1, given to the fake: same exit status, same words.

A container gets the id that it had in the recording; times are normalised.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fxsched_fakes import Cause, Cluster, Job, State, faults, install

from ..captures import Captures
from ..commands import command_server
from .fake_slurm import wait_for

RECORDED = Captures("container")
ENGINES = {"D": "docker", "P": "podman"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Engine:
    """Both engines' commands on one simulated cluster."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.cluster: Cluster = install(self.bin, "docker", directory / "state", server=command_server())

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / argv[0], *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": "/root"},
            timeout=30,
        )

    def put(self, id: str, token: str, state: State = State.ENDED, code: int = 0, cause: Cause | None = None) -> None:
        """Put a container as the recording had it, without a process."""
        labels = {"fxsched.token": token, "fxsched.job": f"x.{token}", "fxsched.user": "0"}
        extra = {"id": id, "image": "host:1", "argv": "[]", "labels": json.dumps(labels), "env": "[]"}
        with self.cluster as cluster:
            job = Job(name=f"x.{token}", queues=["engine"], extra=extra, begin=1e12)
            cluster.submit(job, b"", {})
            job.state, job.exit_code, job.cause = state, code, cause
            if state != State.QUEUED:
                job.started = job.submitted
            if state == State.ENDED:
                job.ended = job.submitted
            if job.live:
                own = os.getpid()
                job.runner = (own, int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[19]))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    with engine.cluster as cluster:
        for job in cluster.jobs.values():
            if job.pid is None and job.live:
                job.state = State.ENDED
        for job in list(cluster.jobs.values()):
            cluster.lose(job)


def replay(engine: Engine, row: dict[str, Any]) -> None:
    """Run the recorded command and compare."""
    done = engine.run(*shlex.split(row["cmd"]))

    assert [done.returncode, normal(done.stdout), normal(done.stderr)] == [
        row["rc"],
        normal(row["stdout"]),
        normal(row["stderr"]),
    ]


def normal(text: str) -> str:
    """Without times, process ids, and what only a real container has."""
    text = TIME.sub(lambda found: "0" if found[0].startswith("0001") else "T", text)
    text = re.sub(r'"Health":\{[^}]*\},|"CgroupPath":"[^"]*",|"ConmonPid":\d+,', "", text)
    text = re.sub(r'"Pid":\d+', '"Pid":N', text)
    return re.sub(r"(Exited \(\d+\)) .* ago", r"\1 T", text)


def rows(*names: str) -> list[dict[str, Any]]:
    found = [row for letter in ENGINES for row in RECORDED.rows(f"{letter}-") if row["name"][2:] in names]
    assert found
    return found


def token(word: str) -> str:
    return (word + "a" * 20)[:20]


ALONE = rows(
    *("version", "ps-none", "run-no-image", "run-bad-mount", "run-bad-option", "run-bad-memory", "inspect-unknown"),
    *("stop-unknown", "kill-unknown", "rename-unknown", "rm-unknown", "ps-bad-option"),
)


@pytest.mark.parametrize(
    "row",
    # Podman hands the limit to the kernel, which says no in its own words.
    [row for row in ALONE if row["name"] != "P-run-bad-memory"],
    ids=lambda row: row["name"],
)
def test_a_command_that_stands_alone(engine: Engine, row: dict[str, Any]) -> None:
    replay(engine, row)


@pytest.mark.parametrize("row", rows("inspect-many"), ids=lambda row: row["name"])
def test_inspect_of_many_shows_those_that_are_there_and_names_the_others(engine: Engine, row: dict[str, Any]) -> None:
    ids = [word for word in shlex.split(row["cmd"]) if re.fullmatch("[0-9a-f]{64}", word)]
    docker = row["name"].startswith("D")
    engine.put(ids[0], token("zero"))
    engine.put(ids[2], token("three"), code=3)
    engine.put(ids[3], token("oom"), code=137, cause=Cause.MEMORY if docker else None)
    engine.put(ids[4], token("pause"), State.SUSPENDED)
    engine.put(ids[5], token("create"), State.QUEUED)
    engine.put(ids[7], token("run"), State.RUNNING)

    replay(engine, row)


@pytest.mark.parametrize("row", rows("run-same-name"), ids=lambda row: row["name"])
def test_a_name_that_is_taken(engine: Engine, row: dict[str, Any]) -> None:
    [id] = set(re.findall("[0-9a-f]{64}", row["stderr"]))
    engine.put(id, token("run"))

    replay(engine, row)


@pytest.mark.parametrize(
    "row", rows("stop-ended", "kill-ended", "ps-token", "rm-never-started", "rm-created"), ids=lambda row: row["name"]
)
def test_a_container_that_has_ended(engine: Engine, row: dict[str, Any]) -> None:
    ids = re.findall("[0-9a-f]{64}", row["cmd"] + row["stdout"]) or ["c" * 64]
    engine.put(ids[0], token("entry" if "never" in row["name"] else "three"))

    replay(engine, row)


@pytest.mark.parametrize(
    "row", rows("rm-running", "rename-taken", "unpause-again", "rename", "pause"), ids=lambda row: row["name"]
)
def test_a_container_that_runs(engine: Engine, row: dict[str, Any]) -> None:
    id = re.findall("[0-9a-f]{64}", row["cmd"])[0]
    other = (re.findall(r'by container "([0-9a-f]{64})"', row["stderr"]) or ["d" * 64])[0]
    if other != id and "rm" not in row["name"]:
        engine.put(other, token("run"))
    engine.put(id, token("pause"), State.RUNNING)

    replay(engine, row)


@pytest.mark.parametrize("row", rows("rename-same"), ids=lambda row: row["name"])
def test_a_name_that_it_has_already(engine: Engine, row: dict[str, Any]) -> None:
    engine.put(re.findall("[0-9a-f]{64}", row["cmd"])[0], f"{token('pause')}.cancelled", State.RUNNING)

    replay(engine, row)


@pytest.mark.parametrize("kind", ["down", "time-out", "munge"])
@pytest.mark.parametrize("verb", ["run", "ps", "inspect", "stop"])
def test_a_daemon_that_does_not_answer_is_told_as_recorded(engine: Engine, kind: str, verb: str) -> None:
    name = {"down": "closed", "time-out": "close", "munge": "denied"}[kind]
    if (kind, verb) == ("munge", "stop") or (name, verb) == ("closed", "stop"):
        name = "down"
    row = RECORDED.row(f"D-{name}-{verb}")
    fault = "accept-then-time-out" if kind == "time-out" else "munge" if name == "denied" else "down"
    faults.plan(engine.cluster.directory, [{"command": f"docker {verb}", "fault": fault}])

    done = engine.run(*shlex.split(row["cmd"]))

    def plain(text: str) -> str:
        text = re.sub(r"unix:///\S+?\.sock|unix /\S+?\.sock", "SOCKET", text)
        return re.sub(r'\w+ "http:[^"]*"', "URL", text)

    assert (done.returncode, plain(done.stderr)) == (row["rc"], plain(row["stderr"]))


def test_a_container_s_life(engine: Engine) -> None:
    for name in ENGINES.values():
        made = engine.run(
            name, "run", "--detach", f"--name={name}1", "host:1", "/bin/sh", "-c", "echo hello; exec sleep 60"
        )
        id = made.stdout.strip()
        assert re.fullmatch("[0-9a-f]{64}", id)
        wait_for(lambda id=id, name=name: engine.run(name, "logs", id).stdout == "hello\n", lambda: "no log")

        assert engine.run(name, "stop", "-t5", id).stdout == f"{id}\n"
        shown = engine.run(name, "inspect", "--format={{.State.Status}} {{.State.ExitCode}} {{.Name}}", id[:12]).stdout
        assert shown.replace("/", "") == f"exited 143 {name}1\n"
        assert engine.run(name, "rm", f"{name}1").returncode == 0
        assert engine.run(name, "ps", "--all", "--quiet").stdout == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (3.2, "3 seconds"),
        (61, "About a minute"),
        (300, "5 minutes"),
        (3700, "About an hour"),
        (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages_are_rounded_as_the_engines_do(engine: Engine, seconds: float, words: str) -> None:
    engine.put("a" * 64, token("old"))
    with engine.cluster as cluster:
        cluster.set_clock(seconds)

    shown = engine.run("docker", "ps", "--all", "--format={{.Status}}").stdout

    assert shown == f"Exited (0) {words} ago\n"
