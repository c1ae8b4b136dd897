"""Commands recorded on volclava 2.2, given to the fake: same exit status, same words.

A job gets the id that it had in the recording, the user is whoever runs the tests; times are normalised, and the widths
of columns, which go by the user's name, are not compared.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from ..captures import Captures
from .fake_lsf import RECORDED, Lsf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAPTURES = Captures("lsf")
ME = pwd.getpwuid(os.getuid()).pw_name

ALONE = [
    "02-bsub-ok-named",
    "03-bsub-stdin-script",
    "04-bsub-unknown-queue",
    "06-bsub-bad-option2",
    "08-bjobs-unknown",
    "29-bhist-unknown",
    "32-bjobs-o-exit_code",
    "33-bjobs-o-noheader",
    "34-bjobs-o-delim",
    "13-bjobs-json",
    "39-bjobs-two-unknown",
    "40-bjobs-badid",
    "50-bsub-H",
    "72-bkill-unknown",
    "75-bkill-badid",
    "76-bkill-noarg",
    "91-bsub-name-200",
    "93-bsub-name-5000",
    "103-bjobs-J-none",
    "109-bsub-n-toomany",
    "110-bsub-bad-W",
    "111-bsub-W-over-queue",
    "113-bsub-bad-host",
    "114-bsub-M",
    "115-bsub-cwd",
    "116-bsub-badoutdir",
    "118-bsub-G",
    "140-bsub-stdin-python",
    "141-bsub-stdin-bash",
    "142-bsub-cli-overrides",
    "143-bsub-stdin-badqueue",
    "144-bsub-stdin-badopt",
    "145-bsub-q-and-script-no-stdin",
    "150-bsub-stdin-bash",
    "206-bsub-o-e-same",
    "209-bsub-quoting",
    "340-bsub-heredoc-injection",
    "344-bsub-noshebang",
    "348-bsub-W-formats",
    "349-bsub-W-0",
    "350-bsub-W-secs",
    "352-bsub-R-span",
    "353-bsub-R-mem-unit",
    "354-bsub-P",
]
NOBODY = ["25-bjobs-none", "26-bjobs-none-w", "41-bjobs-zero"]


@pytest.fixture
def lsf(tmp_path: Path) -> Iterator[Lsf]:
    lsf = Lsf(tmp_path, dialect="volclava", **RECORDED)
    yield lsf
    lsf.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lsf]:
    """One cluster for many tests that do not look at one another's jobs."""
    lsf = Lsf(tmp_path_factory.mktemp("lsf"), dialect="volclava", **RECORDED)
    yield lsf
    lsf.close()


def replay(lsf: Lsf, name: str) -> None:
    """Runs the recorded command and compares; the job that it submits gets the id of the recording."""
    row = CAPTURES.row(name)
    submitted = re.match(r"Job <(\d+)> is submitted", row["stdout"])
    if submitted:
        with lsf.cluster as cluster:
            cluster.next_id = int(submitted[1])
    command, _, stdin = row["cmd"].partition("\n--- stdin\n")

    done = lsf.run(*shlex.split(command.replace("/home/bob", str(lsf.home))), stdin=os.fsencode(stdin))

    assert [done.returncode, normal(done.stdout), normal(done.stderr)] == [
        row["rc"],
        normal(row["stdout"]),
        normal(row["stderr"]),
    ]


def normal(text: str) -> list[list[str]]:
    """The words of each line, of usages the first, without what the recording's user, place and time made them."""
    text = text.partition("\nUsage: ")[0]
    text = re.sub(r"\n {21} *", "", text)  # where a line is folded depends on the length of the paths in it
    text = re.sub(rf"\b{ME}\b", "bob", text)
    text = re.sub(r"</(?!dev/)[^<>]*>", "<PATH>", text)
    text = re.sub(
        r"[A-Z][a-z]{2} +\d+ \d\d:\d\d(:\d\d)?", "TIME", re.sub(r"\b(Sun|Mon|Tue|Wed|Thu|Fri|Sat) ", "", text)
    )
    text = re.sub(r"(?<=[Pp]id )<?\d+>?", "PID", text)
    text = re.sub(r"(?: +\d+){7} *$", " SECONDS", text, flags=re.MULTILINE)
    return [line.split() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ALONE)
