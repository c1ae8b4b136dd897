"""Jobs of the fake Slurm really run: their environment, their files, their processes, and their place in the queue."""

import os
import pwd
import re
import signal
import stat
from pathlib import Path

import pytest

from .fake_slurm import Slurm, alive, wait_for

ME = pwd.getpwuid(os.getuid()).pw_name


def environment_of(slurm: Slurm, *options: str, variables: dict[str, str] | None = None) -> dict[str, str]:
    """What a job submitted so finds in its environment."""
    script = "env -0 > env; echo done > done"
    slurm.out("sbatch", *options, "--wrap", script, environment=variables)
    slurm.await_file("done")
    pairs = (slurm.home / "env").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def test_a_script_on_stdin_runs_where_it_was_submitted(slurm: Slurm) -> None:
    job = slurm.out("sbatch", "--parsable", stdin=b"#!/bin/sh\npwd; echo problem >&2; cat\n")
    slurm.await_state(job, "COMPLETED")
    assert (slurm.home / f"slurm-{job}.out").read_text() == f"{slurm.home}\nproblem\n"
    assert slurm.show(job, "%j") == "sbatch"


def test_a_script_file_with_arguments(slurm: Slurm) -> None:
    (slurm.home / "run.sh").write_text('#!/bin/sh\nprintf "%s|" "$@" > args; echo >> args\n')
    job = slurm.out("sbatch", "--parsable", "-n1", "run.sh", "-x", "two words", "--parsable")
    assert slurm.await_file("args") == "-x|two words|--parsable|\n"
    assert slurm.detail(job)["Command"] == str(slurm.home / "run.sh")


def test_the_command_line_wins_over_the_script_and_that_over_the_environment(slurm: Slurm) -> None:
    script = b"#!/bin/sh\n#SBATCH -J 'in script' # why not\n#SBATCH --time=7 --comment=c\n\ntrue\n#SBATCH -J late\n"
    variables = {"SBATCH_TIMELIMIT": "3", "SBATCH_ACCOUNT": "env", "SBATCH_JOB_NAME": "env"}
    job = slurm.out("sbatch", "--parsable", "-H", stdin=script, environment=variables)
    assert slurm.show(job, "%j|%l|%k|%a") == "in script|7:00|c|env"
    job = slurm.out("sbatch", "--parsable", "-H", "-Jcli", "-t5", stdin=script, environment=variables)
    assert slurm.show(job, "%j|%l|%k|%a") == "cli|5:00|c|env"


def test_the_environment_travels_and_slurm_adds_its_own(slurm: Slurm) -> None:
    variables = {"SECRET": "s3cr3t", "NEWLINE": "a\nb", "EMPTY": "", "UNI": "ü"}
    found = environment_of(slurm, "-c", "3", "-J", "name", variables=variables)
    assert variables.items() <= found.items()
    assert {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NAME": "name",
        "SLURM_JOB_NODELIST": "n1",
        "SLURM_NNODES": "1",
        "SLURMD_NODENAME": "n1",
        "SLURM_CLUSTER_NAME": "test",
        "SLURM_SUBMIT_DIR": str(slurm.home),
        "SLURM_CPUS_PER_TASK": "3",
        "SLURM_JOB_PARTITION": "debug",
        "PWD": str(slurm.home),
    }.items() <= found.items()


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        ("ALL,FOO=bar baz", {"SECRET": "s", "FOO": "bar baz"}),
        ("ALL,FOO=a,b", {"SECRET": "s", "FOO": "a"}),
        ("FOO=a=b,SECRET", {"SECRET": "s", "FOO": "a=b", "OTHER": None}),
        ("OTHER", {"SECRET": None, "OTHER": "1,2\n3"}),
        ("NONE", {"SECRET": None, "OTHER": None}),
        ("NIL", {"SECRET": None}),
        ("", {"SECRET": None}),
    ],
)
def test_export(slurm: Slurm, export: str, expected: dict[str, str | None]) -> None:
    found = environment_of(slurm, f"--export={export}", variables={"SECRET": "s", "OTHER": "1,2\n3"})
    assert {name: found.get(name) for name in expected} == expected


