"""A job's specification becomes the words of a bsub command and a script, and nothing in it becomes anything else."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched_lsf.submission import bsub_options, bsub_script

if TYPE_CHECKING:
    from pathlib import Path

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
OPTIONS = {"queue": "-q", "account": "-P", "qos": "-sla", "reservation": "-U"}
MIB = 1024**2
SCRIPT = b"#!/bin/sh\ntrue\n"


def options(how: dict[str, Any] | None = None, **members: Any) -> dict[str, str]:
    """Return bsub's options for a job, by name; ``how`` is said of the site."""
    words = [word for word in bsub_options(JobSpec(token=new_token(), **members), **(how or {})) if word != "-rn"]
    return dict(zip(words[::2], words[1::2], strict=True))


def requirement(how: dict[str, Any] | None = None, **needs: Any) -> str | None:
    """Return the resource requirement for these needs."""
    return options(how, resources=Resources(**needs)).get("-R")


@given(PRINTABLE, st.sampled_from(sorted(OPTIONS)))
def test_any_printable_value_stays_in_the_one_word_behind_its_option(value: str, member: str) -> None:
    empty = JobSpec(token=new_token())
    plain = bsub_options(empty)

    if value.startswith("-"):
        with pytest.raises(SubmitRejected, match="hyphen"):
            bsub_options(replace(empty, **{member: value}))
    else:
        assert bsub_options(replace(empty, **{member: value})) == [*plain, OPTIONS[member], value]


@given(PRINTABLE)
def test_a_constraint_stays_inside_its_brackets(value: str) -> None:
    if "[" in value or "]" in value:
        with pytest.raises(SubmitRejected, match="bracket"):
            options(constraint=value)
    else:
        assert options(constraint=value)["-R"] == f"select[{value}]"


@given(st.text())
def test_any_name_becomes_one_plain_word_that_ends_in_the_token(name: str) -> None:
    spec = JobSpec(token=new_token(), name=name)

    words = bsub_options(spec)

    assert words[:2] == ["-rn", "-J"]
    assert re.fullmatch(rf"[A-Za-z][A-Za-z0-9_.+-]{{0,40}}\.{spec.token}", words[2])


@given(PRINTABLE, PRINTABLE)
def test_no_path_becomes_a_directive_of_bsub(directory: str, output: str) -> None:
    spec = JobSpec(token=new_token(), script=SCRIPT, working_directory=directory, output=output)

    lines = bsub_script(spec).split(b"\n")

    assert not [line for line in lines if re.match(rb"\s*#\s*BSUB", line)]
    assert lines[0] == b"#!/bin/sh"


@pytest.mark.parametrize("line", [b"#BSUB -q night", b"# BSUB -J x", b"cat <<X\n#BSUB -q night\nX", b"\t #BSUB\t-x"])
def test_a_script_with_a_directive_in_it_is_refused(line: bytes) -> None:
    with pytest.raises(SubmitRejected, match="#BSUB"):
        bsub_script(JobSpec(token=new_token(), script=b"#!/bin/sh\n" + line + b"\n"))


@pytest.mark.parametrize("script", [b"", b"true\n", b"#!/usr/bin/env python3\npass\n", b"#!/bin/cat\n"])
def test_what_is_no_script_for_sh_is_refused(script: bytes) -> None:
    with pytest.raises(SubmitRejected, match="script for sh"):
        bsub_script(JobSpec(token=new_token(), script=script))


@pytest.mark.parametrize("shebang", ["#!/bin/sh", "#!/bin/bash -e", "#! /usr/bin/dash"])
def test_the_script_goes_to_its_directory_and_opens_its_output_by_itself(tmp_path: Path, shebang: str) -> None:
    directory = tmp_path / 'it\'s "a" $(dir) `x` é 🚀 #BSUB -q x'
    directory.mkdir()
    output = directory / "-o %J.log"
    output.write_text("before\n")
    spec = JobSpec(
        token=new_token(),
        script=f"{shebang}\npwd; echo $n; echo trouble >&2\n".encode(),
        working_directory=str(directory),
        output=str(output),
    )

    done = subprocess.run(["sh"], input=bsub_script(spec), capture_output=True, check=True)

    assert (done.stdout, done.stderr) == (b"", b"")
    assert output.read_text() == f"before\n{directory}\n\ntrouble\n"


def test_a_new_output_is_its_owner_s_alone(tmp_path: Path) -> None:
    spec = JobSpec(token=new_token(), script=b"#!/bin/sh\numask\n", output=str(tmp_path / "log"))

    subprocess.run(["sh", "-c", "umask 022; exec sh"], input=bsub_script(spec), check=True)

    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "log").read_text() == "0022\n"


def test_an_output_that_cannot_be_opened_does_not_keep_the_job_from_running(tmp_path: Path) -> None:
    spec = JobSpec(token=new_token(), script=b"#!/bin/sh\necho here\n", output=str(tmp_path / "missing" / "log"))

    assert subprocess.run(["sh"], input=bsub_script(spec), capture_output=True, check=True).stdout == b"here\n"


def test_a_script_is_otherwise_handed_over_as_it_is() -> None:
    script = b"#!/bin/sh\n: \xff\n" + b"x" * 100_000

    assert bsub_script(JobSpec(token=new_token(), script=script)) == script


