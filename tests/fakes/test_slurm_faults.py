"""Planned misbehaviour of the fake Slurm: what the caller sees, and what has really happened."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fxsched_fakes
from fxsched_fakes import faults

from .fake_slurm import Slurm, captures

SUBMIT = ("sbatch", "--parsable", "-H", "-J", "mine", "--wrap", "true")


def names(slurm: Slurm) -> list[str]:
    with slurm.cluster as cluster:
        return [job.name for job in cluster.jobs.values()]


def test_a_plan_hits_the_calls_it_names(slurm: Slurm) -> None:
    slurm.plan("sbatch", "fail", calls=[2])
    assert [slurm.run(*SUBMIT).returncode for _ in range(3)] == [0, 1, 0]
    slurm.plan("sbatch", "fail", calls="5-")
    assert [slurm.run(*SUBMIT).returncode for _ in range(3)] == [0, 1, 1]


def test_calls_are_logged(slurm: Slurm) -> None:
    slurm.run(*SUBMIT)
    slurm.run("squeue", "-j", "99")
    assert faults.calls(slurm.state) == [
        {"command": "sbatch", "argv": list(SUBMIT[1:]), "rc": 0},
        {"command": "squeue", "argv": ["-j", "99"], "rc": 1},
    ]
    assert len(faults.calls(slurm.state, "squeue")) == 1


def test_a_plan_with_an_unknown_fault_is_refused(slurm: Slurm) -> None:
    with pytest.raises(ValueError, match="no fault is called 'fale'"):
        slurm.plan("sbatch", "fale")


def test_a_plan_for_a_command_that_the_cluster_does_not_have_is_refused(slurm: Slurm) -> None:
    with pytest.raises(ValueError, match=r"no command is called 'sbtach'; there are .*sbatch"):
        slurm.plan("sbtach", "fail")


def test_faults_that_calls_have_met_are_recorded(slurm: Slurm) -> None:
    slurm.plan("sbatch", "fail", calls="2-")
    slurm.run(*SUBMIT)
    slurm.run("squeue", "--me")
    assert faults.fired(slurm.state) == []

    slurm.run(*SUBMIT)

    assert faults.fired(slurm.state) == [{"command": "sbatch", "fault": "fail", "call": 2}]


def test_fail(slurm: Slurm) -> None:
    slurm.plan("sbatch", "fail", rc=3, stderr="sbatch: error: no\n")
    done = slurm.run(*SUBMIT)
    assert (done.returncode, done.stdout, done.stderr, names(slurm)) == (3, "", "sbatch: error: no\n", [])


@pytest.mark.parametrize(("fault", "jobs"), [("hang", []), ("accept-then-hang", ["mine"])])
def test_hang(slurm: Slurm, fault: str, jobs: list[str]) -> None:
    slurm.plan("sbatch", fault)
    process = slurm.start(*SUBMIT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(b"", 0.4)
    assert names(slurm) == jobs
    process.kill()
    process.communicate()
    assert faults.calls(slurm.state)[0]["rc"] is None


def test_slow(slurm: Slurm) -> None:
    slurm.plan("sbatch", "slow", delay=0.01)
    assert slurm.run(*SUBMIT).stdout == "1\n"


@pytest.mark.parametrize("fault", ["accept-then-time-out", "down"])
@pytest.mark.parametrize("command", ["sbatch", "scancel", "sinfo", "squeue-me", "squeue-j", "scontrol-ping"])
def test_an_unreachable_controller_is_reported_as_recorded(slurm: Slurm, fault: str, command: str) -> None:
    (row,) = captures(f"{'76-down' if fault == 'down' else '70-stopped'}-{command}")
    slurm.plan(command.partition("-")[0], fault)
    argv: list[str] = {
        "sbatch": list(SUBMIT),
        "scancel": ["scancel", "186"],
        "sinfo": ["sinfo", "-h"],
        "squeue-me": ["squeue", "-h", "--me"],
        "squeue-j": ["squeue", "-h", "-j", "187"],
        "scontrol-ping": ["scontrol", "ping"],
    }[command]
    done = slurm.run(*argv)
    assert (done.returncode, done.stdout, done.stderr) == (row["rc"], row["stdout"], row["stderr"])
    assert names(slurm) == (["mine"] if (command, fault) == ("sbatch", "accept-then-time-out") else [])


def test_a_timed_out_scancel_took_effect(slurm: Slurm) -> None:
    job = slurm.out(*SUBMIT)
    slurm.plan("scancel", "accept-then-time-out")
    assert slurm.run("scancel", job).returncode == 140
    assert slurm.show(job) == "CANCELLED"


def test_munge(slurm: Slurm) -> None:
    (row,) = captures("75-munge-nosocket-squeue")
    slurm.plan("squeue", "munge")
    done = slurm.run("squeue", "-h")
    socket = "/cluster/slurm/run/nosuch.socket"
    expected = row["stderr"].replace(socket, "/run/munge/munge.socket.2")
    assert (done.returncode, done.stderr) == (row["rc"], expected)


def test_garbage(slurm: Slurm) -> None:
    slurm.plan("squeue", "garbage")
    process = slurm.start("squeue", "-h")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert b"\0" not in out
    with pytest.raises(UnicodeDecodeError):
        out.decode()


def test_half_line(slurm: Slurm) -> None:
    first, second = slurm.submit("true", "-H", "-J", "a" * 20), slurm.submit("true", "-H", "-J", "b" * 20)
    slurm.plan("squeue", "half-line")
    done = slurm.run("squeue", "-h", "-o", "%i %j")
    assert (done.returncode, done.stdout) == (0, f"{second} {'b' * 20}\n{first} {'a' * 9}")


def test_forget(slurm: Slurm) -> None:
    job = slurm.submit("true")
    slurm.await_state(job, "COMPLETED")
    slurm.plan("squeue", "forget")
    assert slurm.run("squeue", "-h", "-t", "all", "-j", job).returncode == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_banner(slurm: Slurm, stream: str) -> None:
    slurm.plan("sbatch", "banner", text="Welcome 4217\n", stream=stream)
    done = slurm.run(*SUBMIT)
    expected = ("Welcome 4217\n1\n", "") if stream == "stdout" else ("1\n", "Welcome 4217\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, *expected)


def test_lose(slurm: Slurm) -> None:
    slurm.plan("sbatch", "lose", calls=[1])
    assert slurm.out("sbatch", "--parsable", "-J", "lost", "--wrap", "echo > ran; sleep 60") == "1"
    assert names(slurm) == []
    assert slurm.out(*SUBMIT) == "1"
    assert slurm.show("1", "%j") == "mine"


# --- setting up and controlling from a shell


def fakes(*argv: str) -> str:
    source = Path(fxsched_fakes.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "fxsched_fakes", *argv], capture_output=True, text=True, check=True, cwd=source
    )
    return done.stdout


def test_install_and_control_from_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"name": "mine", "forget_after": 5}))
    state = fakes("install", str(tmp_path / "bin"), "--nodes", "2", "--config", str(config), "--set", "accounting=true")
    settings: dict[str, Any] = json.loads((tmp_path / "bin.state" / "cluster.json").read_text())
    assert state.strip() == str(tmp_path / "bin.state")
    assert (settings["name"], settings["forget_after"], settings["accounting"]) == ("mine", 5, True)
    assert [node["name"] for node in settings["nodes"]] == ["n1", "n2"]


def test_control_verbs(slurm: Slurm) -> None:
    jobs = [slurm.submit("sleep 60") for _ in range(3)]
    for job, verb, state in zip(
        jobs, ("node-fail", "oom", "preempt"), ("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"), strict=True
    ):
        fakes("control", str(slurm.state), verb, job)
        assert slurm.show(job) == state
    fakes("control", str(slurm.state), "drain", "n1")
    assert slurm.out("sinfo", "-h", "-n", "n1", "-p", "debug", "-o", "%t %N").splitlines()[0] == "drain n1"
    fakes("control", str(slurm.state), "resume", "n1")
    fakes("control", str(slurm.state), "set-clock", "301")
    assert slurm.out("squeue", "-h", "-t", "all") == ""
    held = slurm.submit("true", "-H")
    fakes("control", str(slurm.state), "chown", held, "dave", "4004")
    assert slurm.run("scancel", held).returncode == 210


def test_the_public_names() -> None:
    assert sorted(fxsched_fakes.__all__) == ["Cause", "Cluster", "Job", "Settings", "State", "faults", "install"]
    assert all(getattr(fxsched_fakes, name) for name in fxsched_fakes.__all__)
