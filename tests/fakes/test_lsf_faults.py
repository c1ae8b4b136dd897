"""What the fake LSF does beyond its recorded words: how it waits for ever, and what its newer dialect shows."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from fxsched_fakes import Cause

from .fake_lsf import Lsf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COLUMNS = "jobid stat exit_code exit_reason submit_time start_time finish_time exec_host pend_reason job_name"
NOW = {"LSB_NTRIES": "1"}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Lsf]]:
    made: list[Lsf] = []

    def make(**settings: object) -> Lsf:
        made.append(Lsf(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for lsf in made:
        lsf.close()


def columns(lsf: Lsf, id: str, **environment: str) -> dict[str, str]:
    done = lsf.run("bjobs", "-o", f"{COLUMNS} delimiter='^'", id, environment=environment)
    head, row = done.stdout.splitlines()
    return dict(zip(head.split("^"), row.split("^"), strict=True))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("down", "Connection refused by server"),
        ("accept-then-time-out", "Failed in an LSF library call: Communication time out"),
        ("munge", "Failed in an LSF library call: External authentication failed"),
    ],
)
def test_troubles_have_lsf_s_words(make: Callable[..., Lsf], fault: str, words: str) -> None:
    lsf = make()

    lsf.plan("bsub", fault)
    done = lsf.run("bsub", "-H", "true", environment=NOW)
    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"{words}. Job not submitted.\n")
    lsf.plan("bjobs", fault)
    done = lsf.run("bjobs", "1", environment=NOW)
    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"{words}\n")
    lsf.plan("bkill", fault)
    done = lsf.run("bkill", "1", environment=NOW)
    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"Job <1>: {words}\n")
    with lsf.cluster as cluster:
        assert len(cluster.jobs) == (fault == "accept-then-time-out")


@pytest.mark.parametrize("command", ["bsub", "bjobs", "bkill"])
def test_without_lsb_ntries_a_command_tries_for_ever(make: Callable[..., Lsf], command: str) -> None:
    lsf = make()
    lsf.plan(command, "down")

    process = lsf.start(command, "1")
    assert process.stderr is not None
    assert process.stderr.readline() == b"batch system daemon not responding ... still trying\n"
    time.sleep(0.2)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_the_new_dialect_shows_why_a_job_waits_and_ended(make: Callable[..., Lsf]) -> None:
    lsf = make(dialect="modern")
    held = lsf.submit("true", "-H", "-J", "wait")
    failed = lsf.submit("exit 3", "-J", "fail", "-n", "2")
    killed = lsf.submit("sleep 60")
    lsf.await_state(killed, "RUN")
    with lsf.cluster as cluster:
        cluster.end(cluster.jobs[int(killed)], Cause.MEMORY)
    lsf.ended(failed)

    assert columns(lsf, held)["PEND_REASON"] == "The job was suspended by the user while pending: 4 hosts;"
    assert columns(lsf, held)["START_TIME"] == "-"
    ended = columns(lsf, failed)
    assert (ended["STAT"], ended["EXIT_CODE"], ended["EXIT_REASON"], ended["EXEC_HOST"]) == ("EXIT", "3", "-", "2*n1")
    assert columns(lsf, killed)["EXIT_REASON"].startswith("TERM_MEMLIMIT: ")


def test_seconds_and_year_are_shown_where_they_are_asked_for(make: Callable[..., Lsf]) -> None:
    lsf = make(dialect="modern")
    id = lsf.submit("true", "-H")

    assert len(columns(lsf, id)["SUBMIT_TIME"]) == len("Nov 22 14:51")
    assert len(columns(lsf, id, LSB_DISPLAY_YEAR="Y")["SUBMIT_TIME"]) == len("Nov 22 14:51:37 2026")


def test_lines_of_the_new_dialect_are_folded_wherever_that_cuts(make: Callable[..., Lsf]) -> None:
    lsf = make(dialect="modern")
    id = lsf.submit("true", "-H", "-J", "n" * 200)

    lines = lsf.out("bjobs", "-l", id).splitlines()

    assert lines[1] == f"Job <{id}>, Job Name <{'n' * 200}"[:79]
    assert lines[2] == " " * 21 + "n" * 58
    assert max(map(len, lines)) < 80


def test_an_environment_of_a_job_names_it(make: Callable[..., Lsf]) -> None:
    lsf = make()
    id = lsf.submit("echo $LSB_JOBID $LSB_QUEUE $LSB_HOSTS $MINE >out", "-n", "2", "-R", "span[ptile=1]")
    lsf.ended(id)

    assert lsf.await_file("out") == f"{id} debug n1 n2\n"


def test_a_bracket_in_a_name_is_an_array_which_the_fake_does_not_simulate(make: Callable[..., Lsf]) -> None:
    done = make().run("bsub", "-J", "x[1-3]", "true")

    assert (done.returncode, done.stdout) == (255, "")