def test_an_export_file_replaces_the_environment(slurm: Slurm) -> None:
    (slurm.home / "envfile").write_bytes(b"A=1\0B=l1\nl2\0PATH=/usr/bin:/bin\0")
    found = environment_of(slurm, "--export-file=envfile", variables={"SECRET": "s"})
    assert (found["A"], found["B"], found.get("SECRET")) == ("1", "l1\nl2", None)


def test_file_name_patterns(slurm: Slurm) -> None:
    slurm.out("sbatch", "-J", "na me", "-o", "o-%j-%x-%u-%N-%%-%4j", "-e", "e-%A", "--wrap", "echo out; echo err >&2")
    assert slurm.await_file(f"o-1-na me-{ME}-n1-%-0001") == "out\n"
    assert slurm.await_file("e-1") == "err\n"


def test_a_job_starts_with_ordinary_signals_and_the_callers_umask(slurm: Slurm) -> None:
    before = (
        os.umask(0o077),
        signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.signal(signal.SIGPIPE, signal.SIG_IGN),
    )
    try:
        slurm.submit("grep Sig /proc/self/status > signals; echo done > done")
    finally:
        os.umask(before[0]), signal.signal(signal.SIGINT, before[1]), signal.signal(signal.SIGPIPE, before[2])
    slurm.await_file("done")
    masks = dict(re.findall(r"Sig(Blk|Ign):\t(\w+)", (slurm.home / "signals").read_text()))
    # glibc's posix_spawn leaves 32 and 33, its own two, ignored
    assert {name: int(mask, 16) & 0x7FFFFFFF for name, mask in masks.items()} == {"Blk": 0, "Ign": 0}
    assert stat.S_IMODE((slurm.home / "done").stat().st_mode) == 0o600


def test_a_job_outlives_the_command_that_submitted_it(slurm: Slurm) -> None:
    process = slurm.start("sbatch", "--wrap", "echo $PPID > started; sleep 60", "--wait")
    slurm.await_file("started")
    process.kill()
    process.communicate()
    assert slurm.show("1") == "RUNNING"


@pytest.mark.parametrize(
    "escape",
    [
        "{child}",
        "setsid {child}",
        "(setsid {child} &)",
        "(env -i /usr/bin/setsid {child} &)",
        "trap '' TERM; {child}",
    ],
)
@pytest.mark.parametrize("end", ["cancel", "exit"])
def test_no_process_of_a_job_survives_it(make_slurm: type[Slurm], escape: str, end: str) -> None:
    slurm = make_slurm(kill_wait=0.1)
    hidden = escape.format(child="/bin/sh -c 'echo $$ > child; exec /bin/sleep 600'")
    job = slurm.submit(f"{hidden} & until [ -s child ]; do sleep 0.01; done; [ {end} = exit ] || sleep 600")
    child = int(slurm.await_file("child"))
    if end == "cancel":
        slurm.out("scancel", job)
    slurm.await_state(job, "CANCELLED" if end == "cancel" else "COMPLETED")
    assert not alive(child)
    wait_for(lambda: not slurm.processes(), lambda: f"left: {slurm.processes()}")


def test_a_job_that_a_job_submitted_outlives_it(make_slurm: type[Slurm]) -> None:
    slurm, other = make_slurm(), make_slurm()
    inner = f"{slurm.bin}/sbatch --wrap 'sleep 60'; {other.bin}/sbatch --wrap 'sleep 60'"
    outer = slurm.submit(f"{inner}; echo > submitted; until [ -e go ]; do sleep 0.01; done")
    slurm.await_file("submitted")
    (slurm.home / "go").touch()
    slurm.await_state(outer, "COMPLETED")
    assert (slurm.show("2"), other.show("1")) == ("RUNNING", "RUNNING")
    wait_for(
        lambda: len(slurm.processes()) == len(other.processes()) > 1,
        lambda: f"{slurm.processes()}, {other.processes()}",
    )


def test_a_job_may_cancel_itself(slurm: Slurm) -> None:
    job = slurm.submit(f"{slurm.bin}/scancel $SLURM_JOB_ID; sleep 60")
    slurm.await_state(job, "CANCELLED")


def test_a_signal_reaches_the_steps_or_only_the_script(slurm: Slurm) -> None:
    job = slurm.submit("trap 'echo script >> got' USR1; echo > ready; while :; do sleep 0.01; done")
    slurm.await_file("ready")
    slurm.out("scancel", "-b", "-s", "USR1", job)
    assert slurm.await_file("got") == "script\n"
    assert slurm.show(job) == "RUNNING"


