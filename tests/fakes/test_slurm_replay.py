"""Commands recorded on Slurm 22.05.8, given to the fake: same exit status, same words.

A job gets the id that it had in the recording, the user is whoever runs the tests; times are normalised.
"""

import os
import pwd
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from .fake_slurm import Slurm, captures

ME = pwd.getpwuid(os.getuid()).pw_name
OK = b"#!/bin/sh\nsleep ${1:-1}\n"

ALONE = captures(
    "01-*", "02-*", "03-bad-account", "03-bad-qos", "03-bad-constraint", "03-bad-reservation", "03-bad-licenses",
    "03-bad-dependency*", "03-bad-nodelist", "03-bad-option", "03-bad-workdir", "04-*", "05-bad-time-*", "05-bad-mem-*",
    "05-bad-ntasks", "05-bad-nice-user", "07-*", "09-comment-plain", "09-comment-long*00", "09-comment-long4k",
    "09-wckey-plain", "10-export-value-quote", "10-export-value", "10-export-file-missing", "21-pd-held-user",
    "21-pd-begin", "21-pd-dep-unknown", "31-squeue-bad-id-mixed", "31-squeue-empty-id", "31-squeue-zero",
    "31-squeue-neg", "31-squeue-bad-user", "31-squeue-j-separate-args", "31-squeue-several-all-unknown",
    "31-squeue-empty-with-header", "30-squeue-j-unknown*", "08-scontrol-json", "40-scancel-unknown",
    "40-scancel-unknown-v", "40-scancel-bad", "40-scancel-none", "40-scancel-empty", "40-scancel-neg",
    "40-scancel-by-name-nomatch", "40-scancel-bad-signal", "50-sacct-nodbd*", "52-scontrol-unknown",
    "95-env-sbatch-partition*", "95-env-sbatch-test", "96-*", "97-*",
)  # fmt: skip


def replay(slurm: Slurm, row: Mapping[str, Any], *, normal: Callable[[str], str] = str) -> None:
    """Runs the recorded command and compares; the job that it submits gets the id of the recording."""
    submitted = re.fullmatch(r"(?:Submitted batch job )?(\d+)(?:;test| on cluster test)?\n", row["stdout"])
    if submitted and normal is not anonymous:
        with slurm.cluster as cluster:
            cluster.next_id = int(submitted[1])
    done = slurm.run(
        *shlex.split(row["cmd"].replace("carol", ME).replace("-u dave", "-u nobody")),
        stdin=os.fsencode(row["stdin"] or ""),
        environment={name: value.replace("dave", "nobody") for name, value in (row["env"] or {}).items()},
    )
    expected = [row["rc"], normal(mine(row["stdout"])), normal(mine(row["stderr"]))]
    assert [done.returncode, normal(done.stdout), normal(done.stderr)] == expected


def mine(text: str) -> str:
    """The recording's user and uid replaced by those of the tests."""
    text = re.sub(
        r"^( {10}.*) +carol ", lambda match: f"{match[1]}{ME:>{len(match[0]) - len(match[1]) - 1}} ", text, flags=re.M
    )
    return text.replace("carol", ME).replace("1003", str(os.getuid()))


def anonymous(text: str) -> str:
    """Ids as N, times as T."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "T", text)
    return re.sub(r"^\d+$|(?<=batch job )\d+|(?<=Job )\d+", "N", text, flags=re.MULTILINE)


@pytest.mark.parametrize("row", ALONE, ids=lambda row: row["name"])
def test_a_command_that_stands_alone(shared_slurm: Slurm, row: dict[str, Any]) -> None:
    (shared_slurm.home / "ok.sh").write_bytes(OK)
    replay(shared_slurm, row, normal=anonymous)


def test_names_come_back_raw(slurm: Slurm) -> None:
    for row in captures("07-name-*"):
        replay(slurm, row)
    for identifier, name in ((39, ""), (45, "  pad  ")):  # their submissions were not recorded
        with slurm.cluster as cluster:
            cluster.next_id = identifier
        slurm.submit("sleep 1", "-H", "-J", name)
    for row in captures("08-squeue-names-*"):
        replay(slurm, row)


def test_comments_and_wckeys_come_back_raw(slurm: Slurm) -> None:
    for row in captures("09-comment-plain*", "09-comment-space*", "09-comment-newline*", "09-comment-unicode*",
                        "09-comment-comma", "09-comment-empty*", "09-wckey-plain*", "09-update-*"):  # fmt: skip
        if "scontrol" in row["name"]:
            continue
        if row["name"] == "09-update-comment":
            with slurm.cluster as cluster:
                cluster.next_id = 58
            slurm.submit("sleep 1", "-H")
        replay(slurm, row)


def test_questions_about_jobs_in_each_state(slurm: Slurm) -> None:
    """147 is held, 148 runs, 149 completed, 150 failed, 151 is somebody else's."""
    with slurm.cluster as cluster:
        cluster.next_id = 147
    slurm.submit("true", "-H", "-J", "pend")
    slurm.submit("sleep 60", "-J", "runn")
    finished = slurm.submit("true", "-J", "finished"), slurm.submit("exit 7", "-J", "failed")
    slurm.submit("sleep 60", "-J", "davejob")
    with slurm.cluster as cluster:
        cluster.jobs[151].user, cluster.jobs[151].uid = "dave", 4004
    for job, state in zip(finished, ("COMPLETED", "FAILED"), strict=True):
        slurm.await_state(job, state)
    for row in captures("30-squeue-j-*", "31-squeue-several", "31-squeue-several-*", "31-squeue-one-plus-*",
                        "31-squeue-bad-id-mixed", "31-squeue-3000-ids"):  # fmt: skip
        replay(slurm, row, normal=without_run_time)
    for row in captures("40-scancel-unknown*", "40-scancel-finished-v", "40-scancel-pending",
                        "40-scancel-pending-again",
                        "40-scancel-running*", "40-scancel-other-user*"):  # fmt: skip
        replay(slurm, row)
    assert slurm.show("151") == "RUNNING"


