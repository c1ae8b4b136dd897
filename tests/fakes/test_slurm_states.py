"""Lives of jobs: each ends, or waits, in the state and for the reason that Slurm 22.05.8 was recorded with."""

import os
import re
import signal

import pytest

from fxsched_fakes import Cause

from .fake_slurm import Slurm, captures

FOREVER = "while :; do sleep 0.01; done"


def recorded(scenario: str) -> tuple[str, ...]:
    """State, reason, exit status and restarts at the end of a recorded life."""
    (row,) = captures(f"20-state-{scenario}")
    words = dict(re.findall(r"\b(JobState|Reason|ExitCode|Restarts)=(\S+)", row["stdout"]))
    return words["JobState"], words["Reason"], words["ExitCode"], words["Restarts"]


def found(slurm: Slurm, job: str) -> tuple[str, ...]:
    detail = slurm.detail(job)
    return detail["JobState"], detail["Reason"], detail["ExitCode"], detail["Restarts"]


@pytest.mark.parametrize(
    ("scenario", "script", "options"),
    [
        ("CD-false-then-true", "#!/bin/sh\nfalse\ntrue\n", []),
        ("CD-bg-orphan", "#!/bin/sh\nsleep 600 &\n", []),
        ("R-F-exit143", "#!/bin/sh\nexit 143\n", []),
        ("R-F-kill9", "#!/bin/sh\nkill -9 $$\n", []),
        ("F-badinterp", "#!/no/such/interp\n", []),
        ("F-badoutput", "#!/bin/sh\n", ["-o", "/nosuchdir/x"]),
        ("F-badworkdir", "#!/bin/sh\n", ["-D", "/nosuchdir", "-o", "/dev/null"]),
    ],
)
def test_a_job_ends_by_itself(slurm: Slurm, scenario: str, script: str, options: list[str]) -> None:
    job = slurm.out("sbatch", "--parsable", *options, stdin=script.encode())
    slurm.await_state(job, recorded(scenario)[0])
    assert found(slurm, job) == recorded(scenario)


@pytest.mark.parametrize(
    ("scenario", "trap"),
    [
        ("R-CA-running", ""),
        ("R-CA-trap-exit0", "trap 'exit 0' TERM; "),
        ("R-CG-CA-ignores-term", "trap '' TERM; "),
    ],
)
def test_a_running_job_is_cancelled(slurm: Slurm, scenario: str, trap: str) -> None:
    with slurm.cluster as cluster:
        cluster.settings.kill_wait = 0.1
        cluster.save_settings()
    job = slurm.submit(f"{trap}echo ready > ready; {FOREVER}")
    slurm.await_file("ready")
    slurm.out("scancel", job)
    slurm.await_state(job, "CANCELLED")
    assert found(slurm, job) == recorded(scenario)


@pytest.mark.parametrize(("scenario", "trap"), [("TO-timeout", ""), ("TO-timeout-trap", "trap '' TERM; ")])
def test_a_job_over_its_time_limit_is_ended(make_slurm: type[Slurm], scenario: str, trap: str) -> None:
    slurm = make_slurm(kill_wait=0.1)
    job = slurm.submit(f"{trap}echo ready > ready; {FOREVER}", "-t", "1")
    slurm.await_file("ready")
    slurm.advance_clock(58)
    assert slurm.show(job) == "RUNNING"
    slurm.advance_clock(3)
    slurm.await_state(job, "TIMEOUT")
    assert found(slurm, job) == recorded(scenario)


def test_a_time_limit_needs_no_command_to_take_effect(make_slurm: type[Slurm]) -> None:
    slurm = make_slurm(kill_wait=0.1)
    job = slurm.submit("trap 'echo ended > ended; exit' TERM; echo ready > ready; " + FOREVER, "-t", "1")
    slurm.await_file("ready")
    slurm.advance_clock(59.5)
    assert slurm.await_file("ended") == "ended\n"
    slurm.await_state(job, "TIMEOUT")


