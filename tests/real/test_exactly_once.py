"""One request becomes exactly one session, or one clear error, on a real Slurm that hangs, crashes and forgets."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace

from fxsched import JobSpec, new_token, open_cluster
from fxsched.cluster.submission import public_spec
from fxsched.jobs import EndCause, JobId
from fxsched.session import directory as session_directory

from .person import Person, until
from .slurm_cluster import SlurmCluster, missing_programs

T = TypeVar("T")

GIVES_UP = 3
"""Seconds after which Slurm's clients give up on a controller that hangs; Slurm's own default is 10."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="once-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def slurm(place: Path) -> Iterator[SlurmCluster]:
    """An own cluster, to be stopped and killed at will."""
    if missing := missing_programs():
        pytest.fail(f"Slurm is not installed (missing: {', '.join(missing)}): run tests/real/install.sh slurm")
    with SlurmCluster(place / "slurm", nodes=2, extra=[f"MessageTimeout={GIVES_UP}"]) as cluster:
        yield cluster


@pytest.fixture
def ada(place: Path, slurm: SlurmCluster) -> Person:
    """Somebody who starts sessions; nobody waits for their start."""
    return Person(place / "ada", slurm.env)


def jobs(slurm: SlurmCluster) -> dict[str, tuple[str, str]]:
    """Return the name and the state of each job that Slurm knows."""
    rows = slurm.run("squeue", "--noheader", "--states=all", "--format=%i|%T|%j").stdout.splitlines()
    return {id: (name, state) for id, state, name in (row.split("|", 2) for row in rows)}


def clients(slurm: SlurmCluster) -> set[int]:
    """Return the processes of Slurm's commands and of fxsched; none of the cluster's own."""
    found = set()
    for pid in slurm.processes():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if any(name in words for name in (b"sbatch", b"squeue", b"scancel", b"sacct", b"fxsched-launch")):
                found.add(pid)
    return found


def wait_for_sbatch(slurm: SlurmCluster) -> None:
    """Wait until an sbatch waits for its controller."""

    def waits() -> bool:
        for pid in clients(slurm):
            with suppress(OSError):
                process = Path("/proc", str(pid))
                is_sbatch = process.joinpath("cmdline").read_bytes().split(b"\0")[0].endswith(b"sbatch")
                sleeps = process.joinpath("stat").read_text().rpartition(") ")[2].startswith("S")
                if (
                    is_sbatch
                    and sleeps
                    and any("socket:" in os.readlink(fd) for fd in process.joinpath("fd").iterdir())
                ):
                    return True
        return False

    until("an sbatch that waits for its answer", waits, 20)


def start_soon(slurm: SlurmCluster, job: str) -> None:
    """Let a requeued job start, for which Slurm lets two minutes pass.

    In the second of its requeueing it would fail: its credential of that second has been revoked.
    """
    requeued = time.monotonic()

    def has_started() -> bool:
        if time.monotonic() > requeued + 2:
            slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # this makes the scheduler look, too
        return jobs(slurm)[job][1] not in ("PENDING", "COMPLETING")

    until("the requeued job to start", has_started, 40, lambda: slurm.run("scontrol", "show", "job", job).stdout)


