"""The simulated Grid Engine against the recorded one: same exit status, same words, same elements."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from fxsched_fakes import install

from ..captures import Captures
from ..commands import command_server
from .fake_slurm import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SGE = Captures("sge")
ME = pwd.getpwuid(os.getuid()).pw_name
REFUSED = [
    row
    for row in SGE.rows(command="qsub")
    if row["name"].startswith(("01-qsub-stdin", "01-qsub-missing", "02-", "03-")) and row["rc"] != 0
    # Of these words, -w is not simulated, and neither are all checks of values.
    if row["name"] not in ("02-over-slots-w-e", "02-bad-begin", "02-bad-priority", "02-bad-reservation", "02-bad-slots")
]


class Place:
    """A simulated Grid Engine, driven by its commands."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.home.mkdir()
        (self.home / "sge.sh").write_text("#!/bin/sh\nsleep ${1:-1}\n")
        self.bin = directory / "bin"
        self.cluster = install(self.bin, "sge", directory / "state", server=command_server(), accounting=True)

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / argv[0], *argv[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC"},
            timeout=20,
            check=False,
        )

    def out(self, *argv: str, stdin: str = "") -> str:
        done = self.run(*argv, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        return self.out(
            "qsub", "-terse", "-o", ":/dev/null", "-j", "y", *options, stdin=f"#!/bin/sh\n{script}\n"
        ).strip()

    def state(self, id: str) -> str:
        rows = [line.split() for line in self.out("qstat", "-s", "az").splitlines()[2:]]
        return next((row[4] for row in rows if row[0] == id), "")

    def until(self, id: str, state: str) -> None:
        wait_for(lambda: self.state(id) == state, lambda: f"job {id} is {self.state(id)!r}, not {state!r}")

    def account(self, id: str) -> dict[str, str]:
        return fields(self.out("qacct", "-j", id))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    with place.cluster as cluster:
        for job in list(cluster.jobs.values()):
            cluster.lose(job)


def fields(text: str) -> dict[str, str]:
    """The fields of a record of qacct."""
    lines = [line for line in text.splitlines() if not line.startswith("=")]
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}


def tags(text: str) -> list[str]:
    """The elements of an XML text, in order, each once."""
    return list(dict.fromkeys(re.findall(r"<([A-Za-z_]+)", text)))


# ── qsub ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["name"])
def test_what_is_refused_is_refused_in_the_same_words(place: Place, row: dict[str, Any]) -> None:
    done = place.run(*shlex.split(row["cmd"]), stdin=row.get("stdin") or "")

    assert [done.returncode, done.stdout, done.stderr] == [row["rc"], row["stdout"], row["stderr"]]


@pytest.mark.parametrize(
    "row", [SGE.row(f"01-qsub-{name}") for name in ("terse", "plain")], ids=lambda row: row["name"]
)
def test_what_is_accepted_is_confirmed_in_the_same_words(place: Place, row: dict[str, Any]) -> None:
    [id] = re.findall(r"\d+", row["stdout"])
    with place.cluster as cluster:
        cluster.next_id = int(id)

    assert place.out(*shlex.split(row["cmd"])) == row["stdout"]


def test_lines_of_the_script_are_options_unless_the_prefix_is_empty(place: Place) -> None:
    script = "#$ -h\n#$ -N inside\ntrue"

    held, free = place.submit(script), place.submit(script, "-C", "", "-N", "free")

    assert place.state(held) == "hqw"
    place.until(free, "z")


def test_a_path_changes_at_dollar_signs_and_may_not_hold_a_comma(place: Place) -> None:
    id = place.out(
        "qsub",
        "-terse",
        "-N",
        "x",
        "-o",
        f":{place.home}/$JOB_ID.$JOB_NAME",
        "-j",
        "y",
        stdin="#!/bin/sh\necho hello\n",
    ).strip()
    place.until(id, "z")

    assert (place.home / f"{id}.x").read_text() == "hello\n"
    assert "two files" in place.run("qsub", "-o", ":/x,y", stdin="true\n").stderr
    assert "can't resolve hostname" in place.run("qsub", "-o", "/x:y", stdin="true\n").stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a\rb", "Carriage return not allowed in objectname"),
        ("a/b:c", "Slash ('/') not allowed in objectname"),
        ("template", 'Keyword ("TEMPLATE") not allowed as objectname'),
        ("1a", 'denied: "1a" is not a valid object name (cannot start with a digit)'),
    ],
)
def test_a_name_that_is_none_is_refused_in_the_words_of_its_source(place: Place, name: str, words: str) -> None:
    """``verify_str_key`` in Grid Engine's ``sge_utility.c``."""
    done = place.run("qsub", "-N", name, stdin="true\n")

    assert [done.returncode, done.stdout, done.stderr] == [1, "", f"Unable to run job: {words}\nExiting.\n"]


