"""A described submit command: a value stays in its word, rounds up, and is refused where there is no place for it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import ConfigurationError, SubmitRejected
from fxsched.jobs import JobSpec, Resources, new_token
from fxsched.settings.file import load_config
from fxsched_command.options import Options
from fxsched_command.submission import OPTIONAL, SUBMIT, fill, placeholders, submit_words

from .command_site import MANUAL, as_options, blocks, described

if TYPE_CHECKING:
    from pathlib import Path

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
TEXTS = ("queue", "account", "qos", "reservation", "constraint")


def words(*template: Any, script: str = "", escapes: dict[str, str] | None = None, **members: Any) -> list[str]:
    """Return the command for a job, without its first word."""
    spec = JobSpec(token=new_token(), **members)
    parts = tuple(part if isinstance(part, str) else tuple(part) for part in template)
    return submit_words(("sub", *parts), spec, script, escapes or {})[1:]


@pytest.mark.parametrize(
    ("word", "needs", "expected"),
    [
        ("{nodes}", {"nodes": 3}, "3"),
        ("{cores}", {"cores": 4}, "4"),
        ("{gpus}", {"gpus": 2}, "2"),
        ("{memory_bytes}", {"memory": 1025}, "1025"),
        ("{memory_kb}", {"memory": 1025}, "2"),
        ("{memory_mb}M", {"memory": 1024**2 + 1}, "2M"),
        ("{memory_gb}", {"memory": 8 * 1024**3}, "8"),
        ("{memory_gb}", {"memory": 8 * 1024**3 + 1}, "9"),
        ("{memory_per_core_mb}", {"memory": 10 * 1024**2, "cores": 3}, "4"),
        ("{walltime_seconds}", {"walltime": 61}, "61"),
        ("{walltime_minutes}", {"walltime": 61}, "2"),
        ("{walltime_hours}", {"walltime": 3601}, "2"),
        ("{walltime_hms}", {"walltime": 100 * 3600 + 61}, "100:01:01"),
        ("{walltime_hm}", {"walltime": 3541}, "01:00"),
        ("{walltime_dhms}", {"walltime": 2 * 86400 + 3661}, "2-01:01:01"),
        ("a{{{cores}}}b", {"cores": 4}, "a{4}b"),
    ],
)
def test_what_is_needed_is_written_in_the_scheduler_s_unit_and_rounded_up(
    word: str, needs: dict[str, int], expected: str
) -> None:
    assert words("{nodes}", "{cores}", [word], resources=Resources(**needs))[-1] == expected


def test_totals_are_over_all_nodes() -> None:
    template = ["{nodes}", "{cores_total}", ["{memory_total_mb}"], ["{gpus_total}"]]
    needs = Resources(nodes=3, cores=4, memory=1024**2 + 1, gpus=2)

    assert words(*template, resources=needs) == ["3", "12", "4", "6"]


def test_words_whose_value_is_not_set_vanish_together() -> None:
    template = [["-q", "{queue}"], ["-l", "mem={memory_mb},time={walltime_minutes}"], ["--exclusive{exclusive}"], "end"]

    assert words(*template) == ["end"]
    assert words(*template, queue="q", exclusive=True) == ["-q", "q", "--exclusive", "end"]


@pytest.mark.parametrize(
    "members",
    [
        {"resources": Resources(nodes=2)},
        {"resources": Resources(cores=2)},
        {"resources": Resources(gpus=1)},
        {"resources": Resources(memory=1)},
        {"resources": Resources(walltime=1)},
        {"exclusive": True},
        {"native": ("-x",)},
        *({name: "x"} for name in TEXTS),
    ],
    ids=str,
)
def test_what_the_command_has_no_place_for_is_refused_and_never_dropped(members: dict[str, Any]) -> None:
    with pytest.raises(SubmitRejected, match="the submit command that the configuration describes cannot grant"):
        words("{name}", **members)


@given(PRINTABLE, st.sampled_from(TEXTS))
def test_any_printable_value_stays_in_its_one_word(value: str, member: str) -> None:
    template = [f"--x={{{member}}}", "a"], ["-q", f"{{{member}}}"]

    assert words(template[0], **{member: value}) == [f"--x={value}", "a"]
    if value.startswith("-"):
        with pytest.raises(SubmitRejected, match="would be taken for an option"):
            words(template[1], **{member: value})
    else:
        assert words(template[1], **{member: value}) == ["-q", value]


@given(st.lists(PRINTABLE))
def test_native_words_are_handed_on_one_by_one(native: list[str]) -> None:
    assert words("a", "{native}", "b", native=tuple(native)) == ["a", *native, "b"]


@given(st.text())
def test_any_name_is_one_plain_word_that_ends_in_the_token(name: str) -> None:
    [named, token] = words("{name}", "{token}", name=name)

    assert named.endswith(f".{token}")
    assert named[0].isalpha()


def test_a_placeholder_in_a_value_stays_as_it_is() -> None:
    assert words(["{queue}"], "{native}", queue="{account}", native=("{queue}",)) == ["{account}", "{queue}"]


def test_what_the_scheduler_expands_in_the_output_s_name_is_written_its_way() -> None:
    assert words("{output}", output="/a%b", escapes={"%": "%%"}) == ["/a%%b"]
    assert words("{output}") == ["/dev/null"]


def test_a_word_with_a_list_is_repeated_for_each_of_it() -> None:
    assert fill(("q", "-j{ids}", "x"), {}, lists={"ids": ["1", "2"]}) == ["q", "-j1", "-j2", "x"]


def test_every_placeholder_gives_something() -> None:
    spec = {name: name for name in TEXTS} | {"exclusive": True, "native": ("n",)}
    needs = Resources(nodes=2, cores=2, memory=1, gpus=1, walltime=1)
    template = [[f"x{{{name}}}"] if name in OPTIONAL else f"x{{{name}}}" for name in sorted(SUBMIT - {"native"})]

    found = words(*template, "{native}", script="s", resources=needs, **spec)

    assert len(found) == len(SUBMIT) - 1  # {requeue}
    assert [word for word in found if word == "x"] == ["x", "x"]  # {exclusive} and {no_requeue} themselves are nothing
    assert placeholders(template) == SUBMIT - {"native"}


@pytest.mark.parametrize(("requeue", "words"), [(False, ["-r", "n"]), (True, ["-r", "y"])])
def test_a_session_runs_again_only_where_that_is_asked_for(requeue: bool, words: list[str]) -> None:
    template = ("qsub", ("-r", "n{no_requeue}"), ("-r", "y{requeue}"))

    assert submit_words(template, JobSpec(token=new_token(), requeue=requeue), "", {})[1:] == words
    with pytest.raises(SubmitRejected, match="cannot grant requeue"):
        submit_words(("qsub", "{name}"), JobSpec(token=new_token(), requeue=True), "", {})


# ── the manual ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_example_of_the_manual_is_a_configuration(tmp_path: Path) -> None:
    texts = blocks()
    assert len(texts) > 4
    path = tmp_path / "fxsched.toml"
    for text in texts:
        path.write_text(text)
        for name, cluster in load_config(path).clusters.items():
            if cluster.adapter == "command":
                assert as_options(described(name))


def test_the_manual_names_every_placeholder_and_every_option() -> None:
    text = MANUAL.read_text()

    for name in SUBMIT:
        shown = f"_{name.rpartition('_')[2]}`" if name.startswith(("memory_", "walltime_")) else f"`{{{name}}}`"
        assert shown in text or f"`{{{name}}}`" in text, name
    for option in Options.__struct_fields__:
        assert f"`{option}`" in text, option


# ── descriptions that are wrong ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"submit": ["qsub", "{nmae}"]}, r"submit: \{nmae\} is not known; did you mean 'name'\?. There are account, "),
        ({"submit": ["qsub", "{name}", "{queue}"]}, r"\{queue\} is not always set: write \['\{queue\}'\]"),
        ({"submit": ["qsub", "{name}", ["-x"]]}, r"the list \['-x'\] has no placeholder"),
        ({"submit": ["qsub", "{name}", "x{native}"]}, "must stand alone"),
        ({"submit": ["qsub", "{name}", ["{native}"]]}, "cannot stand in a list"),
        ({"submit": ["qsub", "{name}", "{"]}, "a brace that is meant as such is written twice"),
        ({"submit": ["qsub", "{name}", ""]}, "cannot be a word"),
        ({"submit": ["{name}"]}, "must begin with a command"),
        ({"submit": ["qsub", "{output}"]}, "must give the job a name"),
        ({"submit": "qsub {name}"}, "expected `array`"),
        ({"status": ["list", "{id}"]}, r"\{id\} is not known; did you mean 'ids'"),
        ({"status": []}, "status is missing"),
        ({"cancel": ["cut"]}, r"cancel does not say where \{id\} stands"),
        ({"cancel": []}, "cancel is missing"),
        ({"complete": ""}, "complete is missing"),
        ({"id": "job"}, "needs exactly one group"),
        ({"id": "(job) (1)"}, "needs exactly one group"),
        ({"id": "("}, "id is no regular expression"),
        ({"gone": ["["]}, "gone is no regular expression"),
        ({"row": "(?P<id>1)"}, r"row has no group \(\?P<state>"),
        ({"row": "(?P<id>1)(?P<stat>1)"}, "group 'stat' that means nothing; did you mean 'state'"),
        ({"find_row": "(?P<id>1)"}, r"find_row has no group \(\?P<name>"),
        ({"status": ["list", "{ids}"]}, "find is missing"),
        ({"states": {"waiting": ["w"]}}, "waiting is no state"),
        ({"states": {"complete": ["w"]}}, "did you mean 'completed'"),
        ({"states": {"queued": ["w"], "held": ["w"]}}, "'w' stands for two states"),
        ({"zone": "Mars/Base"}, "zone 'Mars/Base' is not known here"),
        ({"like": "slurm"}, "status is never used"),
        ({"like_options": {"a": 1}}, "never used without like"),
        ({"complete": ".*"}, "complete has '.*', which nothing at all matches already"),
        ({"rejected": [""]}, "rejected has '', which"),
        ({"doubtful": [""]}, "doubtful has '', which"),
        ({"find_complete": "x?"}, "find_complete has 'x"),
        ({"job_id": ".*"}, "job_id has"),
        ({"job_id_variable": "A-}; id; ${B"}, "cannot be the name of a variable"),
        ({"unset": ["A; id"]}, "cannot be the name of a variable"),
        ({"reserved": [""]}, "cannot be the name of a variable"),
        ({"exit": 1}, "is not a setting"),
    ],
)
def test_a_wrong_description_is_one_clear_error_before_any_session(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        as_options(described("spool") | changes)
    assert str(raised.value).startswith("clusters.x.options")


def test_a_shell_in_the_command_reads_values_as_arguments_only() -> None:
    """As the manual advises where a scheduler needs a shell around it."""
    template = ("/bin/sh", "-c", 'printf %s "$1"', "sh", "x{queue}")
    spec = JobSpec(token=new_token(), queue="$(id) '\"; id")

    argv = submit_words((*template[:4], (template[4],)), spec, "", {})

    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"x$(id) '\"; id"