def steps(slurm: SlurmCluster) -> list[int]:
    """Return the processes that run jobs on the nodes: these tell even while the controller does not."""
    found = []
    for pid in slurm.processes():
        with suppress(OSError):
            if b"slurmstepd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def in_process(ada: Person, function: Callable[[], Awaitable[T]]) -> T:
    """Run a function that uses the library, in the person's environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ada.environment.items():
            patch.setenv(name, value)
        return anyio.run(function)


def started(ada: Person, token: str) -> None:
    until("start of the session", lambda: ada.report(token).started, 30)


def forget_after_restart(slurm: SlurmCluster) -> None:
    """Kill the controller, take the jobs from what it had saved, and start it again.

    A controller that is killed forgets what it accepted in its last seconds, if it had just saved its state. This is
    how that looks, without the luck that it takes.
    """
    slurm.kill_controller()
    for file in (slurm.directory / "state").glob("job_state*"):
        file.unlink()
    slurm.start_controller()


# ── a controller that hangs ───────────────────────────────────────────────────────────────────────────────────────────


def test_adopts_the_job_that_a_hanging_controller_took(slurm: SlurmCluster, ada: Person) -> None:
    slurm.pause_controller()
    launcher = ada.begin_launch()
    until("sbatch to give up", lambda: "looking for the job" in ada.log(), 30, ada.log)
    assert not steps(slurm)
    slurm.continue_controller()
    out, err = launcher.communicate(timeout=40)

    assert (launcher.returncode, err) == (0, "")
    entry = ada.only_entry()
    assert entry.job
    assert "was found, and is adopted" in ada.log()
    assert f"submitted as job {entry.job}" in out
    assert [*jobs(slurm)] == [entry.job]
    started(ada, entry.token)


def test_cancels_later_what_hangs_for_longer_than_a_launch(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure("launch_timeout = 6")
    slurm.pause_controller()
    begin = time.monotonic()
    failed = ada.launch(code=1, name="first")
    assert time.monotonic() - begin < 6 + 5
    assert failed.stderr.startswith("fxsched-launch: SubmitUnsettled: ")
    assert failed.stderr.count("\n") == 1
    assert not clients(slurm)
    assert ada.only_entry().job is None
    slurm.continue_controller()
    until("the job that was accepted", lambda: jobs(slurm), 20)

    token = ada.only_entry().token
    ada.launch(name="second")  # FastX was told of an error, and so no session comes of the first one any more

    entries = {entry.name: entry for entry in ada.entries()}
    live = [name for name, state in jobs(slurm).values() if state in ("PENDING", "RUNNING")]
    assert live == [f"second.{entries['second'].token}"]
    assert not ada.report(token).started
    started(ada, entries["second"].token)
    assert ada.fxsched("reconcile") == ""


def test_a_launch_ends_in_time_when_the_controller_hangs_after_the_submit(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure(wait=3)
    hold = slurm.run("scontrol", "update", "PartitionName=debug", "State=DOWN")
    assert hold.returncode == 0, hold.stderr
    launcher = ada.begin_launch()
    until("the job's id in the ledger", lambda: any(entry.job for entry in ada.entries()), 20)
    slurm.pause_controller()
    begin = time.monotonic()
    try:
        out, err = launcher.communicate(timeout=30)
    finally:
        slurm.continue_controller()
    assert (launcher.returncode, err) == (0, "")
    assert "has been submitted" in out or "waits" in out
    assert time.monotonic() - begin < 3 + 3 + 4


def test_a_launch_interrupted_during_the_submit_leaves_no_job(slurm: SlurmCluster, ada: Person) -> None:
    slurm.pause_controller()
    launcher = ada.begin_launch()
    wait_for_sbatch(slurm)
    launcher.send_signal(signal.SIGTERM)
    slurm.continue_controller()
    out, _ = launcher.communicate(timeout=40)

    assert (launcher.returncode, out) == (143, "The launch was interrupted; no session was left behind.\n")
    assert [state for _, state in jobs(slurm).values() if state not in ("CANCELLED", "COMPLETING")] == []
    until("end of the session", lambda: not steps(slurm), 20)
    assert ada.fxsched("reconcile") == ""


def test_a_cancelled_caller_of_the_library_leaves_no_job(slurm: SlurmCluster, ada: Person) -> None:
    async def cancel_while_submitting() -> None:
        cluster_of_ada = open_cluster("slurm", state=ada.state, adapter="slurm")
        async with cluster_of_ada as cluster, anyio.create_task_group() as tasks:
            slurm.pause_controller()
            try:
                tasks.start_soon(cluster.submit, JobSpec(token=new_token(), command=("sleep", "600")))
                await anyio.to_thread.run_sync(wait_for_sbatch, slurm)
                tasks.cancel_scope.cancel()
            finally:
                slurm.continue_controller()

    in_process(ada, cancel_while_submitting)

    assert len(jobs(slurm)) == 1
    assert {state for _, state in jobs(slurm).values()} <= {"CANCELLED", "COMPLETING"}
    assert ada.fxsched("reconcile") == ""


# ── a controller that is killed ───────────────────────────────────────────────────────────────────────────────────────


def test_a_controller_killed_after_the_submit_loses_nothing_that_it_had_saved(slurm: SlurmCluster, ada: Person) -> None:
    ada.start_script("date >>dates; sleep 600")
    ada.launch()
    entry = ada.only_entry()
    assert entry.job
    started(ada, entry.token)
    slurm.run("scontrol", "update", f"JobId={entry.job}", "Comment=saved")
    saved = slurm.directory / "state" / "job_state"
    until("the controller to save its jobs", lambda: saved.exists() and b"saved" in saved.read_bytes(), 20)
    slurm.kill_controller()
    slurm.start_controller()

    assert ada.status_until(entry.job, "running")["name"].endswith(entry.token)
    assert ada.fxsched("reconcile") == ""
    assert ada.fxsched("cancel", entry.job) == f"{entry.job} has ended: it was cancelled.\n"
    assert ada.only_entry().status


def test_tells_the_truth_of_a_job_that_was_forgotten_and_whose_id_came_again(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure("poll_interval = 1")
    ada.launch(name="first")
    first = ada.only_entry()
    started(ada, first.token)
    ada.fxsched("status", str(first.job))
    forget_after_restart(slurm)
    assert jobs(slurm) == {}
    ada.launch(name="second")
    second = next(entry for entry in ada.entries() if entry.name == "second")
    assert second.job == first.job, "the point of this test is that Slurm gives the id again"

    assert ada.status_until(second.job, "running")["name"].endswith(second.token)

    ada.fxsched("status", str(second.job))
    entries = {entry.name: entry for entry in ada.entries()}
    status = entries["first"].status  # it told of its start, and may still run, unless its node has ended it
    assert status is None or status.cause in (EndCause.UNKNOWN, EndCause.FAILED)
    assert entries["second"].status is None
    assert ada.status(second.job)["state"] == "running"
    # What is cancelled by this id now is the second one.
    ada.fxsched("cancel", second.job)
    assert jobs(slurm)[second.job][1] in ("CANCELLED", "COMPLETING")


def test_never_takes_somebody_elses_job_for_its_own_nor_cancels_it(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure("poll_interval = 1")
    ada.launch()
    entry = ada.only_entry()
    assert entry.job
    started(ada, entry.token)
    ada.fxsched("status", entry.job)
    forget_after_restart(slurm)
    other = slurm.run("sbatch", "--parsable", "--output=/dev/null", stdin="#!/bin/sh\nsleep 600\n").stdout.strip()
    assert other == entry.job
    until("the other job to run", lambda: jobs(slurm)[other][1] == "RUNNING")

    assert ada.status(entry.job, code=3)["state"] == "gone"
    assert "running" not in ada.fxsched("cancel", entry.job, code=3)
    assert ada.status(entry.job, code=None)["state"] in ("gone", "ended")  # it told of its start, and may still run
    ada.fxsched("reconcile", "--fix")
    assert jobs(slurm) == {other: ("sbatch", "RUNNING")}


def test_a_job_that_ended_before_its_controller_forgot_it_is_known_by_its_end_marker(
    slurm: SlurmCluster, ada: Person
) -> None:
    ada.start_script("exit 3")
    ada.launch()
    entry = ada.only_entry()
    assert entry.job
    until("end of the session", lambda: ada.report(entry.token).exit_code is not None)
    forget_after_restart(slurm)
    found = ada.status_until(entry.job, "ended")
    assert (found["cause"], found["exit_code"], found["source"]) == ("failed", 3, "session")


def test_a_job_whose_launch_was_told_as_an_error_starts_no_session_whatever_its_controller_does(
    slurm: SlurmCluster, ada: Person
) -> None:
    ada.configure("launch_timeout = 4\npoll_interval = 0.5")
    ada.start_script("exit 3")
    slurm.pause_controller()
    ada.launch(code=1)
    entry = ada.only_entry()
    assert entry.job is None
    slurm.continue_controller()
    log = ada.session(entry.token) / "job.log"
    until("the job to give up", lambda: log.exists() and "nobody waits for its session" in log.read_text(), 30)
    forget_after_restart(slurm)
    assert jobs(slurm) == {}

    assert ada.fxsched("reconcile", "--fix").startswith("ghost: ")

    assert (ada.entries(), ada.report(entry.token).started) == ([], False)


def test_a_controller_that_is_down_makes_one_clear_error_and_nothing_else(slurm: SlurmCluster, ada: Person) -> None:
    slurm.kill_controller()
    begin = time.monotonic()
    failed = ada.launch(code=1)
    assert time.monotonic() - begin < 60
    assert failed.stderr.startswith("fxsched-launch: SchedulerUnavailable: ")
    assert "Unable to contact slurm controller" in failed.stdout
    assert "Try again later" in failed.stdout
    assert failed.stderr.count("\n") == failed.stdout.count("\n") == 1
    assert ada.entries() == []
    assert [*ada.state.glob("sessions/*")] == []
    assert not clients(slurm)
    slurm.start_controller()
    assert jobs(slurm) == {}


# ── authentication that hangs ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_launch_ends_in_time_when_authentication_hangs_for_ever(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure("launch_timeout = 6")
    slurm.pause_munge()
    begin = time.monotonic()
    try:
        failed = ada.launch(code=1, timeout=40)
        assert time.monotonic() - begin < 6 + 5
        assert failed.stderr.startswith("fxsched-launch: SubmitUnsettled: ")
        assert failed.stderr.count("\n") == 1
        assert "fxsched reconcile --fix" in failed.stdout
        assert not clients(slurm)
        token = ada.only_entry().token
    finally:
        slurm.continue_munge()

    said = ada.fxsched("reconcile", "--fix")

    assert token in said
    assert said.startswith(("unwanted", "ghost"))
    assert not [name for name, state in jobs(slurm).values() if state in ("PENDING", "RUNNING")]
    assert not ada.report(token).started
    assert ada.fxsched("reconcile") == ""


# ── twins and second runs ─────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_jobs_of_one_session_the_second_ends_at_once(slurm: SlurmCluster, ada: Person) -> None:
    token = new_token()

    async def submit_twice() -> list[JobId]:
        async with open_cluster("slurm", state=ada.state, adapter="slurm") as cluster:
            spec = JobSpec(
                token=token, body="echo start >>starts; echo said >&2; sleep 600", working_directory=str(ada.home)
            )
            directory = await session_directory.stage(cluster.adapter.host, spec)
            public = public_spec(spec, directory, cluster.adapter)
            ids = [await cluster.adapter.submit(public)]
            started(ada, token)
            return [*ids, await cluster.adapter.submit(public)]

    first, second = in_process(ada, submit_twice)

    until("the second job to end", lambda: jobs(slurm)[second][1] == "FAILED", 30, lambda: jobs(slurm))
    assert "ExitCode=75:0" in slurm.run("scontrol", "show", "job", second).stdout
    log = (ada.session(token) / "job.log").read_text()
    assert log == f"said\nfxsched: job {first} already has this session, so this one, {second}, ends.\n"
    assert jobs(slurm)[first][1] == "RUNNING"
    assert (ada.home / "starts").read_text() == "start\n"
    assert ada.report(token).job == first


def test_reconcile_ends_the_twin_that_waits(slurm: SlurmCluster, ada: Person) -> None:
    token = new_token()

    async def submit_and_again() -> tuple[JobId, JobId]:
        async with open_cluster("slurm", state=ada.state, adapter="slurm") as cluster:
            spec = JobSpec(token=token, command=("sleep", "600"))
            job = await cluster.submit(spec)
            started(ada, token)
            public = public_spec(spec, str(ada.session(token)), cluster.adapter)
            return job.id, await cluster.adapter.submit(replace(public, native=("--hold",)))

    first, second = in_process(ada, submit_and_again)

    assert ada.fxsched("reconcile", code=1).startswith(f"twin: slurm, job {second}, {token}: ")
    assert jobs(slurm)[second][1] == "PENDING"
    assert f"job {first} has its session; mended.\n" in ada.fxsched("reconcile", "--fix")
    assert jobs(slurm)[second][1] == "CANCELLED"
    assert jobs(slurm)[first][1] == "RUNNING"


def test_a_requeued_session_finds_everything_in_its_place(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure("poll_interval = 0.5", profile="requeue = true")
    ada.start_script('cat >>"$HOME/requests"; echo >>"$HOME/requests"; exec sleep 600')
    ada.launch()
    entry = ada.only_entry()
    assert entry.job
    requests = ada.home / "requests"
    until("first run", lambda: requests.exists() and requests.read_text().count("\n") == 1)

    assert slurm.run("scontrol", "requeue", entry.job).returncode == 0

    until("the job to be requeued", lambda: jobs(slurm)[entry.job][1] == "PENDING", 30, lambda: jobs(slurm))
    assert ada.status_until(entry.job, "queued")["reason"]
    start_soon(slurm, entry.job)
    until("second run", lambda: requests.read_text().count("\n") == 2, 30)
    first, second = requests.read_text().splitlines()
    assert first == second != ""
    assert ada.status_until(entry.job, "running")
    report = ada.report(entry.token)
    assert (report.job, report.exit_code) == (entry.job, None)
    assert [*jobs(slurm)] == [entry.job]
    assert ada.fxsched("reconcile") == ""


def test_a_job_that_slurm_runs_again_after_its_end_begins_no_second_session(slurm: SlurmCluster, ada: Person) -> None:
    ada.configure(profile="requeue = true")
    ada.start_script('echo start >>"$HOME/starts"')
    ada.launch()
    entry = ada.only_entry()
    assert entry.job
    until("the job's end", lambda: jobs(slurm)[entry.job][1] == "COMPLETED", 30, lambda: jobs(slurm))

    assert slurm.run("scontrol", "requeue", entry.job).returncode == 0
    start_soon(slurm, entry.job)

    log = ada.session(entry.token) / "job.log"
    until("the second run to end", lambda: "the session has ended already" in log.read_text(), 30)
    assert (ada.home / "starts").read_text() == "start\n"


# ── polling ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hundred_simultaneous_status_commands_are_one_squeue(slurm: SlurmCluster, ada: Person) -> None:
    calls = ada.home / "calls"
    squeue = ada.home / "squeue"
    squeue.write_text(f'#!/bin/sh\necho "$*" >>{calls}\nexec squeue "$@"\n')
    squeue.chmod(0o755)
    ada.configure(f'poll_interval = 100\noptions.commands.squeue = "{squeue}"')
    ada.launch()
    job = ada.only_entry().job
    assert job
    assert not calls.exists()
    command = ada.command("fxsched", "status", job)
    askers = [
        subprocess.Popen(command, env=ada.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(100)
    ]
    answers = {asker.communicate(timeout=90)[0].partition(" on ")[0] for asker in askers}
    assert {asker.returncode for asker in askers} == {0}
    assert len(answers) == 1, answers
    assert len(calls.read_text().splitlines()) == 1