# --- the queue


def test_what_does_not_fit_waits_for_resources_and_the_rest_for_priority(slurm: Slurm) -> None:
    first = [slurm.submit("sleep 60", "-c16", "-t", str(minutes)) for minutes in (20, 10)]
    waiting = [slurm.submit("true", "-c16", "-t1"), slurm.submit("true", "-c16", "-t1")]
    lines = slurm.out("squeue", "-h", "-o", "%i|%T|%r|%R|%N").splitlines()
    assert lines == [
        f"{waiting[0]}|PENDING|Resources|(Resources)|",
        f"{waiting[1]}|PENDING|Priority|(Priority)|",
        f"{first[0]}|RUNNING|None|n1|n1",
        f"{first[1]}|RUNNING|None|n2|n2",
    ]
    with slurm.cluster as cluster:
        assert cluster.jobs[int(waiting[0])].expected == cluster.jobs[int(first[1])].limit_at
    assert slurm.show(waiting[0], "%S") == slurm.show(first[1], "%e")
    slurm.out("scancel", *first)
    for job in waiting:
        slurm.await_state(job, "COMPLETED")


def test_a_job_that_ends_makes_room_without_any_command(slurm: Slurm) -> None:
    for _ in range(2):
        slurm.submit("until [ -e go ]; do sleep 0.01; done", "-c16")
    slurm.submit("echo ran > ran", "-c16")
    (slurm.home / "go").touch()
    assert slurm.await_file("ran") == "ran\n"


def test_backfill_lets_short_jobs_overtake_and_only_those(slurm: Slurm) -> None:
    slurm.submit("sleep 60", "-c16", "-t10")
    big = slurm.submit("true", "-N2", "-n2", "-c16", "-t10")
    long, short = slurm.submit("sleep 60", "-c4", "-t30"), slurm.submit("sleep 60", "-c4", "-t5")
    assert [slurm.show(job) for job in (big, long, short)] == ["PENDING", "PENDING", "RUNNING"]
    assert [slurm.show(job, "%r") for job in (big, long)] == ["Resources", "Priority"]


def test_gpus_and_exclusive_nodes_are_counted(slurm: Slurm) -> None:
    jobs = [slurm.submit("sleep 60", "-p", "gpu", option) for option in ("--gres=gpu:2", "--gpus-per-node=1", "-G2")]
    assert [slurm.show(job, "%T %N").strip() for job in jobs] == ["RUNNING n3", "RUNNING n4", "PENDING"]
    jobs = [slurm.submit("sleep 60", *options) for options in (["--exclusive"], ["--mem=40G"], ["--mem=40G"])]
    assert [slurm.show(job, "%T %N").strip() for job in jobs] == ["RUNNING n1", "RUNNING n2", "PENDING"]


def test_several_nodes(slurm: Slurm) -> None:
    job = slurm.submit("env | grep -E 'NODELIST|NNODES|TASKS' | sort > env; echo >> env", "-N2", "--ntasks-per-node=2")
    assert "SLURM_JOB_NODELIST=n[1-2]\nSLURM_NNODES=2\n" in slurm.await_file("env")
    assert slurm.show(job, "%D|%C") == "2|4"


def test_an_array_s_tasks_go_by_its_id_as_recorded(slurm: Slurm) -> None:
    """32-array-running, 32-array-running-r and 32-array-finished-tall, but for the tasks' own ids."""
    columns = "%i|%F|%K|%T"
    script = 'until [ -e "go$SLURM_ARRAY_TASK_ID" ]; do sleep 0.05; done'
    with slurm.cluster as cluster:
        cluster.drain("n2")
    array = slurm.out("sbatch", "--parsable", "--array=0-3", "-n8", "--wrap", script)
    running = [f"{array}_0|{array}|0|RUNNING", f"{array}_1|{array}|1|RUNNING"]

    together = slurm.out("squeue", "-h", "-j", array, "-o", columns).splitlines()
    each = slurm.out("squeue", "-h", "-r", "-j", array, "-o", columns).splitlines()
    assert sorted(together) == [*running, f"{array}_[2-3]|{array}|2-3|PENDING"]
    assert sorted(each) == [*running, f"{array}_2|{array}|2|PENDING", f"{array}_3|{array}|3|PENDING"]
    assert slurm.out("squeue", "-h", "-j", f"{array}_1", "-o", columns) == running[1]

    slurm.out("scancel", f"{array}_2")
    assert sorted(slurm.out("squeue", "-h", "-j", array, "-o", "%i").splitlines()) == [
        f"{array}_0",
        f"{array}_1",
        f"{array}_[3]",
    ]
    slurm.out("scancel", array)
    for task in range(4):
        slurm.await_state(f"{array}_{task}", "CANCELLED")
    assert slurm.run("sbatch", "--array=x", "--wrap", "true").stderr == (
        "sbatch: error: Batch job submission failed: Invalid job array specification\n"
    )


