"""A job's specification becomes the words of an engine's run, and nothing in it becomes anything else."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched_docker.options import EngineOptions
from fxsched_docker.submission import container_name, job_program, run_words, script_path

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
OPTIONS = EngineOptions(image="fastx:4")
MIB = 1024**2


def words(spec: JobSpec, engine: str = "docker", **options: Any) -> list[str]:
    return run_words(spec, engine, replace(OPTIONS, **options))


def run_options(engine: str = "docker", *, settings: dict[str, Any] | None = None, **members: Any) -> list[str]:
    """Return the options of run for a job: what stands before the image."""
    found = words(JobSpec(token=new_token(), **members), engine, **(settings or {}))
    return found[: found.index("fastx:4")]


def test_a_container_is_detached_and_kept_and_its_name_and_labels_hold_the_token() -> None:
    spec = JobSpec(token=new_token(), name="a+b")

    found = words(spec)

    assert {"--detach", "--init", "--restart=no", f"--name=a_b.{spec.token}"} <= set(found)
    assert {f"--label=fxsched.token={spec.token}", f"--label=fxsched.job=a+b.{spec.token}"} <= set(found)
    assert "--rm" not in found


def test_no_engine_ever_runs_a_container_again_by_itself() -> None:
    for requeue in (False, True):
        assert [word for word in words(JobSpec(token=new_token(), requeue=requeue)) if "restart" in word] == [
            "--restart=no"
        ]


def test_the_image_is_followed_by_what_runs_in_it() -> None:
    spec = JobSpec(
        token=new_token(),
        script=b"#!/bin/sh\n# unheard-of\n",
        working_directory="/home/ada/s",
        output="/home/ada/s/job.log",
        resources=Resources(walltime=90),
    )

    found = words(spec, grace=7)

    assert "--entrypoint=/bin/sh" in found
    script = f"/home/ada/s/{spec.token}.sh"
    assert found[found.index("fastx:4") :] == [
        *("fastx:4", "-c", job_program(), "fxsched", script, "/home/ada/s/job.log", "90", "7"),
    ]
    assert "unheard-of" not in " ".join(found)


@given(PRINTABLE)
def test_any_printable_directory_stays_in_the_one_word_of_its_option(directory: str) -> None:
    spec = JobSpec(token=new_token(), working_directory=directory)

    found = words(spec)

    assert [word for word in found if word.startswith("--workdir")] == [f"--workdir={directory}"]
    assert len(found) == len(words(replace(spec, working_directory=None))) + 1
    assert found.count(script_path(spec)) == 1


@given(PRINTABLE)
def test_any_printable_output_is_one_word_behind_the_image(output: str) -> None:
    found = words(JobSpec(token=new_token(), output=output))

    assert found[found.index("fastx:4") + 5] == output


@given(st.text())
def test_any_name_becomes_one_plain_word_that_ends_in_the_token(name: str) -> None:
    spec = JobSpec(token=new_token(), name=name)

    assert re.fullmatch(rf"[A-Za-z][A-Za-z0-9_.-]{{0,40}}\.{spec.token}", container_name(spec))
    assert words(spec).count(f"--name={container_name(spec)}") == 1


@given(PRINTABLE)
def test_any_native_word_is_one_option_or_is_refused(word: str) -> None:
    assume(not word.startswith("--image="))
    spec = JobSpec(token=new_token(), native=(word,))

    found = None
    with suppress(SubmitRejected):
        found = words(spec)
    if found is not None:
        assert word.startswith("-")
        assert found == [*found[: found.index("fastx:4") - 1], word, *found[found.index("fastx:4") :]]
        assert found[found.index("fastx:4") - 1] == word


@pytest.mark.parametrize("word", ["ubuntu", "/data:/data", "-", "--", "---x", "-1", "--=x"])
def test_a_native_word_that_is_no_option_would_be_the_image_and_is_refused(word: str) -> None:
    with pytest.raises(SubmitRejected, match="taken for the image"):
        words(JobSpec(token=new_token(), native=(word,)))


@pytest.mark.parametrize(
    "word",
    [
        *("--rm", "--rm=true", "--restart=always", "--name=x", "--detach=false", "-d", "-it", "--entrypoint=/bin/x"),
        *("-dit", "-Pd", "-qi=true", "--attach=stdout", "--label=fxsched.user=0", "-lfxsched.token=x"),
    ],
)
def test_a_native_word_that_would_break_the_promises_is_refused(word: str) -> None:
    with pytest.raises(SubmitRejected, match="for fxsched to say"):
        words(JobSpec(token=new_token(), native=(word,)))


def test_a_profile_names_its_own_image_and_its_native_words_come_last() -> None:
    native = ("--volume=/data:/data:ro", "--image=rocky:9", "-v/scratch:/scratch")

    found = words(JobSpec(token=new_token(), native=native), mounts=("/opt:/opt:ro",))

    at = found.index("rocky:9")
    assert found[at - 3 : at] == ["--volume=/opt:/opt:ro", "--volume=/data:/data:ro", "-v/scratch:/scratch"]
    assert "fastx:4" not in found


@pytest.mark.parametrize(
    ("settings", "native"), [("", ()), ("-x", ()), ("fastx:4", ("--image=",)), ("", ("--image=-x",))]
)
def test_a_job_without_an_image_is_refused(settings: str, native: tuple[str, ...]) -> None:
    with pytest.raises(SubmitRejected, match="image"):
        words(JobSpec(token=new_token(), native=native), image=settings)


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({}, "--cpus=1"),
        ({"cores": 4}, "--cpus=4"),
        ({"memory": 1}, "--memory=1b"),
        ({"memory": 8 * 1024 * MIB}, "--memory=8589934592b"),
        ({"gpus": 2}, "--gpus=2"),
        ({"walltime": 61}, "--label=fxsched.walltime=61"),
    ],
)
def test_what_is_needed_is_asked_for(needs: dict[str, int], expected: str) -> None:
    assert expected in run_options(resources=Resources(**needs))


def test_podman_has_each_gpu_by_its_name() -> None:
    found = run_options("podman", resources=Resources(gpus=2))

    assert [word for word in found if "gpu" in word] == ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=1"]


def test_what_is_not_asked_for_is_left_to_the_engine() -> None:
    names = {word.partition("=")[0] for word in run_options()}

    assert names == {
        *("--detach", "--init", "--restart", "--pull", "--stop-timeout", "--name", "--label", "--entrypoint", "--cpus"),
    }


def test_the_network_the_host_name_and_the_grace_time_are_the_administrator_s() -> None:
    found = run_options(settings={"network": "host", "hostname": "session", "grace": 30, "pull": "missing"})

    assert {"--network=host", "--hostname=session", "--stop-timeout=30", "--pull=missing"} <= set(found)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *((name, "x") for name in ("queue", "account", "qos", "reservation", "constraint")),
        ("exclusive", True),
        ("resources", Resources(nodes=2)),
    ],
)
def test_what_an_engine_cannot_grant_is_refused(member: str, value: Any) -> None:
    with pytest.raises(SubmitRejected, match="a container engine cannot grant"):
        words(JobSpec(token=new_token(), **{member: value}))


def test_without_limits_cores_and_memory_are_refused_rather_than_dropped() -> None:
    assert "--cpus=1" not in run_options(settings={"limits": False})
    for needs in (Resources(cores=2), Resources(memory=MIB)):
        with pytest.raises(SubmitRejected, match="without limits cannot grant"):
            run_options(settings={"limits": False}, resources=needs)
