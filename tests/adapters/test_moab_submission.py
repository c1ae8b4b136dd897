"""A job's specification becomes the words of an msub command, and nothing in it becomes anything else."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched_fakes.moab.request import Request
from fxsched_moab.submission import job_script, msub_options

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
MIB = 1024**2


def request(**members: Any) -> Request:
    """Return what msub takes a job for."""
    return Request(msub_options(JobSpec(token=new_token(), **members)))


def test_the_script_is_read_from_standard_input_and_the_id_comes_in_a_tag() -> None:
    words = msub_options(JobSpec(token=new_token(), script=b"#!/bin/sh\n"))

    assert words[0] == "--xml"
    assert Request(words).words == []


@given(PRINTABLE, st.sampled_from([("queue", "-q"), ("account", "-A")]))
def test_any_printable_value_stays_in_the_one_word_behind_its_option(value: str, member: tuple[str, str]) -> None:
    name, option = member
    spec = JobSpec(token=new_token())
    changed = replace(spec, **{name: value})

    if value.startswith("-"):
        with pytest.raises(SubmitRejected, match="for an option"):
            msub_options(changed)
        return

    words = msub_options(changed)
    assert words[words.index(option) + 1] == value
    assert len(words) == len(msub_options(spec)) + 2
    assert Request(words).options[option] == value


@given(PRINTABLE, st.sampled_from([("qos", "qos"), ("reservation", "advres"), ("constraint", "feature")]))
def test_no_value_becomes_a_second_resource(value: str, member: tuple[str, str]) -> None:
    name, resource = member

    if re.search(r"[^\w.@:|+-]|^[.:|]", value, re.ASCII):
        with pytest.raises(SubmitRejected, match="cannot stand in a list"):
            request(**{name: value})
    else:
        assert request(**{name: value}).limits == request().limits | {resource: value}


@pytest.mark.parametrize("value", ["high,walltime=99:00:00", "a b", "a=b", "", "é", ".", ":a", "|a"])
def test_what_msub_could_take_for_more_than_one_resource_is_refused(value: str) -> None:
    spec = JobSpec(token=new_token())

    with pytest.raises(SubmitRejected):
        msub_options(replace(spec, qos=value or ","))


@given(st.text())
def test_any_name_becomes_one_plain_word_that_ends_in_the_token(name: str) -> None:
    spec = JobSpec(token=new_token(), name=name)
    words = msub_options(spec)

    assert re.fullmatch(rf"[A-Za-z][A-Za-z0-9_.+-]{{0,40}}\.{spec.token}", words[words.index("-N") + 1])


@given(PRINTABLE)
def test_no_path_whatever_stands_on_the_command_line_but_a_plain_one(path: str) -> None:
    plain = request()
    asked = request(working_directory=f"/{path}", output=f"/{path}")

    assert asked.options.keys() == plain.options.keys()
    assert asked.options["-o"] == "/dev/null"
    assert asked.options["-d"] in ("/", f"/{path}")
    assert re.fullmatch(r"/[A-Za-z0-9_./+@-]*", asked.options["-d"])


@given(PRINTABLE, PRINTABLE)
def test_a_shell_reads_every_path_in_the_script_as_one_word(directory: str, output: str) -> None:
    spec = JobSpec(token=new_token(), working_directory=directory, output=output, script=b"#!/bin/sh\n")

    words = shlex.split(job_script(spec).decode())

    assert words.count(directory) >= 1
    assert words.count(f">>{output}") == 2
    assert job_script(spec).endswith(b"\n#!/bin/sh\n")


def test_no_line_of_the_job_s_script_is_a_directive() -> None:
    """Directives end with the first command, and that is ours."""
    script = job_script(JobSpec(token=new_token(), script=b"#!/bin/sh\n#PBS -q night\n#MSUB -q night\n"))

    assert [line[:2] for line in script.split(b"\n")[:2]] == [b"#!", b"n="]


def test_output_and_errors_go_where_the_script_sends_them() -> None:
    assert request(output="/a b/100%").joined
    assert b">>'/a b/100%' 2>&1" in job_script(JobSpec(token=new_token(), output="/a b/100%"))


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({}, {"nodes": "1:ppn=1"}),
        ({"nodes": 3, "cores": 4}, {"nodes": "3:ppn=4"}),
        ({"gpus": 2}, {"nodes": "1:ppn=1:gpus=2"}),
        ({"memory": 1}, {"mem": "1mb"}),
        ({"memory": 8 * 1024 * MIB}, {"mem": "8192mb"}),
        ({"memory": 8 * 1024 * MIB, "nodes": 2}, {"mem": "16384mb"}),
        ({"memory": MIB + 1, "nodes": 2}, {"mem": "3mb"}),
        ({"walltime": 1}, {"walltime": "00:00:01"}),
        ({"walltime": 3661}, {"walltime": "01:01:01"}),
        ({"walltime": 400 * 3600}, {"walltime": "400:00:00"}),
    ],
)
def test_what_is_needed_is_asked_for(needs: dict[str, int], expected: dict[str, str]) -> None:
    assert expected.items() <= request(resources=Resources(**needs)).limits.items()


def test_what_is_not_asked_for_is_left_to_moab() -> None:
    assert request().limits.keys() == {"nodes"}
    assert request().options.keys() == {"-N", "-j", "-o", "-d", "-r"}


def test_a_node_for_the_job_alone() -> None:
    assert request(exclusive=True).limits["naccesspolicy"] == "singlejob"


def test_the_administrator_s_own_options_come_last_where_they_win() -> None:
    asked = request(queue="day", native=("-q", "night", "-l", "walltime=1:00"), resources=Resources(walltime=7200))

    assert (asked.options["-q"], asked.limits["walltime"]) == ("night", "1:00")


def test_a_native_word_that_msub_would_take_for_a_script_is_refused() -> None:
    with pytest.raises(SubmitRejected, match=r"'run\.sh'"):
        msub_options(JobSpec(token=new_token(), native=("run.sh",)))


@pytest.mark.parametrize(("requeue", "word"), [(False, "n"), (True, "y")])
def test_whether_a_job_may_run_again_is_always_said(requeue: bool, word: str) -> None:
    assert request(requeue=requeue).options["-r"] == word


@pytest.mark.parametrize(
    ("native", "complaint"),
    [
        (("-N", "mine"), "-N 'mine', but the job could not be found again"),
        (("-hNmine",), "-N 'mine'"),
        (("-t", "x[1-3]%1"), r"-t 'x\[1-3\]%1', but"),
        (("-ry",), "-r 'y' against the setting: set requeue"),
        (("-l", "nodes=1,resfailpolicy=REQUEUE"), "against the setting"),
        (("-W", "x=RESFAILPOLICY:requeue"), "against the setting"),
        (("-h", "run.sh"), r"'run\.sh', which msub"),
    ],
)
def test_a_native_option_that_would_lose_the_job_or_run_it_again_is_refused(
    native: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(SubmitRejected, match=complaint):
        request(native=native)


def test_a_native_option_that_agrees_with_the_setting_is_taken() -> None:
    assert request(native=("-r", "n")).options["-r"] == "n"
    assert request(native=("-l", "resfailpolicy=requeue"), requeue=True).limits["resfailpolicy"] == "requeue"
