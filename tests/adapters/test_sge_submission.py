"""A job's specification becomes the words of a qsub command, and nothing in it becomes anything else."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fxsched.errors import SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched_fakes.sge.qsub import TABLE
from fxsched_sge.submission import STAND_IN, SiteResources, qsub_options, qsub_script

if TYPE_CHECKING:
    from pathlib import Path

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
MIB = 1024**2
SCRIPT = b"#!/bin/sh\n"
SITE = SiteResources(
    parallel_environment="smp", spread_environment="mpi-{cores}", memory_resource="h_vmem", exclusive_resource="excl"
)


def words(site: SiteResources = SITE, **members: Any) -> list[str]:
    return qsub_options(JobSpec(**({"token": new_token(), "script": SCRIPT} | members)), site)


def options(site: SiteResources = SITE, **members: Any) -> dict[str, list[str]]:
    """Return qsub's options for a job, by name, as qsub reads them."""
    found: dict[str, list[str]] = {}
    given, scripts = TABLE.parse(words(site, **members), script=True)
    assert not scripts
    for name, values in given:
        found[name] = found.get(name, []) + values
    return found


def test_the_script_is_read_from_standard_input_and_the_id_comes_alone() -> None:
    found = options()

    assert "terse" in found
    assert found["S"] == ["/bin/sh"]
    assert found["C"] == [""]  # no line of the script is an option
    assert (found["sync"], found["b"], found["j"]) == (["n"], ["n"], ["y"])


def test_nothing_of_an_environment_travels() -> None:
    assert not {"v", "V", "ac"} & options().keys()


@given(PRINTABLE, st.sampled_from(["queue:q", "account:P", "reservation:ar", "constraint:l"]))
def test_any_printable_value_stays_in_the_one_word_behind_its_option(value: str, pair: str) -> None:
    member, _, option = pair.partition(":")
    plain = words(token="a" * 20)

    found = words(token="a" * 20, **{member: value})

    assert (f"-{option}", value) in pairwise(found)
    assert len(found) == len(plain) + 2
    assert options(**{member: value})[option] == [value]


@given(PRINTABLE, PRINTABLE)
def test_any_path_reaches_the_job_as_it_stands(directory: str, output: str) -> None:
    spec = JobSpec(token=new_token(), script=SCRIPT, working_directory=directory, output=output)
    found = options(working_directory=directory, output=output)

    if re.search(r"[$,]", directory + output):
        assert ("wd" in found, found["o"]) == (False, [":/dev/null"])
        assert b"\nexec >>" in qsub_script(spec)
    else:
        assert (found["wd"], found["o"]) == ([directory], [f":{output}"])


@pytest.mark.parametrize("name", ["$HOME", "a,b", 'it\'s $(id) `id`, "$JOB_ID"', "-x$"])
def test_the_script_goes_by_itself_where_grid_engine_would_go_elsewhere(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    output = directory / "log"
    output.write_text("earlier\n")
    script = b"#!/bin/sh\npwd\necho trouble >&2\nexit 3\n"
    spec = JobSpec(token=new_token(), script=script, working_directory=str(directory), output=str(output))

    done = subprocess.run(["sh", "-s"], input=qsub_script(spec), capture_output=True, cwd="/", check=False)

    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")
    assert output.read_text() == f"earlier\n{directory}\ntrouble\n"


@given(st.text())
def test_any_name_becomes_one_plain_word_that_ends_in_the_token(name: str) -> None:
    token = new_token()

    [word] = options(token=token, name=name)["N"]

    assert re.fullmatch(rf"[A-Za-z][A-Za-z0-9_.+-]{{0,40}}\.{token}", word)


@pytest.mark.parametrize("code", [0, 1, 3, 98, 99, 100, 101, 143])
@pytest.mark.parametrize("last", ["exit {}", "trap 'exit {}' TERM; kill $$; sleep 1", "(exit {})"])
def test_no_job_ends_with_a_code_that_means_something_to_grid_engine(code: int, last: str) -> None:
    spec = JobSpec(token=new_token(), script=SCRIPT + last.format(code).encode())

    done = subprocess.run(["sh", "-s"], input=qsub_script(spec), check=False)

    assert done.returncode == (STAND_IN if code in (99, 100) else code)


def test_a_script_for_another_shell_stays_as_it_is() -> None:
    script = b"#!/bin/csh\n"

    assert qsub_script(JobSpec(token=new_token(), script=script)) == script
    with pytest.raises(SubmitRejected, match="would change the path"):
        words(script=script, output="/x/$HOME")


def test_the_output_goes_nowhere_unless_it_is_asked_for() -> None:
    assert options()["o"] == [":/dev/null"]


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({}, {}),
        ({"cores": 3}, {"pe": ["smp", "3"]}),
        ({"nodes": 3, "cores": 4}, {"pe": ["mpi-4", "12"]}),
        ({"nodes": 2}, {"pe": ["mpi-1", "2"]}),
        ({"memory": 1}, {"l": ["h_vmem=1M"]}),
        ({"memory": MIB + 1}, {"l": ["h_vmem=2M"]}),
        ({"memory": 4 * MIB, "cores": 3}, {"pe": ["smp", "3"], "l": ["h_vmem=2M"]}),
        ({"memory": 4 * MIB, "cores": 2, "nodes": 2}, {"pe": ["mpi-2", "4"], "l": ["h_vmem=2M"]}),
        ({"walltime": 61}, {"l": ["h_rt=61"]}),
        ({"gpus": 2}, {"l": ["gpu=2"]}),
        ({"gpus": 2, "nodes": 2, "cores": 4}, {"pe": ["mpi-4", "8"], "l": ["gpu=4"]}),
    ],
)
def test_what_is_needed_is_asked_for_and_rounded_up(needs: dict[str, int], expected: dict[str, list[str]]) -> None:
    found = options(resources=Resources(**needs))

    assert {name: found[name] for name in ("pe", "l") if name in found} == expected


