"""A job's specification becomes the words of an sbatch command, and nothing in it becomes anything else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched_slurm.submission import sbatch_options

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
MIB = 1024**2


def options(**members: Any) -> dict[str, str]:
    """Return sbatch's options for a job, by name."""
    words = sbatch_options(JobSpec(token=new_token(), **members))
    return dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)


def test_the_script_is_read_from_standard_input_and_the_id_comes_alone() -> None:
    words = sbatch_options(JobSpec(token=new_token(), script=b"#!/bin/sh\n"))

    assert words[0] == "--parsable"
    assert all(word.startswith("--") for word in words)


@given(PRINTABLE, st.sampled_from(["queue", "account", "qos", "reservation", "constraint", "working_directory"]))
def test_any_printable_value_stays_in_the_one_word_of_its_option(value: str, member: str) -> None:
    empty = JobSpec(token=new_token())
    spec = replace(empty, **{member: value})
    plain = sbatch_options(empty)

    [word] = [word for word in sbatch_options(spec) if word not in plain]

    assert word.endswith(f"={value}")
    assert re.match(r"--[a-z]+=", word)
    assert len(sbatch_options(spec)) == len(plain) + 1


@given(st.text())
def test_any_name_becomes_one_plain_word_that_ends_in_the_token(name: str) -> None:
    spec = JobSpec(token=new_token(), name=name)

    [word] = [word for word in sbatch_options(spec) if word.startswith("--job-name=")]

    assert re.fullmatch(rf"--job-name=[A-Za-z][A-Za-z0-9_.+-]{{0,40}}\.{spec.token}", word)


@given(PRINTABLE)
def test_slurm_reads_any_path_of_the_output_back_as_it_stands(path: str) -> None:
    pattern = options(output=path)["output"]

    assert re.sub(r"%(.?)", lambda found: "%" if found[1] == "%" else "EXPANDED", pattern) == path


def test_the_output_goes_nowhere_unless_it_is_asked_for() -> None:
    assert options()["output"] == "/dev/null"


def test_a_job_that_is_requeued_adds_to_its_output() -> None:
    """Slurm's own choice, where a site has not made another, is to begin the file anew."""
    assert options(output="/home/ada/job.log")["open-mode"] == "append"


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({}, {"nodes": "1", "cpus-per-task": "1", "ntasks-per-node": "1"}),
        ({"memory": 1}, {"mem": "1M"}),
        ({"memory": MIB}, {"mem": "1M"}),
        ({"memory": MIB + 1}, {"mem": "2M"}),
        ({"memory": 8 * 1024 * MIB}, {"mem": "8192M"}),
        ({"walltime": 1}, {"time": "1"}),
        ({"walltime": 60}, {"time": "1"}),
        ({"walltime": 61}, {"time": "2"}),
        ({"walltime": 8 * 3600}, {"time": "480"}),
        ({"gpus": 2}, {"gres": "gpu:2"}),
        ({"nodes": 3, "cores": 4}, {"nodes": "3", "cpus-per-task": "4"}),
    ],
)
def test_what_is_needed_is_asked_for_and_rounded_up(needs: dict[str, int], expected: dict[str, str]) -> None:
    assert expected.items() <= options(resources=Resources(**needs)).items()


def test_what_is_not_asked_for_is_left_to_slurm() -> None:
    kept = {"job-name", "output", "open-mode", "nodes", "ntasks-per-node", "cpus-per-task", "propagate"}
    assert options().keys() == kept


@pytest.mark.parametrize(("requeue", "word"), [(False, "--no-requeue"), (True, "--requeue")])
def test_a_session_does_not_run_again_unless_that_is_asked_for(requeue: bool, word: str) -> None:
    """Slurm's own default is to run it again when its node fails."""
    words = sbatch_options(JobSpec(token=new_token(), requeue=requeue))

    assert [word for word in words if word.endswith("requeue")] == [word]


def test_the_limits_of_the_process_that_submits_stay_where_they_are() -> None:
    assert options()["propagate"] == "NONE"


def test_a_node_for_the_job_alone() -> None:
    assert "--exclusive" in sbatch_options(JobSpec(token=new_token(), exclusive=True))


def test_the_administrator_s_own_options_come_last_where_they_win() -> None:
    native = ("--partition=night", "-w", "n 1")

    assert sbatch_options(JobSpec(token=new_token(), queue="day", native=native))[-3:] == list(native)


def test_a_native_word_that_sbatch_would_take_for_a_script_is_refused() -> None:
    with pytest.raises(SubmitRejected, match=r"'run\.sh'"):
        sbatch_options(JobSpec(token=new_token(), native=("run.sh",)))


@pytest.mark.parametrize(
    "word", ["--clusters=b", "--clusters", "--cluster=b", "--clus=b", "--cl=b", "-M", "-Mb", "-M=b", "-HM", "-HsMb"]
)
def test_a_native_word_that_names_another_cluster_than_is_asked_afterwards_is_refused(word: str) -> None:
    with pytest.raises(SubmitRejected, match=rf"'{word}'.*set options\.cluster"):
        sbatch_options(JobSpec(token=new_token(), native=("--hold", word, "b")))


@pytest.mark.parametrize(
    "word",
    [
        ":",
        "--array=1-1",
        "--array",
        "--ar=1",
        "--arr",
        "-a",
        "-a1-3",
        "-a=1",
        "-Ha1",
        "-HsQa1",
        "--job-name=x",
        "--job-name",
        "--job=x",
        "--j",
        "-J",
        "-Jx",
        "-HJx",
        "--wrap=true",
        "--wr=x",
        "--test-only",
    ],
)
def test_a_native_word_that_names_or_splits_the_job_is_refused(word: str) -> None:
    with pytest.raises(SubmitRejected, match=rf"'{word}'"):
        sbatch_options(JobSpec(token=new_token(), native=("--hold", word, "b")))


@pytest.mark.parametrize(
    ("requeue", "word"), [(False, "--requeue"), (False, "--requ"), (True, "--no-requeue"), (True, "--no-r")]
)
def test_a_native_word_that_requeues_against_the_setting_is_refused(requeue: bool, word: str) -> None:
    with pytest.raises(SubmitRejected, match="set requeue"):
        sbatch_options(JobSpec(token=new_token(), requeue=requeue, native=(word,)))
    assert sbatch_options(JobSpec(token=new_token(), requeue=not requeue, native=(word,)))[-1] == word


@pytest.mark.parametrize(
    "word",
    [
        "--cluster-constraint=gpu",
        "--cluster-c=gpu",
        "--comment=-M",
        "-pM",
        "-C",
        "-m",
        "--mem=1M",
        "--account=a",
        "-Aa",
        "-pa",
        "-waJ",
        "--reservation=J",
        "--no-kill",
        "--comment=:",
        "--time=1",
    ],
)
def test_a_native_word_that_only_looks_like_one_of_these_is_passed_on(word: str) -> None:
    assert sbatch_options(JobSpec(token=new_token(), native=(word,)))[-1] == word