@pytest.mark.parametrize(
    ("scenario", "cause"),
    [("OOM", Cause.MEMORY), ("PR-preempt-cancel", Cause.PREEMPTED)],
)
def test_the_system_ends_a_job(slurm: Slurm, scenario: str, cause: Cause) -> None:
    job = slurm.submit(f"echo ready > ready; {FOREVER}")
    slurm.await_file("ready")
    with slurm.cluster as cluster:
        cluster.end(cluster.jobs[int(job)], cause)
    assert found(slurm, job) == recorded(scenario)


def test_a_node_fails(slurm: Slurm) -> None:
    job = slurm.submit("sleep 60")
    with slurm.cluster as cluster:
        cluster.end(cluster.jobs[int(job)], Cause.NODE_FAILURE)
    assert slurm.show(job, "%T|%t") == "NODE_FAIL|NF"


def test_a_job_whose_runner_is_killed_counts_as_node_failure(slurm: Slurm) -> None:
    job = slurm.submit(f"echo ready > ready; {FOREVER}")
    slurm.await_file("ready")
    with slurm.cluster as cluster:
        runner = cluster.jobs[int(job)].runner
    assert runner
    os.kill(runner[0], signal.SIGKILL)
    slurm.await_state(job, "NODE_FAIL")


def test_suspended_and_resumed(slurm: Slurm) -> None:
    job = slurm.submit(f"echo ready > ready; {FOREVER}")
    slurm.await_file("ready")
    slurm.out("scontrol", "suspend", job)
    assert slurm.show(job, "%T|%t|%r|%R") == "SUSPENDED|S|None|n1"
    slurm.out("scontrol", "resume", job)
    assert slurm.show(job) == "RUNNING"
    slurm.out("scontrol", "suspend", job)
    slurm.out("scancel", job)
    slurm.await_state(job, "CANCELLED")
    assert found(slurm, job) == recorded("S-suspend")


def test_stopped_by_a_signal(slurm: Slurm) -> None:
    job = slurm.submit(f"echo ready > ready; {FOREVER}")
    slurm.await_file("ready")
    slurm.out("scancel", "-s", "STOP", job)
    assert slurm.show(job, "%T|%t") == "STOPPED|ST"
    slurm.out("scancel", "-s", "CONT", job)
    assert slurm.show(job) == "RUNNING"


def test_requeued_it_runs_again_under_the_same_id(slurm: Slurm) -> None:
    job = slurm.submit(f"echo run $SLURM_RESTART_COUNT >> runs; {FOREVER}")
    slurm.await_file("runs")
    slurm.out("scontrol", "requeue", job)
    slurm.await_state(job, "PENDING")
    assert slurm.show(job, "%r|%R") == "BeginTime|(BeginTime)"
    slurm.advance_clock(121)
    slurm.await_state(job, "RUNNING")
    assert found(slurm, job) == recorded("RQ-requeue")


def test_requeued_and_held(slurm: Slurm) -> None:
    job = slurm.submit(f"echo ready > ready; {FOREVER}")
    slurm.await_file("ready")
    slurm.out("scontrol", "requeuehold", job)
    slurm.await_state(job, "PENDING")
    assert found(slurm, job) == recorded("RH-requeuehold")
    assert slurm.show(job, "%r") == "job requeued in held state"


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("pd-begin", ["--begin=now+1hour"]),
        ("pd-drained-node", ["-w", "n2"]),
        ("pd-part-down", ["-p", "down"]),
        ("pd-dep-unknown", ["-d", "afterok:999999"]),
        ("pd-held-admin", ["-H"]),
    ],
)
def test_a_job_waits(make_slurm: type[Slurm], scenario: str, options: list[str]) -> None:
    slurm = make_slurm(
        nodes=[{"name": "n1"}, {"name": "n2"}],
        queues=[
            {"name": "debug", "nodes": ["n1", "n2"], "default": True, "default_time": 600},
            {"name": "down", "nodes": ["n1"], "up": False},
        ],
    )
    with slurm.cluster as cluster:
        cluster.drain("n2")
    job = slurm.submit("sleep 30", *options)
    if scenario == "pd-held-admin":
        with slurm.cluster as cluster:
            cluster.hold(cluster.jobs[int(job)], by_admin=True)
    assert found(slurm, job) == recorded(scenario)


