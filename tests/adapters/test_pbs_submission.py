"""A job's specification becomes the words of a qsub command, and nothing in it becomes anything else."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched_pbs.submission import job_script, openpbs_options, torque_options, walltime

if TYPE_CHECKING:
    from collections.abc import Callable

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
MIB = 1024**2
GIB = 1024 * MIB
BOTH = pytest.mark.parametrize("translate", [openpbs_options, torque_options])


def options(translate: Callable[[JobSpec], list[str]], **members: Any) -> dict[str, str]:
    """Return qsub's options for a job, by letter; those of -l by the name of the resource."""
    words = iter(translate(JobSpec(token=new_token(), **members)))
    found = {}
    for word in words:
        if word == "-f":
            continue
        value = next(words)
        if word == "-l":
            word, _, value = value.partition("=")
        found[word] = value
    return found


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@BOTH
def test_the_name_is_what_find_can_make_of_the_token_alone(translate: Callable[[JobSpec], list[str]]) -> None:
    spec = JobSpec(token=new_token(), name='my "session" 1')

    assert translate(spec)[translate(spec).index("-N") + 1] == f"fxsched.{spec.token}"


@BOTH
def test_pbs_delivers_nothing_and_sends_no_mail(translate: Callable[[JobSpec], list[str]]) -> None:
    found = options(translate, working_directory="/home/ada", output="/home/ada/job.log")

    assert (found["-o"], found["-j"], found["-m"]) == ("/dev/null", "oe", "n")


@BOTH
@given(PRINTABLE, st.sampled_from(["queue", "account"]))
def test_any_printable_value_stays_one_word_behind_its_option(
    translate: Callable[[JobSpec], list[str]], value: str, member: str
) -> None:
    empty = JobSpec(token=new_token())
    words = translate(replace(empty, **{member: value}))

    place = words.index({"queue": "-q", "account": "-A"}[member])

    assert words[place + 1] == value
    assert words[:place] + words[place + 2 :] == translate(empty)


@BOTH
@given(PRINTABLE, st.sampled_from(["queue", "account", "qos", "reservation", "constraint"]), st.booleans())
def test_no_value_whatever_adds_a_resource_or_an_option(
    translate: Callable[[JobSpec], list[str]], value: str, member: str, named: bool
) -> None:
    """It is one word more, or none, or the job is refused; and what PBS takes apart keeps its parts."""
    value = f"a={value}" if named else value
    empty = JobSpec(token=new_token())
    try:
        words = translate(replace(empty, **{member: value}))
    except SubmitRejected:
        return

    plain = translate(empty)
    assert len(words) - len(plain) in (0, 2)
    if member in ("qos", "reservation", "constraint") and "-q" not in words:
        changed = [word for word in words if word not in plain and word != "-W"]
        assert re.fullmatch(r"(select|nodes|x)=[A-Za-z0-9_.:=-]+", changed[0])


@BOTH
def test_a_native_word_that_qsub_would_take_for_a_script_is_refused(translate: Callable[[JobSpec], list[str]]) -> None:
    with pytest.raises(SubmitRejected, match=r"'run\.sh'"):
        translate(JobSpec(token=new_token(), native=("run.sh",)))


@BOTH
def test_the_administrator_s_own_options_come_last_where_they_win(translate: Callable[[JobSpec], list[str]]) -> None:
    native = ("-q", "night", "-S", "/bin/my shell")

    assert translate(JobSpec(token=new_token(), queue="day", native=native))[-4:] == list(native)


@BOTH
@pytest.mark.parametrize(("requeue", "word"), [(False, "n"), (True, "y")])
def test_whether_a_job_may_run_again_is_always_said(
    translate: Callable[[JobSpec], list[str]], requeue: bool, word: str
) -> None:
    assert options(translate, requeue=requeue)["-r"] == word


