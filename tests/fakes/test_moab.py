"""The fake Moab, driven as a user would: what follows its documentation and what its users have published."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .fake_moab import Moab
from .fake_slurm import wait_for

# Of `showq --xml` on several clusters, in 2012, 2017 and 2019.
PUBLISHED = {"JobID", "JobName", "ReqAWDuration", "ReqProcs", "StartTime", "State", "SubmissionTime", "SuspendDuration"}
ACTIVE = {"AWDuration", "DRMJID", "MasterHost"}
COMPLETED = {"CompletionCode", "CompletionTime"}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Moab]]:
    made: list[Moab] = []

    def make(over: str = "slurm", **extra: str) -> Moab:
        made.append(Moab(tmp_path / str(len(made)), over, extra=extra))
        return made[-1]

    yield make
    for moab in made:
        moab.close()


@pytest.fixture(params=["slurm", "torque"])
def moab(request: pytest.FixtureRequest, make: Callable[..., Moab]) -> Moab:
    return make(request.param)


def test_msub_prints_an_empty_line_and_the_id(moab: Moab) -> None:
    assert moab.out("msub", stdin=b"#!/bin/sh\ntrue\n") == "\n1"


def test_msub_prints_the_id_in_a_tag(moab: Moab) -> None:
    assert moab.out("msub", "--xml", stdin=b"#!/bin/sh\ntrue\n") == '<Data><job JobID="1"/></Data>'


def test_moab_may_have_ids_of_its_own(make: Callable[..., Moab]) -> None:
    moab = make("torque", ids="own")

    assert moab.msub("exec sleep 60") == "Moab.8"
    [job] = moab.xml("showq", "--xml").iter("job")
    assert (job.attrib["JobID"], job.attrib["DRMJID"]) == ("Moab.8", "1.test")
    assert moab.run("canceljob", "1").stderr == "ERROR:  invalid job specified (1)\n\n"
    assert moab.out("canceljob", "Moab.8") == "\n\njob 'Moab.8' cancelled\n"


def test_what_msub_asks_for_is_handed_down(moab: Moab) -> None:
    limits = "nodes=2:ppn=3:gpus=1,walltime=01:00:00,mem=100mb"
    moab.msub("exec sleep 60", "-q", "gpu", "-N", "plot", "-l", limits, "-l", "naccesspolicy=singlejob", "-h")

    with moab.cluster as cluster:
        job = cluster.jobs[1]
    assert (job.name, job.queue, job.nodes, job.gpus, job.walltime) == ("plot", "gpu", 2, 1, 3600)
    assert (job.memory, job.exclusive, bool(job.held)) == (50, True, True)


def test_the_job_has_its_directory_and_one_file_for_all_that_it_prints(moab: Moab) -> None:
    (moab.home / "there").mkdir()

    moab.msub("pwd; echo trouble >&2", "-d", str(moab.home / "there"), "-j", "oe", "-o", str(moab.home / "log"))

    wait_for(lambda: moab.await_file("log").count("\n") == 2, lambda: moab.await_file("log"))
    assert moab.await_file("log") == f"{moab.home}/there\ntrouble\n"


def test_a_refusal_quotes_the_resource_manager(moab: Moab) -> None:
    done = moab.run("msub", "-q", "nosuch", stdin=b"#!/bin/sh\ntrue\n")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ERROR:    cannot submit job, msg: '")
    assert "nosuch" in done.stderr or "Unknown queue" in done.stderr


def test_unknown_options_are_ignored(moab: Moab) -> None:
    assert moab.msub("true", "--no-such-option", "-z", "-E") == "1"
    moab.out("showq", "--xml", "--no-such-option")


def test_every_job_is_in_one_list(moab: Moab) -> None:
    running = moab.msub("exec sleep 60", "-l", "nodes=2,naccesspolicy=singlejob,walltime=10:00")
    waiting = moab.msub("exec sleep 60", "-l", "nodes=2,naccesspolicy=singlejob,walltime=10:00")
    held = moab.msub("true", "-h")

    assert moab.rows() == {"active": [running], "eligible": [waiting], "blocked": [held]}
    assert moab.rows("-w", "user=nobody") == {"active": [], "eligible": [], "blocked": []}
    assert moab.rows("-r") == {"active": [running]}


def test_a_row_has_what_real_ones_have(moab: Moab) -> None:
    moab.msub("exec sleep 60", "-N", 'a<b>&"c"')

    [job] = moab.xml("showq", "--xml").iter("job")

    assert (job.attrib["JobName"], job.attrib["State"]) == ('a<b>&"c"', "Running")
    assert job.attrib.keys() >= PUBLISHED | ACTIVE


@pytest.mark.parametrize(("by_admin", "word"), [(False, "UserHold"), (True, "SystemHold")])
def test_a_hold_has_a_word_of_its_own(moab: Moab, by_admin: bool, word: str) -> None:
    id = moab.msub("true", "-h")
    with moab.cluster as cluster:
        cluster.hold(cluster.jobs[1], by_admin=by_admin)

    assert moab.xml("checkjob", "--xml", id)[0].attrib["State"] == word
    assert f"State: {word}" in moab.out("checkjob", id)


def test_moab_remembers_a_finished_job_for_a_while(moab: Moab) -> None:
    id = moab.msub("exit 3")
    wait_for(lambda: moab.rows("-c") == {"completed": [id]}, lambda: str(moab.rows("-c")))

    [job] = moab.xml("showq", "--xml", "-c").iter("job")
    assert (job.attrib["State"], job.attrib["CompletionCode"]) == ("Completed", "3")
    assert job.attrib.keys() >= PUBLISHED | ACTIVE | COMPLETED
    moab.advance_clock(301)
    assert moab.rows("-c") == {"completed": []}
    assert moab.run("checkjob", id).stderr == f"ERROR:  invalid job specified: {id}\n\n"


def test_a_cancelled_job_was_removed(moab: Moab) -> None:
    id = moab.msub("exec sleep 60")
    assert moab.out("mjobctl", "-c", id) == f"\n\njob '{id}' cancelled\n"
    wait_for(lambda: moab.rows("-c") == {"completed": [id]}, lambda: str(moab.rows("-c")))

    [job] = moab.xml("showq", "--xml", "-c").iter("job")

    assert (job.attrib["State"], job.attrib["CompletionCode"]) == ("Removed", "CNCLD")
    assert moab.run("canceljob", id).returncode == 1


def test_one_job_in_full(moab: Moab) -> None:
    id = moab.msub("exec sleep 60", "-l", "nodes=1:ppn=2")

    for argv in (["checkjob", "--xml", id], ["mdiag", "-j", id, "--xml"], ["mjobctl", "-q", "diag", "ALL"]):
        [job] = moab.xml(*argv)
        assert (job.attrib["JobID"], job.attrib["QueueStatus"]) == (id, "active")
        assert job[0].attrib["AllocNodeList"] == "n1:2"


def test_holds_come_and_go(moab: Moab) -> None:
    id = moab.msub("exec sleep 60", "-h")

    moab.out("mjobctl", "-u", "user", id)
    assert moab.rows()["active"] == [id]

    moab.out("mjobctl", "-c", id)


def test_one_that_waits_for_another_is_blocked_and_says_so(make: Callable[..., Moab]) -> None:
    moab = make("slurm")
    first = moab.msub("true", "-h")
    moab.submit("true", f"--dependency=afterok:{first}")

    [_, job] = moab.xml("showq", "--xml").iter("job")
    assert (job.attrib["State"], job.attrib["BlockReason"]) == ("Idle", "Depend")


def test_every_trouble_is_an_error(moab: Moab) -> None:
    for command in ("msub", "showq", "checkjob", "canceljob", "mjobctl", "mdiag"):
        for kind in ("down", "munge", "fail"):
            moab.plan(command, kind, delay=0.0)
            done = moab.run(command, "1")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("ERROR:    cannot ")


def test_a_client_that_gave_up_may_have_submitted(moab: Moab) -> None:
    moab.plan("msub", "accept-then-time-out", calls=[1])

    done = moab.run("msub", "-h", stdin=b"#!/bin/sh\ntrue\n")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ERROR:  client timed out after 30 seconds")
    assert moab.rows()["blocked"] == ["1"]