def without_run_time(text: str) -> str:
    return re.sub(r" 0:0\d ", " 0:00 ", text)


def test_cancelling_with_filters_and_signals(slurm: Slurm) -> None:
    with slurm.cluster as cluster:
        cluster.next_id = 166
    slurm.submit("true", "-H", "-J", "nm1")
    slurm.submit("true", "-H")
    slurm.submit("trap 'exit 0' USR1; echo ready > ready; while :; do sleep 0.01; done")
    slurm.submit("true", "-H")
    slurm.await_file("ready")
    for row in captures("40-scancel-by-name-u", "40-scancel-by-name-result", "40-scancel-state-filter",
                        "40-scancel-state-filter-running", "40-scancel-bad-signal", "40-scancel-signal",
                        "40-scancel-pending-signal"):  # fmt: skip
        replay(slurm, row)
    slurm.await_state("168", "COMPLETED")


def test_one_bad_word_cancels_nothing(slurm: Slurm) -> None:
    job = slurm.submit("true", "-H")
    assert slurm.run("scancel", job, "abc").returncode == 1
    assert slurm.show(job) == "PENDING"


def test_variables_of_the_caller_change_answers(slurm: Slurm) -> None:
    with slurm.cluster as cluster:
        cluster.next_id = 7480
    slurm.submit("sleep 60", "-J", "envtest")
    slurm.submit("true", "-H", "-J", "envpend")
    for row in captures("95-env-none", "95-env-squeue-*", "95-env-scancel-interactive*", "95-env-scancel-verbose"):
        replay(slurm, row)


@pytest.mark.parametrize("row", captures("91-*"), ids=lambda row: row["name"])
def test_clusters_by_name(make_slurm: Callable[..., Slurm], row: dict[str, Any]) -> None:
    slurm = make_slurm(accounting=True)
    if row["name"] == "91-squeue-M":
        with slurm.cluster as cluster:
            cluster.next_id = 6
        slurm.submit("true", "-H"), slurm.submit("true", "-H")
    plugin = "sbatch: welcome to the site, you have 5 core-hours left\n"
    replay(slurm, row | {"stderr": row["stderr"].replace(plugin, "")})


def test_limits_keep_jobs_waiting(slurm: Slurm) -> None:
    """The jobs 14 to 25, each over some limit of the partition."""
    (slurm.home / "ok.sh").write_bytes(OK)
    for row in captures("04-over-*", "05-bad-time-*"):
        if row["rc"] == 0:
            replay(slurm, row)
    with slurm.cluster as cluster:
        cluster.next_id = 15
    slurm.out("sbatch", "-N", "9", "ok.sh")
    (row,) = captures("06-squeue-reasons")
    replay(slurm, row | {"stdout": row["stdout"].replace("fromscript", "ok.sh")})


def test_refused_jobs_stay_visible(slurm: Slurm) -> None:
    (slurm.home / "ok.sh").write_bytes(b"#!/bin/sh\n#SBATCH -J fromscript\nsleep 1\n")
    with slurm.cluster as cluster:
        cluster.next_id = 17
    for argv in (["--mem=900G"], ["-H"], ["-p", "gpu", "--gres=gpu:9"], ["--gres=gpu:1"]):
        slurm.run("sbatch", *argv, "ok.sh")
    for row in captures("03-rejected-jobs-are-visible", "03-rejected-jobs-are-visible-9"):
        replay(slurm, row)


def test_show_job_has_every_line_of_the_recording(slurm: Slurm) -> None:
    for row in captures("08-scontrol-name-newline", "08-scontrol-o-name-newline", "09-comment-plain-scontrol"):
        with slurm.cluster as cluster:
            cluster.next_id = identifier = int(row["cmd"].split()[-1])
        name = "line1\nline2" if "newline" in row["name"] else "wrap"
        slurm.submit("true", "-H", "-J", name, *(["--comment=fxs:abc-123"] if "comment" in row["name"] else []))
        replay(slurm, row, normal=lambda text: _volatile(text, slurm))
        with slurm.cluster as cluster:
            cluster.lose(cluster.jobs[identifier])


def _volatile(text: str, slurm: Slurm) -> str:
    text = re.sub(r"Sid=\S+", "Sid=…", anonymous(text)).replace(str(slurm.home), f"/home/{ME}")
    text = re.sub(r"GroupId=\S+", "GroupId=…", text)
    return re.sub(r" QOS=\S+", " QOS=…", text)