def test_a_job_that_may_run_nowhere_is_warned_of_with_exit_code_1_and_is_there(place: Place) -> None:
    with place.cluster as cluster:
        cluster.settings.extra = {"no_access": "yes"}
        cluster.save_settings()

    done = place.run("qsub", "-terse", "-h", "-N", "x", stdin="true\n")

    recorded = SGE.row("41-qsub-warned")
    said = recorded["stderr"].replace("root", ME).replace("17", "1").replace("desk.abcdefghijklmnop2346", "x")
    assert [done.returncode, done.stdout, done.stderr] == [recorded["rc"], recorded["stdout"], said]
    assert place.state("1") == "hqw"


def test_an_array_is_one_job_to_qsub_and_qdel_and_several_tasks_to_qstat_and_qacct(place: Place) -> None:
    shown = place.submit("sleep 60", "-N", "arr", "-t", "1-6:2")
    array, _, tasks = shown.partition(".")
    assert tasks == "1-6:2"
    place.until(array, "r")

    text = place.out("qstat", "-xml", "-u", "$user", "-s", "az")
    assert re.findall(r"<tasks>(\d+)</tasks>", text) == ["1", "3", "5"]
    assert set(tags(text)) <= set(tags(SGE.row("08-qstat-array-dep-xml")["stdout"]))
    details = place.out("qstat", "-xml", "-j", array)
    assert (details.count("<JB_job_number>"), details.count("<JAT_task_number>")) == (1, 3)
    assert "<RN_max>6</RN_max>" in details
    assert place.out("qdel", array).splitlines() == [
        f"{ME} has registered the job-array task {array}.{task} for deletion" for task in (1, 3, 5)
    ]
    assert [fields(record)["taskid"] for record in place.out("qacct", "-j", array).split("=" * 62)[1:]] == list("135")


def test_an_array_that_waits_is_one_row_and_is_deleted_as_one_job(place: Place) -> None:
    array = place.submit("true", "-N", "arr.abcdefghijklmnop2345", "-t", "1-6:2", "-h").partition(".")[0]
    recorded = SGE.row("40-qstat-array-held-xml")["stdout"]

    [tasks] = re.findall(r"<tasks>(.*)</tasks>", place.out("qstat", "-xml"))
    assert f"<tasks>{tasks}</tasks>" in recorded
    details = place.out("qstat", "-xml", "-j", array)
    [task_range] = re.findall(r"<task_id_range>.*?</task_id_range>", details, re.DOTALL)
    assert task_range in SGE.row("40-qstat-j-array-xml")["stdout"]
    assert place.out("qdel", array) == SGE.row("40-qdel-array-held")["stdout"].replace("4", array).replace("root", ME)


def test_whether_a_job_may_run_again_is_in_its_details(place: Place) -> None:
    restart = {
        option: re.findall(r"<JB_restart>(\d)<", place.out("qstat", "-xml", "-j", place.submit("true", "-h", *words)))
        for option, words in {"none": (), "y": ("-r", "y"), "n": ("-r", "n")}.items()
    }

    assert restart == {"none": ["0"], "y": ["1"], "n": ["2"]}


# ── qstat ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lists_have_the_elements_and_the_columns_of_the_recording(place: Place) -> None:
    place.until(place.submit("true", "-N", "done"), "z")
    place.until(place.submit("sleep 60", "-N", "runn"), "r")
    place.submit("true", "-h", "-N", "pend")

    text = place.out("qstat", "-xml", "-u", "$user", "-s", "az")

    recorded = SGE.row("31-qstat-az-xml")["stdout"]
    assert tags(text) == tags(recorded)
    assert re.sub(r">[^<>]*<", "><", text.split("<job_list")[0]) == re.sub(
        r">[^<>]*<", "><", recorded.split("<job_list")[0]
    )
    assert set(re.findall(r"<state>(\w+)<", text)) == {"r", "hqw", "z"}
    assert set(re.findall(r'<job_list state="(\w+)"', text)) == {"running", "pending", "zombie"}
    assert place.out("qstat").splitlines()[:2] == SGE.row("05-qstat")["stdout"].splitlines()[:2]
    columns = {len(line) for line in place.out("qstat", "-s", "az").splitlines()[2:]}
    assert columns == {len(line) for line in SGE.row("05-qstat-z")["stdout"].splitlines()[2:] if line[-1] == " "}


def test_a_list_of_nothing_and_what_nobody_knows(place: Place) -> None:
    assert place.out("qstat", "-xml", "-u", "nobody", "-s", "az") == SGE.row("31-qstat-none-xml")["stdout"]
    assert place.out("qstat") == ""
    for name in ("32-qstat-j-all-unknown-xml", "06-qstat-j-unknown"):
        row = SGE.row(name)
        done = place.run(*shlex.split(row["cmd"]))
        assert [done.returncode, done.stdout, done.stderr] == [row["rc"], row["stdout"], row["stderr"]]


