"""The real Slurm cluster that other tests stand on does what they ask of it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from .daemons import DaemonsError
from .slurm_cluster import SlurmCluster


def submit(slurm: SlurmCluster, script: str, *options: str) -> str:
    done = slurm.run("sbatch", "--parsable", *options, stdin=f"#!/bin/sh\n{script}\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ended(slurm: SlurmCluster, job: str) -> str:
    """Wait for a job's end (Slurm tells nobody, so ask); its state."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = slurm.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").stdout.strip()
        if state not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            return state
        time.sleep(0.05)
    raise TimeoutError(f"job {job} is still {state}")


def test_runs_a_job(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = submit(slurm, f"echo $SLURMD_NODENAME > {tmp_path}/node")
    assert ended(slurm, job) == "COMPLETED"
    assert (tmp_path / "node").read_text() in ("n1\n", "n2\n")


def test_gives_gpus(slurm: SlurmCluster, tmp_path: Path) -> None:
    job = submit(slurm, f"echo $SLURM_GPUS_ON_NODE > {tmp_path}/gpus", "--partition=gpu", "--gres=gpu:2")
    assert ended(slurm, job) == "COMPLETED"
    assert (tmp_path / "gpus").read_text() == "2\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only a cluster of root runs jobs of other users")
def test_runs_jobs_of_other_users(slurm: SlurmCluster) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    argv = [*nobody, "sbatch", "--parsable", "--output=/dev/null"]
    done = subprocess.run(argv, input="#!/bin/sh\n[ $(id -u) = 65534 ]", env=slurm.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ended(slurm, done.stdout.strip()) == "COMPLETED"


def test_paused_controller_answers_nobody_until_it_goes_on(slurm: SlurmCluster) -> None:
    slurm.pause_controller()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            slurm.run("squeue", timeout=0.5)
    finally:
        slurm.continue_controller()
    assert ended(slurm, submit(slurm, "true")) == "COMPLETED"


def test_paused_munge_lets_every_client_hang(slurm: SlurmCluster) -> None:
    slurm.pause_munge()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            slurm.run("squeue", timeout=0.5)
    finally:
        slurm.continue_munge()
    assert slurm.run("squeue").returncode == 0


def test_controller_can_be_killed_and_started_again(slurm: SlurmCluster) -> None:
    slurm.kill_controller()
    slurm.start_controller()
    assert ended(slurm, submit(slurm, "true")) == "COMPLETED"


@pytest.mark.parametrize("before", ["nothing", "pause_controller", "kill_controller", "pause_munge"])
def test_leaves_no_process(tmp_path: Path, before: str) -> None:
    os.mkfifo(started := tmp_path / "started")
    with SlurmCluster(tmp_path / "slurm", nodes=1) as slurm:
        # As hard to find as can be: this process carries no variable of Slurm's, and only its parents tell whose it is.
        submit(slurm, f"env -i /bin/sh -c 'echo $$ > {started}; exec sleep 600' & wait")
        sleep = int(started.read_text())
        assert sleep in slurm.processes()
        getattr(slurm, before, lambda: None)()
    assert slurm.processes() == frozenset()
    assert not is_alive(sleep)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_failure_to_start_shows_the_logs(tmp_path: Path) -> None:
    with pytest.raises(DaemonsError, match=r"slurmctld ended\n(.*\n)*--- slurmctld.log\n(.*\n)*.*NoSuchKeyword"):
        SlurmCluster(tmp_path, nodes=1, extra=["NoSuchKeyword=1"]).__enter__()