@BOTH
@pytest.mark.parametrize(
    ("native", "complaint"),
    [
        (("-N", "mine"), "-N 'mine', but the job could not be found again"),
        (("-hNmine",), "-N 'mine'"),
        (("-W", "umask=022, Job_Name=mine"), "-W 'umask=022, Job_Name=mine', but"),
        (("-Wumask=022,Rerunable=y",), "against the setting"),
        (("-ry",), "-r 'y' against the setting: set requeue"),
        (("-h", "-r", "y"), "against the setting"),
        (("-h", "run.sh"), r"'run\.sh', which qsub would take for a script"),
        (("-h", "--", "/bin/true"), "'/bin/true', which qsub"),
    ],
)
def test_a_native_option_that_would_lose_the_job_or_run_it_again_is_refused(
    translate: Callable[[JobSpec], list[str]], native: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(SubmitRejected, match=complaint):
        translate(JobSpec(token=new_token(), native=native))


@pytest.mark.parametrize(
    ("translate", "native"),
    [
        (openpbs_options, ("-J", "1-3")),
        (openpbs_options, ("-hJ1-3",)),
        (openpbs_options, ("-W", "array_indices_submitted=1-3")),
        (torque_options, ("-t", "1-3%1")),
        (torque_options, ("-zt0",)),
        (torque_options, ("-W", "x=FLAGS:NOQUEUE,job_array_request=1-3")),
        (torque_options, ("-P", "bob")),
    ],
)
def test_so_is_an_array_or_somebody_else_s_job(
    translate: Callable[[JobSpec], list[str]], native: tuple[str, ...]
) -> None:
    with pytest.raises(SubmitRejected, match="could not be found again"):
        translate(JobSpec(token=new_token(), native=native))


@BOTH
def test_a_native_option_that_agrees_with_the_setting_is_taken(translate: Callable[[JobSpec], list[str]]) -> None:
    assert translate(JobSpec(token=new_token(), native=("-r", "n")))[-2:] == ["-r", "n"]
    assert translate(JobSpec(token=new_token(), native=("-W", "Rerunable=TRUE"), requeue=True))[-1] == "Rerunable=TRUE"
    assert translate(JobSpec(token=new_token(), native=("-v", "A=-N,B=-t", "-S", "-J")))[-1] == "-J"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "00:00:01"), (61, "00:01:01"), (8 * 3600, "08:00:00"), (100 * 3600 + 59, "100:00:59")],
)
@BOTH
def test_a_walltime_is_hours_minutes_and_seconds(
    translate: Callable[[JobSpec], list[str]], seconds: int, text: str
) -> None:
    assert walltime(seconds) == text
    assert options(translate, resources=Resources(walltime=seconds))["walltime"] == text


# ── OpenPBS ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {"select": "1:ncpus=1"}),
        ({"resources": Resources(cores=4, memory=1)}, {"select": "1:ncpus=4:mem=1mb"}),
        ({"resources": Resources(memory=8 * GIB + 1)}, {"select": "1:ncpus=1:mem=8193mb"}),
        ({"resources": Resources(gpus=2)}, {"select": "1:ncpus=1:ngpus=2"}),
        ({"resources": Resources(nodes=3, cores=2)}, {"select": "3:ncpus=2", "place": "scatter"}),
        ({"exclusive": True}, {"place": "free:exclhost"}),
        ({"exclusive": True, "resources": Resources(nodes=2)}, {"place": "scatter:exclhost"}),
        ({"constraint": "arch=linux:big-mem=true"}, {"select": "1:ncpus=1:arch=linux:big-mem=true"}),
        ({"reservation": "R123"}, {"-q": "R123"}),
        ({"queue": "workq@vm", "account": "p 1"}, {"-q": "workq@vm", "-A": "p 1"}),
    ],
)
def test_openpbs_is_asked_for_chunks(members: dict[str, Any], expected: dict[str, str]) -> None:
    usual = {"-N", "-j", "-o", "-m", "-r", "select"}

    found = options(openpbs_options, **members)

    assert expected.items() <= found.items()
    assert found.keys() == usual | expected.keys()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"qos": "high"}, "cannot grant qos"),
        ({"queue": "day", "reservation": "R1"}, "both queue 'day' and reservation 'R1'"),
        ({"constraint": "bigmem"}, "it takes resources of a chunk"),
        ({"constraint": "ncpus=64"}, "other than mem, .*ncpus"),
        ({"constraint": "arch=linux+64:ncpus=64"}, "cannot grant constraint"),
        ({"constraint": "arch=linux,walltime=999:00:00"}, "cannot grant constraint"),
    ],
)
def test_what_openpbs_cannot_express_is_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(SubmitRejected, match=words):
        options(openpbs_options, **members)