def test_a_name_is_written_as_the_recorded_one_was(place: Place) -> None:
    place.submit("true", "-h", "-N", 'a<b>&c"')

    [name] = re.findall(r"<JB_name>(.*)</JB_name>", place.out("qstat", "-xml"))

    assert name in SGE.row("11-qstat-xml-escaping")["stdout"]


def test_details_have_only_elements_of_the_recording_and_its_notes(place: Place) -> None:
    held = place.submit("true", "-h", "-N", "x.held")
    after = place.submit("true", "-hold_jid", held)
    later = place.submit("true", "-a", "203001010000")
    nodir = place.submit("true", "-wd", "/nosuch")
    place.until(nodir, "Eqw")
    place.until(place.submit("sleep 60", "-pe", "mpi", "32"), "r")
    full = place.submit("true", "-pe", "smp", "4")

    text = place.out("qstat", "-xml", "-j", ",".join([held, after, later, nodir, full, "999999"]))

    recorded = SGE.row("32-qstat-j-several-xml")["stdout"]
    assert set(tags(text)) <= set(tags(recorded))
    notes = set(re.findall(r"<MES_message>(.*?)</MES_message>", text))
    known = {note.replace("all.q@vm", "debug@n1") for note in re.findall(r"<MES_message>(.*?)</MES_message>", recorded)}
    assert notes <= known
    assert len(notes) >= 5
    assert re.search(r"<QIM_message>\S+ \S+ \[\d+:\d+\]: error: can&apos;t chdir to /nosuch: No such file", text)
    assert place.out("qstat", "-xml", "-j", "*.held").count("<JB_job_number>") == 1
    assert "job_name:                   x.held\n" in place.out("qstat", "-j", held)


# ── qacct ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "options", "recorded"),
    [
        ("true", (), "06-qacct-j-finished"),
        ("exit 3", (), "06-qacct-j-failed"),
        ("kill -9 $$", (), "09-qacct-kill9"),
        ("sleep 60", ("-l", "h_rt=1"), "09-qacct-h_rt"),
        ("sleep 60", ("-l", "s_rt=1"), "40-qacct-s_rt"),
        ("exit 100", (), "09-qacct-exit100"),
        ("true", ("-wd", "/nosuch"), "06-qacct-j-errstate"),
        ("true", ("-o", ":/nosuch/x"), "09-qacct-badoutput"),
    ],
)
def test_an_account_says_what_the_recorded_one_says(
    place: Place, script: str, options: tuple[str, ...], recorded: str
) -> None:
    parked = recorded in ("09-qacct-exit100", "06-qacct-j-errstate", "09-qacct-badoutput")
    id = place.submit(script, *options)
    place.until(id, "Eqw" if parked else "z")

    found, expected = place.account(id), fields(SGE.row(recorded)["stdout"])

    assert found.keys() <= expected.keys()
    assert found["failed"] == expected["failed"]
    assert found["exit_status"].split()[0] == expected["exit_status"].split()[0]
    assert (found["start_time"] == "-/-") == (expected["start_time"] == "-/-")


def test_what_is_in_no_account(place: Place) -> None:
    waiting = place.submit("true", "-h")
    place.out("qdel", waiting)

    for wanted, kind in ((waiting, "id"), ("999999", "id"), ("*.zzz", "name")):
        done = place.run("qacct", "-j", wanted)
        assert (done.returncode, done.stderr) == (1, f"error: job {kind} {wanted} not found\n")


# ── qdel, and what exit codes do ──────────────────────────────────────────────────────────────────────────────────


def test_qdel_says_what_the_recorded_one_says(place: Place) -> None:
    running, held, parked = place.submit("sleep 60"), place.submit("true", "-h"), place.submit("exit 100")
    place.until(running, "r")
    place.until(parked, "Eqw")

    for id, name in ((held, "30-qdel-pending"), (parked, "34-qdel-parked"), (running, "34-qdel-running")):
        said = SGE.row(name)["stdout"]
        assert place.out("qdel", id) == re.sub(r"\d+", id, said.replace("carol", ME))
    for id in (running, held, parked, "999999"):
        done = place.run("qdel", id)
        assert (done.returncode, done.stdout) == (1, f'denied: job "{id}" does not exist\n')
    assert place.state(parked) == "z"


def test_exit_99_runs_again(place: Place) -> None:
    id = place.submit(f"[ -e {place.home}/once ] && exit 0; touch {place.home}/once; exit 99")

    place.until(id, "z")

    assert place.account(id)["exit_status"] == "0"


def test_somebody_else_s_job_is_not_deleted(place: Place) -> None:
    id = place.submit("true", "-h")
    with place.cluster as cluster:
        cluster.jobs[int(id)].user, cluster.jobs[int(id)].uid = "dave", 4004

    done = place.run("qdel", id)

    assert done.returncode == 1
    assert done.stdout == f'{ME} - you do not have the necessary privileges to delete the job "{id}"\n'
    assert place.state(id) == ""  # and is not in one's own list
    assert f"<JB_job_number>{id}<" in place.out("qstat", "-xml", "-u", "*")
