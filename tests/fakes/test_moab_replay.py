"""Commands recorded on Maui 3.5 over Torque, given to the fake: same exit status, same words, times aside."""

import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..captures import Captures
from .fake_moab import Moab
from .fake_slurm import wait_for

MAUI = Captures("maui")
ME = pwd.getpwuid(os.getuid()).pw_name
HALF_A_MINUTE = 30.5


@pytest.fixture
def maui(tmp_path: Path) -> Iterator[Moab]:
    """The recorded cluster at the time of the recording: 16 to 20 are held, 1077 to 1080 run, 1081 and 1082 wait."""
    maui = Moab(
        tmp_path,
        over="torque",
        name="vm",
        nodes=[{"name": "vm", "cores": 4}],
        queues=[{"name": "batch", "nodes": ["vm"], "default": True}, {"name": "short", "nodes": ["vm"]}],
        extra={"flavour": "maui"},
    )
    with maui.cluster as cluster:
        cluster.next_id = 16
    for _ in range(5):
        submit(maui, "-h", "-q", "short", "-l", "nodes=1:ppn=2,walltime=00:02:00")
    with maui.cluster as cluster:
        cluster.next_id = 1077
    for _ in range(6):
        submit(maui, "-l", "walltime=1:00:00")
    maui.advance_clock(HALF_A_MINUTE)
    yield maui
    maui.close()


def submit(maui: Moab, *options: str) -> str:
    id = maui.out("qsub", *options, stdin=b"#!/bin/sh\nexec sleep 60\n")
    with maui.cluster as cluster:
        job = cluster.jobs[int(id.split(".")[0])]
        job.user = job.extra["group"] = "bob"
    return id


def replay(maui: Moab, name: str) -> subprocess.CompletedProcess[str]:
    row = MAUI.row(name)
    done = maui.run(*shlex.split(row["cmd"]))
    expected = (row["rc"], timeless(row["stdout"]), timeless(row["stderr"]))
    assert (done.returncode, timeless(done.stdout), timeless(done.stderr)) == expected
    return done


def timeless(text: str) -> str:
    """Times and dates in zeros, as wide as they were."""
    text = re.sub(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d (?=\d\d:)", "Day Mon 00 ", text)
    text = re.sub(r"\d+:\d\d:\d\d", lambda found: re.sub(r"\d", "0", found[0]), text)
    return re.sub(r"StartPriority:  \d+", "StartPriority:  0", text).replace("user carol", f"user {ME}")


@pytest.mark.parametrize(
    "name",
    [
        "01-showq", "02-checkjob-running", "03-checkjob-idle", "04-checkjob-held", "05-checkjob-unknown",
        "06-checkjob-badid", "08-canceljob-idle", "10-canceljob-noarg", "13-checkjob-xml", "14-checkjob-fullid",
        "15-showq-r", "16-showq-i",
    ],
)  # fmt: skip
def test_a_command_that_stands_alone(maui: Moab, name: str) -> None:
    replay(maui, name)


def test_the_expected_start_is_half_a_minute_nearer_after_half_a_minute(maui: Moab) -> None:
    said = replay(maui, "03-checkjob-idle").stdout

    assert re.search(r"Reservation '1081' \(00:59:2\d -> 1:59:2\d  Duration: 1:00:00\)", said)


def test_a_cancelled_job_is_gone_at_once_and_the_next_one_runs(maui: Moab) -> None:
    replay(maui, "08-canceljob-idle")
    assert "job '1077' cancelled" in maui.out("canceljob", "1077")
    wait_for(lambda: "1081" in maui.out("showq").split("IDLE")[0], lambda: maui.out("showq"))

    for name in ("18-canceljob-again", "19-showq-after"):
        replay(maui, name)

    assert submit(maui, "-l", "walltime=1:00:00") == "1083.vm"
    for name in ("30-checkjob-right-after-qsub", "31-canceljob-right-after-qsub"):
        replay(maui, name)


def test_somebody_else_s_job_is_left_alone_with_exit_status_0(maui: Moab) -> None:
    with maui.cluster as cluster:
        cluster.jobs[1078].uid += 1

    replay(maui, "20-canceljob-other")

    with maui.cluster as cluster:
        cluster.jobs[1078].uid -= 1
    assert "State: Running" in maui.out("checkjob", "1078")


@pytest.mark.parametrize("name", ["21-down-showq", "22-down-checkjob", "23-down-canceljob"])
def test_a_server_that_is_down(maui: Moab, name: str) -> None:
    row: dict[str, Any] = MAUI.row(name)
    maui.plan(row["cmd"].split()[0], "down")

    replay(maui, name)