@pytest.mark.parametrize(
    ("site", "needs", "expected"),
    [
        ({"memory_per": "job"}, {"memory": 4 * MIB, "cores": 2}, "h_vmem=4M"),
        ({"memory_per": "job"}, {"memory": 4 * MIB, "nodes": 2, "cores": 2}, "h_vmem=8M"),
        ({"memory_resource": "mem_free"}, {"memory": 4 * MIB}, "mem_free=4M"),
        ({"gpu_resource": "ngpus"}, {"gpus": 1, "cores": 4}, "ngpus=1"),
        ({"gpu_per": "slot"}, {"gpus": 4, "cores": 2}, "gpu=2"),
    ],
)
def test_the_site_says_what_things_are_called_and_for_what_they_count(
    site: dict[str, Any], needs: dict[str, int], expected: str
) -> None:
    assert options(replace(SITE, **site), resources=Resources(**needs))["l"] == [expected]


def test_a_host_for_the_job_alone() -> None:
    assert options(exclusive=True)["l"] == ["excl=true"]


@pytest.mark.parametrize(
    ("site", "members", "advice"),
    [
        ({"parallel_environment": None}, {"resources": Resources(cores=2)}, "options.parallel_environment"),
        ({"spread_environment": None}, {"resources": Resources(nodes=2)}, "options.spread_environment"),
        ({"memory_resource": None}, {"resources": Resources(memory=1)}, "options.memory_resource"),
        ({"gpu_per": "slot"}, {"resources": Resources(gpus=1, cores=2)}, "shared out evenly"),
        ({}, {"qos": "high"}, "cannot grant qos"),
        ({}, {"native": ("run.sh",)}, r"'run\.sh'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_and_never_dropped(
    site: dict[str, Any], members: dict[str, Any], advice: str
) -> None:
    with pytest.raises(SubmitRejected, match=advice):
        words(replace(SITE, **site), **members)


def test_the_administrator_s_own_options_come_last_where_they_win() -> None:
    native = ("-q", "night.q", "-m", "n 1")

    assert words(queue="day.q", native=native)[-4:] == list(native)


def test_the_defaults_of_site_and_user_can_be_cleared_away_first() -> None:
    spec = JobSpec(token=new_token())

    assert qsub_options(spec, SITE, clear=True) == ["-clear", *qsub_options(spec, SITE)]


@pytest.mark.parametrize(("requeue", "word"), [(False, "n"), (True, "y")])
def test_a_job_runs_again_only_if_it_is_asked_for(requeue: bool, word: str) -> None:
    words = qsub_options(JobSpec(token=new_token(), requeue=requeue), SiteResources())

    assert words[words.index("-r") + 1] == word


@pytest.mark.parametrize(
    "native",
    [("-N", "x"), ("-t", "1-3"), ("-tc", "2"), ("-@", "file"), ("-sync", "y"), ("-l", "a=1", "-r", "y"), ("-verify",)],
)
def test_native_options_do_not_name_repeat_or_split_a_job(native: tuple[str, ...]) -> None:
    with pytest.raises(SubmitRejected, match="native holds"):
        qsub_options(JobSpec(token=new_token(), native=native), SiteResources())