# ── resources ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("needs", "slots", "expected"),
    [
        ({}, "1", None),
        ({"cores": 4}, "4", "span[hosts=1]"),
        ({"nodes": 3}, "3", "span[ptile=1]"),
        ({"nodes": 3, "cores": 4}, "12", "span[ptile=4]"),
        ({"nodes": 2, "cores": 4, "memory": 3 * MIB}, "8", "rusage[mem=3] span[ptile=4]"),
    ],
)
def test_cores_are_slots_on_as_many_hosts_as_there_are_nodes(
    needs: dict[str, int], slots: str, expected: str | None
) -> None:
    assert options(resources=Resources(**needs))["-n"] == slots
    assert requirement(**needs) == expected


@pytest.mark.parametrize(
    ("unit", "size", "limit", "reserved"),
    [
        ("unset", 1, "1", "1"),
        ("unset", MIB, "1024", "1"),
        ("unset", MIB + 1, "1025", "2"),
        ("KB", MIB, "1024", "1024"),
        ("MB", 8 * 1024 * MIB, "8192", "8192"),
        ("GB", 8 * 1024 * MIB + 1, "9", "9"),
        ("TB", MIB, "1", "1"),
    ],
)
def test_memory_is_counted_in_the_site_s_unit_and_rounded_up(unit: str, size: int, limit: str, reserved: str) -> None:
    found = options({"unit": unit}, resources=Resources(memory=size))

    assert (found["-M"], found["-R"]) == (limit, f"rusage[mem={reserved}]")


def test_a_limit_for_a_whole_job_is_not_set_for_one_on_several_nodes() -> None:
    assert "-M" not in options(resources=Resources(memory=MIB, nodes=2))


def test_a_reservation_for_each_slot_is_a_share_of_the_node_s() -> None:
    how = {"reserve_per_slot": True, "gpu_resource": "ngpus"}

    assert requirement(how, memory=10 * MIB, cores=4, gpus=2) == "rusage[mem=3,ngpus=1] span[hosts=1]"
    assert options(how, resources=Resources(memory=10 * MIB, cores=4))["-M"] == "10240"


@pytest.mark.parametrize(("seconds", "minutes"), [(1, "1"), (60, "1"), (61, "2"), (8 * 3600, "480")])
def test_the_run_limit_is_in_minutes_rounded_up(seconds: int, minutes: str) -> None:
    assert options(resources=Resources(walltime=seconds))["-W"] == minutes


def test_gpus_are_asked_for_by_option_or_as_a_resource() -> None:
    assert options(resources=Resources(gpus=2))["-gpu"] == "num=2"
    found = options({"gpu_resource": "ngpus_physical"}, resources=Resources(gpus=2))
    assert found["-R"] == "rusage[ngpus_physical=2]"
    assert "-gpu" not in found


def test_a_constraint_comes_first_in_the_requirement() -> None:
    found = options(constraint="linux && mem>100", resources=Resources(memory=MIB, cores=2))

    assert found["-R"] == "select[linux && mem>100] rusage[mem=1] span[hosts=1]"


@pytest.mark.parametrize("members", [{"qos": "gold"}, {"reservation": "r"}, {"resources": Resources(gpus=1)}])
def test_what_an_old_bsub_would_misread_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(SubmitRejected, match="LSF before version 9 cannot grant"):
        options({"modern": False}, **members)


def test_an_old_bsub_may_have_a_resource_for_gpus() -> None:
    found = options({"modern": False, "gpu_resource": "ngpus"}, resources=Resources(gpus=1))

    assert found["-R"] == "rusage[ngpus=1]"


def test_what_is_not_asked_for_is_left_to_lsf() -> None:
    assert options().keys() == {"-J", "-o", "-n"}
    assert options()["-o"] == "/dev/null"


def test_a_node_for_the_job_alone() -> None:
    assert bsub_options(JobSpec(token=new_token(), exclusive=True))[-1] == "-x"


def test_the_administrator_s_own_options_come_last_where_they_win() -> None:
    native = ("-q", "night", "-m", "n 1")

    assert bsub_options(JobSpec(token=new_token(), queue="day", exclusive=True, native=native))[-4:] == list(native)


def test_a_native_word_that_bsub_would_take_for_a_command_is_refused() -> None:
    with pytest.raises(SubmitRejected, match=r"'run\.sh'"):
        bsub_options(JobSpec(token=new_token(), native=("run.sh",)))


@pytest.mark.parametrize(
    ("requeue", "modern", "words"),
    [(False, True, ["-rn"]), (False, False, []), (True, True, ["-r"]), (True, False, ["-r"])],
)
def test_a_job_runs_again_only_if_it_is_asked_for(requeue: bool, modern: bool, words: list[str]) -> None:
    """An old bsub would read "-rn" as "-r -n"."""
    found = bsub_options(JobSpec(token=new_token(), requeue=requeue), modern=modern)

    assert [word for word in found if word.startswith("-r")] == words


@pytest.mark.parametrize(
    "native",
    [
        ("-J", "other"),
        ("-Jother",),
        ("-J", "x[1-3]"),
        ("-q", "night", "-r"),
        ("-rn",),
        ("-rnc",),
        ("-xr",),
        ("-K",),
        ("-Is",),
        ("-I",),
        ("-pack", "file"),
        ("-Q", "99"),
    ],
)
def test_native_options_do_not_name_repeat_or_split_a_job(native: tuple[str, ...]) -> None:
    with pytest.raises(SubmitRejected, match="native holds"):
        bsub_options(JobSpec(token=new_token(), native=native))


@pytest.mark.parametrize("native", [("-Jd", "a description"), ("-R", "rusage[x=1]"), ("-H",), ("-N",)])
def test_other_native_options_reach_bsub(native: tuple[str, ...]) -> None:
    assert bsub_options(JobSpec(token=new_token(), native=native))[-len(native) :] == list(native)
