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


def test_an_array_is_one_job_to_bsub_and_bkill_and_several_to_bjobs(make: Callable[..., Lsf]) -> None:
    lsf = make()
    id = lsf.submit("echo $LSB_JOBID[$LSB_JOBINDEX] >>out; sleep 60", "-J", "x[1-3]")

    rows = [line.split() for line in lsf.out("bjobs", "-w", id).splitlines()[1:]]
    assert sorted((row[0], row[6]) for row in rows) == [(id, f"x[{index}]") for index in (1, 2, 3)]
    assert len(lsf.out("bjobs", "-w", f"{id}[2]").splitlines()) == 2
    assert f"Job <{id}[2]>, Job Name <x[2]>, User" in lsf.out("bjobs", "-l", f"{id}[2]")
    assert lsf.out("bkill", f"{id}[2]") == f"Job <{id}[2]> is being terminated"
    assert lsf.out("bkill", id) == f"Job <{id}> is being terminated"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-w", "done(999)"), "999: No matching job found"),
        (("-R", "rusage[nosuch=1]"), "Bad resource requirement syntax"),
        (("-R", "select[nosuch>1]"), "Bad resource requirement syntax"),
        (("-q", "debug nosuch"), "debug nosuch: No such queue"),
        (("-M", "much"), "much: Bad MEMLIMIT specification"),
        (("-M", "0"), "0: Bad MEMLIMIT specification"),
        (("-M", "3000000"), "Bad rlimit specification, valid value 0<= n < 2T with LSF_UNIT_FOR_LIMITS in lsf.conf"),
    ],
)
def test_what_bsub_refuses(make: Callable[..., Lsf], options: tuple[str, ...], words: str) -> None:
    done = make(dialect="volclava").run("bsub", *options, "true")

    assert (done.returncode, done.stdout, done.stderr) == (255, "", f"{words}. Job not submitted.\n")


def test_of_several_queues_one_that_is_open_is_chosen(make: Callable[..., Lsf]) -> None:
    lsf = make()
    with lsf.cluster as cluster:
        cluster.set_queue("debug", up=False)

    assert lsf.out("bsub", "-q", "debug gpu", "true").endswith("queue <gpu>.")


def test_a_memory_limit_ends_a_job_by_int_and_bhist_knows_of_no_request(make: Callable[..., Lsf]) -> None:
    lsf = make(dialect="volclava")
    id = lsf.submit("sleep 60", "-M", "300")
    lsf.await_state(id, "RUN")
    with lsf.cluster as cluster:
        cluster.end(cluster.jobs[int(id)], Cause.MEMORY)

    shown = lsf.out("bjobs", "-l", id)
    assert "Exited with exit code 130." in shown
    assert "\n MEMLIMIT\n 307200 K\n" in shown
    assert "\n MAX MEM: 300 Mbytes;" in shown
    assert "requested by user" not in lsf.out("bhist", "-l", id)


def test_badmin_shows_the_unit_of_limits_where_it_knows_the_command(make: Callable[..., Lsf]) -> None:
    new, old = make(dialect="modern", extra={"LSF_UNIT_FOR_LIMITS": "GB"}), make(dialect="volclava")

    assert "LSF_UNIT_FOR_LIMITS=GB" in new.out("badmin", "showconf", "mbd")
    assert old.run("badmin", "showconf", "mbd").returncode == 255


def test_a_fold_with_the_year_is_wider_and_swallows_its_blank(make: Callable[..., Lsf]) -> None:
    lsf = make(dialect="volclava", extra={"fold": "yes"})
    id = lsf.submit("x" * 60 + " true", "-H")

    plain = lsf.out("bjobs", "-l", id).splitlines()
    wide = lsf.run("bjobs", "-l", id, environment={"LSB_DISPLAY_YEAR": "Y"}).stdout.splitlines()

    assert plain[2].startswith(" " * 21)
    assert plain[2][21] != " "
    assert wide[2].startswith(" " * 26)
    assert wide[2][26] != " "


def test_columns_and_paragraphs_are_not_for_one_command(make: Callable[..., Lsf]) -> None:
    for options in (("-a", "-w", "-o", "jobid"), ("-l", "-o", "jobid"), ("-json",)):
        done = make().run("bjobs", *options)
        assert (done.returncode, done.stdout, done.stderr[:12]) == (255, "", "Usage: bjobs")
