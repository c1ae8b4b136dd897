"""A FastX 3 template: its scheduler options are kept, each value inside its word; all else is known or refused."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import ConfigurationError, InvalidRequest
from fxsched.fastx.request import StartObject
from fxsched.fastx.submitline import scheduler_options

START = '/usr/lib/fastx/3/scripts/start --command "${ start.command }" --geometry ${ start.geometry }'
HOSTILE = "a b'\"$(touch pwned)`touch pwned`; touch pwned; *"


def options(line: str, defaults: dict[str, object] | None = None, **params: Any) -> list[str]:
    start = StartObject(command="xterm -ls", geometry="800x600", name="mine", params=params)
    return list(scheduler_options(line, start, defaults or {}))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"bsub -q normal -o /dev/null {START}", ["-q", "normal", "-o", "/dev/null"]),
        (f"bsub {START}", []),
        (
            "srun /usr/lib/fastx/3/scripts/start --command ${ start.command } --geometry ${ start.geometry } "
            "--name ${ start.name } > /dev/null; echo Your job has been scheduled",
            [],
        ),
        (f"bsub -R \"rusage[mem=4000]\" -R 'select[a && b]' -R span[hosts=1] {START}", None),
        (f"\n  bsub -q a\\ b \\\n -n4 {START} >/dev/null 2>&1\necho 'done; ${{ start.name }}'\n", ["-q", "a b", "-n4"]),
        (f'echo wait && bsub -P "" {START} && echo "it is done"', ["-P", ""]),
        (f"qsub -pe smp 4 -V {START}", ["-pe", "smp", "4", "-V"]),
        (f"qsub -binding set linear:4 -q n {START}", ["-binding", "set", "linear:4", "-q", "n"]),
        (f"sbatch --exclusive --qos=high -p n {START}", ["--exclusive", "--qos=high", "-p", "n"]),
        ("bsub -q n fastx --command='${ start.command }' --cli --json=0", ["-q", "n"]),
        ("qsub -q n fastx --cli --param x=${ start.params.x }", ["-q", "n"]),
    ],
)
def test_what_stands_before_the_start_script_are_the_scheduler_s_options(line: str, expected: list[str] | None) -> None:
    resources = ["-R", "rusage[mem=4000]", "-R", "select[a && b]", "-R", "span[hosts=1]"]

    assert options(line) == (resources if expected is None else expected)


@pytest.mark.parametrize(
    "place", ["{}", '"{}"', "'{}'", "x{}", '"x {} y"', "--x={}", '--x="{}"', "rusage[mem={}]", '"it\'s {}"']
)
def test_a_value_stays_inside_its_one_word_wherever_it_stands(place: str) -> None:
    words = options(f"bsub -a {place.format('${ start.params.x }')} -b {START}", x=HOSTILE)

    [plain] = shlex.split(place.format("MARK"))
    assert words == ["-a", plain.replace("MARK", HOSTILE), "-b"]


@given(st.text(), st.sampled_from(["{}", '"{}"', "'{}'", "--x={}"]))
def test_no_value_becomes_a_second_word_or_an_option(value: str, place: str) -> None:
    line = f"bsub -a {place.format('${start.params.x}')} -b {START}"
    try:
        words = options(line, x=value)
    except InvalidRequest:
        assert value == "" or (value.startswith("-") and place != "--x={}")
    else:
        assert words == ["-a", place.strip("\"'").format(value), "-b"]


@given(st.lists(st.text(st.sampled_from("ab\\'\" \t-=,.#~[]*"), max_size=6), max_size=4).map(" -".join))
def test_words_are_split_as_the_shell_does(text: str) -> None:
    """Or the line is refused: what the shell would expand cannot be told from here, and there may be too many words."""
    line = f"bsub -a {text} -b {START}"
    try:
        words = options(line)
    except ConfigurationError:
        return
    done = subprocess.run(["/bin/sh", "-fc", f"printf '%s|' -a {text} -b"], capture_output=True, check=True, timeout=60)
    assert words == done.stdout.decode().split("|")[:-1]


def test_a_number_and_a_single_choice_are_values_too() -> None:
    line = f"bsub -n ${{ start.params.n }} -x ${{ start.params.m }} -y ${{ start.params.b }} {START}"

    assert options(line, n=4, m=["a"], b=True) == ["-n", "4", "-x", "a", "-y", "true"]


def test_a_default_stands_in_for_what_the_user_did_not_send() -> None:
    line = f"bsub -n ${{ start.params.n }} {START}"

    for params in ({}, {"n": ""}, {"n": None}):
        assert options(line, {"n": 2}, **params) == ["-n", "2"]


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({}, "n is missing"),
        ({"n": ["1", "2"]}, "n must be one value"),
        ({"n": {"a": 1}}, "n must be one value"),
        ({"n": "-Zs"}, "would take for an option"),
    ],
)
def test_a_param_that_cannot_be_a_word_is_the_request_s_fault(params: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        options(f"bsub -n ${{ start.params.n }} {START}", **params)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"bsub -q $QUEUE {START}", "no shell reads it"),
        (f"bsub -q ${{QUEUE}} {START}", r"\$\{QUEUE\}, which is nothing that FastX 3 has"),
        (f"bsub -q ${{ start.comand }} {START}", r"did you mean 'start.command'"),
        (f"bsub -q `id` {START}", "no shell reads it"),
        (f'bsub -q "$(id)" {START}', "no shell reads it"),
        (f"bsub -q ~/x {START}", "no shell reads it"),
        (f"bsub {START} # later", "no shell reads it"),
        (f"bsub {START} | tee log", "no shell reads it"),
        (f"bsub {START} > log", "no shell reads it"),
        (f"bsub {START} &", "no shell reads it"),
        (f"bsub {START} <<END", "no shell reads it"),
        (f"(bsub {START})", "no shell reads it"),
        (f'bsub {START}"', "no shell reads it"),  # as one of StarNet's examples has it
        (f"module load lsf; bsub {START}", "must be one submit command, but has 2"),
        ("echo hello", "but has 0"),
        ("", "but has 0"),
        (f"LSB_X=1 bsub {START}", "begins with 'LSB_X=1'"),
        (f"${{ start.params.x }} -q a {START}", "begins with"),
        ("bsub -q normal wrapper.sh ${ start.geometry }", "does not call FastX's start script"),
        ("bsub --command x", "does not call FastX's start script"),
        ("bsub start --command 'env X=1 ${ start.command }'", "gives FastX's start script '--command env X=1"),
        ("bsub start --command ${ start.command } --param a=b", "'--param a=b'"),
        ("bsub start --command ${ start.geometry }", "start_args or a template"),
        (f"bsub bash {START}", "'bash' before FastX's start script"),
        (f"bsub -P proj bash -l {START}", "'bash' before FastX's start script.* start_script or a template"),
        (f"sbatch -p normal vglrun {START}", "'vglrun' before FastX's start script"),
        (f"sbatch --partition=normal vglrun {START}", "'vglrun' before FastX's start script"),
        (f"sbatch -p normal ${{ start.params.x }} {START}", r"'\$\{ start.params.x \}' before FastX's start script"),
        (f"srun -n1 -- vglrun {START}", "'vglrun' before FastX's start script"),
        (f"qsub -pe smp 4 vglrun {START}", "'vglrun' before FastX's start script"),
        (f"bsub -J session {START}", r"a name of its own \('-J'\)"),
        (f"sbatch --job-name=x {START}", "a name of its own"),
        (f"/opt/pbs/bin/qsub -N x {START}", "a name of its own"),
        (f"jsub --title ${{ start.name }} {START}", "a name of its own"),
        (f"bsub \ue0000\ue001 {START}", "private character"),
    ],
)
def test_what_is_more_than_one_submit_of_the_start_script_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        options(line, x="y")


def test_an_option_that_only_looks_like_a_name_is_kept() -> None:
    assert options(f"bsub -Jd words {START}") == ["-Jd", "words"]
    assert options(f"bsub -N {START}") == ["-N"]