def test_a_dependency_that_cannot_be_met(slurm: Slurm) -> None:
    first = slurm.submit("true", "-H")
    job = slurm.submit("true", "-d", f"afterok:{first}")
    assert slurm.show(job, "%T|%r") == "PENDING|Dependency"
    slurm.out("scancel", first)
    assert found(slurm, job) == recorded("pd-dep-never")


def test_a_job_that_ends_when_its_dependency_cannot_be_met(slurm: Slurm) -> None:
    first = slurm.submit("exit 1")
    slurm.await_state(first, "FAILED")
    job = slurm.submit("true", "-d", f"afterok:{first}", "--kill-on-invalid-dep=yes")
    assert found(slurm, job) == recorded("pd-dep-kill")


def test_a_dependency_that_is_met(slurm: Slurm) -> None:
    first = slurm.submit("true")
    slurm.await_state(slurm.submit("true", "-d", f"afterok:{first}"), "COMPLETED")


def test_a_held_job_runs_when_released(slurm: Slurm) -> None:
    job = slurm.submit("true", "-H")
    slurm.out("scontrol", "release", job)
    slurm.await_state(job, "COMPLETED")


def test_ended_jobs_are_forgotten_after_min_job_age(slurm: Slurm) -> None:
    job = slurm.submit("true")
    slurm.await_state(job, "COMPLETED")
    slurm.advance_clock(298)
    assert slurm.show(job) == "COMPLETED"
    slurm.advance_clock(3)
    assert slurm.run("squeue", "-j", job).stderr == "slurm_load_jobs error: Invalid job id specified\n"


def test_accounting_remembers(make_slurm: type[Slurm]) -> None:
    slurm = make_slurm(accounting=True)
    ids = [slurm.submit("true", "-J", "ok", "--comment=fxs:1"), slurm.submit("exit 7", "-J", "bad")]
    for job, state in zip(ids, ("COMPLETED", "FAILED"), strict=True):
        slurm.await_state(job, state)
    slurm.advance_clock(400)
    ids += [slurm.submit("true", "-H", "-J", "held"), slurm.submit(f"echo > ready; {FOREVER}", "-J", "ca")]
    slurm.await_file("ready")
    slurm.out("scancel", ids[3])
    slurm.await_state(ids[3], "CANCELLED")
    fields = "JobID,JobIDRaw,JobName,State,ExitCode,DerivedExitCode,Reason,User,Comment"
    answer = slurm.out("sacct", "-n", "-P", "-j", ",".join(ids), "-o", fields)
    user = slurm.show(ids[3], "%u")
    assert answer.splitlines() == [
        f"1|1|ok|COMPLETED|0:0|0:0|None|{user}|fxs:1",
        "1.batch|1.batch|batch|COMPLETED|0:0||||",
        f"2|2|bad|FAILED|7:0|0:0|None|{user}|",
        "2.batch|2.batch|batch|FAILED|7:0||||",
        f"3|3|held|PENDING|0:0|0:0|JobHeldUser|{user}|",
        f"4|4|ca|CANCELLED by {os.getuid()}|0:0|0:0|None|{user}|",
        "4.batch|4.batch|batch|CANCELLED|0:15||||",
    ]
    assert slurm.out("sacct", "-n", "-P", "-X", "-j", "999999", "-o", "JobID") == ""
    assert "CANCELLED+" in slurm.out("sacct", "-j", ids[3])


def test_accounting_counts_back_from_now(make_slurm: type[Slurm]) -> None:
    slurm = make_slurm(accounting=True)
    job = slurm.submit("true")
    slurm.await_state(job, "COMPLETED")
    slurm.advance_clock(4000)
    moments = ("now", "now-60", "now-59minutes", "now-1hour", "now-90minutes", "now-2hours", "now-1day", "now-1days")
    seen = [since for since in moments if slurm.out("sacct", "-n", "-P", "-X", "-j", job, "-S", since, "-o", "JobID")]
    assert seen == ["now-90minutes", "now-2hours", "now-1day", "now-1days"]