def test_drained_nodes_are_avoided(slurm: Slurm) -> None:
    with slurm.cluster as cluster:
        cluster.drain("n1")
    job = slurm.submit("sleep 60")
    assert slurm.show(job, "%N") == "n2"
    assert slurm.out("sinfo", "-h", "-p", "debug", "-o", "%t|%N") == "drain|n1\nmix|n2"


def test_limits_may_be_enforced(make_slurm: type[Slurm]) -> None:
    slurm = make_slurm(enforce_limits=True)
    assert slurm.run("sbatch", "-N3", "--wrap", "true").stderr == (
        "sbatch: error: Batch job submission failed: Node count specification invalid\n"
    )
    assert "Requested time limit is invalid" in slurm.run("sbatch", "-t", "10-0", "--wrap", "true").stderr


def test_a_full_cluster_refuses(make_slurm: type[Slurm]) -> None:
    slurm = make_slurm(max_jobs=1)
    slurm.submit("true", "-H")
    done = slurm.run("sbatch", "--wrap", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("Batch job submission failed: Resource temporarily unavailable\n")


def test_two_clusters_side_by_side(make_slurm: type[Slurm]) -> None:
    one, other = make_slurm(name="one"), make_slurm(name="other")
    jobs = [slurm.submit("echo $SLURM_CLUSTER_NAME > where; sleep 60") for slurm in (one, other)]
    assert jobs == ["1", "1"]
    assert [slurm.await_file("where") for slurm in (one, other)] == ["one\n", "other\n"]
    one.out("scancel", "1")
    one.await_state("1", "CANCELLED")
    assert other.show("1") == "RUNNING"
    assert other.processes()


def test_many_at_once_get_different_ids(slurm: Slurm) -> None:
    processes = [slurm.start("sbatch", "--parsable", "-H", "--wrap", "true") for _ in range(12)]
    ids = {process.communicate()[0].decode().strip() for process in processes}
    assert ids == {str(number) for number in range(1, 13)}


# --- what adapters must not leak, and what a terminal user sees


def test_times_are_in_the_callers_zone_and_format(slurm: Slurm) -> None:
    job = slurm.submit("true", "-H", "--begin=2035-01-02T03:04:05")
    for zone, expected in (("UTC", "2035-01-02T03:04:05"), ("UTC-2", "2035-01-02T05:04:05")):
        shown = slurm.out("squeue", "-h", "-j", job, "-o", "%S", environment={"TZ": zone})
        assert shown == expected
    formatted = slurm.out("squeue", "-h", "-j", job, "-o", "%S", environment={"SLURM_TIME_FORMAT": "%s"})
    assert formatted == "2051319845"


def test_sinfo_lists_partitions(slurm: Slurm) -> None:
    assert slurm.out("sinfo") == (
        "PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST\n"
        "debug*       up    1:00:00      2   idle n[1-2]\n"
        "gpu          up 1-00:00:00      2   idle n[3-4]"
    )
    assert slurm.out("sinfo", "-h", "-o", "%P|%a|%l|%D|%T|%N|%c|%m|%G").splitlines() == [
        "debug*|up|1:00:00|2|idle|n[1-2]|16|64000|(null)",
        "gpu|up|1-00:00:00|2|idle|n[3-4]|16|64000|gpu:2",
    ]
    assert slurm.out("sinfo", "-h", "-p", "gpu", "-o", "%R %A %F %C") == "gpu 0/2 0/2/0/2 0/32/0/32"


def test_wrappers_read_nothing_from_the_environment(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    done = slurm.run("squeue", "-h", environment={"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")