def test_openpbs_s_qsub_submits_itself() -> None:
    assert openpbs_options(JobSpec(token=new_token()))[0] == "-f"
    assert "-f" not in torque_options(JobSpec(token=new_token()))


# ── Torque ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {"nodes": "1:ppn=1"}),
        ({"resources": Resources(cores=4, memory=1)}, {"nodes": "1:ppn=4", "mem": "1mb"}),
        ({"resources": Resources(nodes=3, memory=GIB + 1)}, {"nodes": "3:ppn=1", "mem": f"{3 * 1025}mb"}),
        ({"resources": Resources(gpus=2)}, {"nodes": "1:ppn=1:gpus=2"}),
        ({"exclusive": True}, {"naccesspolicy": "singlejob"}),
        ({"constraint": "bigmem:ib-2"}, {"nodes": "1:ppn=1:bigmem:ib-2"}),
        ({"qos": "high"}, {"-W": "x=QOS:high"}),
        ({"reservation": "res.1"}, {"-W": "x=FLAGS:ADVRES:res.1"}),
        ({"qos": "high", "reservation": "res.1"}, {"-W": "x=QOS:high;FLAGS:ADVRES:res.1"}),
    ],
)
def test_torque_is_asked_for_nodes(members: dict[str, Any], expected: dict[str, str]) -> None:
    usual = {"-N", "-j", "-o", "-m", "-r", "nodes"}

    found = options(torque_options, **members)

    assert expected.items() <= found.items()
    assert found.keys() == usual | expected.keys()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"constraint": "ppn=64"}, "it takes properties of nodes"),
        ({"constraint": "a+2:ppn=64"}, "it takes properties of nodes"),
        ({"constraint": "a,walltime=9"}, "it takes properties of nodes"),
        ({"qos": "a;FLAGS:PREEMPTOR"}, "cannot grant qos"),
        ({"reservation": "a b"}, "cannot grant reservation"),
    ],
)
def test_what_torque_cannot_express_is_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(SubmitRejected, match=words):
        options(torque_options, **members)


# ── the script ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_script_follows_as_it_is() -> None:
    script = b"#!/bin/sh\n#PBS -q other\necho \xff\n"
    spec = JobSpec(token=new_token(), script=script, working_directory="/home/ada", output="/home/ada/log")

    read = job_script(spec)

    assert read.endswith(script)
    assert read.count(b"#!/bin/sh\n") == 2


def test_nothing_but_the_two_paths_changes_it() -> None:
    empty = JobSpec(token=new_token(), script=b"true\n", working_directory="/d", output="/o")
    full = replace(empty, name="x", queue="q", account="a", resources=Resources(cores=4), native=("-p", "1"))

    assert job_script(full) == job_script(empty)


@given(PRINTABLE.filter(lambda name: "/" not in name and name not in (".", "..") and len(name.encode()) < 200))
def test_any_path_is_one_word_to_the_shell_and_no_line_of_it_is_a_directive(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    directory = tmp_path_factory.mktemp("any") / name
    directory.mkdir()
    spec = JobSpec(
        token=new_token(), script=b"pwd\n", working_directory=str(directory), output=str(directory / f"{name}.log")
    )

    read = job_script(spec)

    assert not re.search(rb"^\s*#PBS", read, re.MULTILINE)
    subprocess.run(["sh"], input=read, check=True, cwd="/", timeout=20)
    assert (directory / f"{name}.log").read_text() == f"{directory}\n"


def test_output_is_added_to_what_is_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    spec = JobSpec(token=new_token(), script=b"echo after\n", working_directory=str(tmp_path), output=str(log))

    subprocess.run(["sh"], input=job_script(spec), check=True, timeout=20)

    assert log.read_text() == "before\nafter\n"


def test_a_job_whose_output_cannot_be_written_runs_all_the_same(tmp_path: Path) -> None:
    spec = JobSpec(
        token=new_token(), script=b"echo >ran\n", working_directory=str(tmp_path), output=os.fspath(tmp_path / "no/log")
    )

    subprocess.run(["sh"], input=job_script(spec), check=True, timeout=20)

    assert (tmp_path / "ran").exists()