def test_a_command_that_stands_alone(shared: Lsf, name: str) -> None:
    replay(shared, name)


@pytest.mark.parametrize("name", NOBODY)
def test_a_question_about_no_job(lsf: Lsf, name: str) -> None:
    replay(lsf, name)


def test_the_questions_about_jobs_that_wait_or_have_ended(lsf: Lsf) -> None:
    lsf.submit("sleep 5", "-H", "-o", "/dev/null", "-J", "held", id=9)
    replay(lsf, "60-bjobs-l-PSUSP-H")
    lsf.submit("true", "-J", "sleep 20", id=1)
    lsf.submit("exit 3", "-J", "stdin_job", "-q", "short", "-n", "2", id=3)
    lsf.ended("1")
    lsf.ended("3")
    for name in ("38-bjobs-mixed-known-unknown", "73-bkill-finished", "74-bkill-mixed", "24-bjobs-exit-id"):
        replay(lsf, name)


def test_the_end_of_a_job_that_failed(lsf: Lsf) -> None:
    lsf.submit("exit 300", "-o", "/dev/null", id=14)
    lsf.ended("14")
    with lsf.cluster as cluster:
        cluster.jobs[14].extra["stdout"] = ""
    expected = CAPTURES.row("62-bjobs-l-E300")["stdout"]

    assert normal(lsf.out("bjobs", "-l", "14"))[2:4] == normal(expected)[2:4]


def test_a_job_that_is_stopped_and_killed(lsf: Lsf) -> None:
    for id, name in ((7, "tokill"), (8, "ususp"), (26, "sigk"), (27, "sigu")):
        lsf.submit("sleep 600", "-o", "/dev/null", "-J", name, id=id)
        lsf.await_state(str(id), "RUN")
    for name in ("52-bstop-run", "58-bjobs-l-USUSP", "54-bkill-running"):
        replay(lsf, name)
    lsf.ended("7")
    for name in ("55-bkill-running-again-at-once", "61-bjobs-l-killed", "362-bhist-n-killed"):
        replay(lsf, name)
    for name in ("77-bkill-s9", "78-bkill-s-usr1"):
        replay(lsf, name)


def test_bsub_that_waits_ends_as_its_job_does(lsf: Lsf) -> None:
    replay(lsf, "122-bsub-K-exit3")


def test_records_in_json(lsf: Lsf) -> None:
    lsf.submit("sleep 1", "-J", "stdin_job", id=3)
    lsf.ended("3")
    recorded = json.loads(CAPTURES.row("35-bjobs-o-json")["stdout"])["RECORDS"][1]

    [found] = json.loads(lsf.out("bjobs", "-a", "-o", "jobid stat job_name finish_time", "-json"))["RECORDS"]
    assert found.keys() == recorded.keys()
    assert (found["JOBID"], found["JOB_NAME"]) == (recorded["JOBID"], recorded["JOB_NAME"])
    unknown = CAPTURES.row("37-bjobs-o-json-unknown-only")
    done = lsf.run("bjobs", "-o", "jobid stat job_name", "-json", "99999")
    assert (done.returncode, json.loads(done.stdout)) == (unknown["rc"], json.loads(unknown["stdout"]))


def test_the_rows_of_an_array(lsf: Lsf) -> None:
    lsf.submit("true", "-o", "/dev/null", "-J", "arr[1-3]", id=31)
    lsf.ended("31[2]")

    replay(lsf, "133-bjobs-array-elem")


def test_a_job_that_is_killed_while_it_waits(lsf: Lsf) -> None:
    lsf.submit("sleep 5", "-H", "-o", "/dev/null", "-J", "pendkill", id=25)

    replay(lsf, "70-bkill-pending")
    replay(lsf, "71-bjobs-pendkilled")


def test_a_job_that_bjobs_has_forgotten(tmp_path: Path) -> None:
    lsf = Lsf(tmp_path, dialect="volclava", accounting=True, forget_after=0, **RECORDED)
    try:
        lsf.submit("exit 4", "-o", "/dev/null", "-J", "cleanme", id=1111)
        lsf.forgotten("1111")
        for name in ("315-bhist-after-clean", "316-bkill-after-clean", "317-bhist-w"):
            replay(lsf, name)
    finally:
        lsf.close()
