"""Commands recorded on OpenPBS 23.06.06 and Torque 6.1.3, given to the fakes: same exit status, same words.

Where a job is submitted, its number is the recording's or is not compared; times are normalised.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fxsched_fakes

from .fake_pbs import Pbs, captured
from .fake_slurm import wait_for

SCHEDULERS = {"openpbs": "pbs", "torque": "torque"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pbs]]:
    """One cluster of each kind for the commands that do not look at one another's jobs."""
    made: dict[str, Pbs] = {}

    def get(of: str) -> Pbs:
        if of not in made:
            made[of] = Pbs(tmp_path_factory.mktemp(of), SCHEDULERS[of])
            (made[of].home / "s.pbs").write_text("sleep 1\n")
            (made[of].home / "env.pbs").write_text("sleep 1\n")
        return made[of]

    yield get
    for pbs in made.values():
        pbs.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Pbs]]:
    made: list[Pbs] = []

    def get(scheduler: str, **settings: object) -> Pbs:
        made.append(Pbs(tmp_path / str(len(made)), scheduler, **settings))
        return made[-1]

    yield get
    for pbs in made:
        pbs.close()


ALONE = [
    ("openpbs", row)
    for row in captured(
        "openpbs",
        *("10-qsub-unknown-queue", "12-*", "13-*", "14-*", "16-qsub-o-07", "16-qsub-o-08", "16-qsub-o-09"),
        *("23-qdel-bad-id", "23-qdel-no-args", "23-qdel-unknown", "23-qdel-unknown-x", "24-qdel-wrong-server"),
        *("30-badF", "30-noF", "30-id-at-unknownserver", "30-id-leading-zero", "30-id-otherserver"),
        *("30-id-unknown-queue", "30-multi-all-unknown", "31-dep-bad", "62-qsub-W-bad", "62-qsub-missing-script"),
        *("62-qsub-p-bad", "62-qsub-r", "62-qsub-two-args", "62-qsub-unknown-opt", "62-qsub-long-opt"),
        "72-qselect-N-none",
    )
    if row["name"] != "12-qsub-l-28"  # more time than the fake's queues allow
] + [
    ("torque", row)
    for row in captured(
        "torque",
        *("04-qsub-unknown-queue", "07-qsub-bad-opt2", "08-qsub-nofile", "10-qsub-bad-l", "11-qsub-bad-walltime"),
        *("14-qsub-name-space", "15-qsub-name-digit", "16-qsub-name-15", "16-qsub-name-300", "30-qstat-unknown"),
        *("31-qstat-f-unknown", "32-qstat-x-unknown", "33-qstat-badid", "45-qstat-fJSON", "68-qdel-unknown"),
        *("131-qsub-name-xml", "142-qselect-N-none"),
    )
]


def anonymous(text: str) -> str:
    return re.sub(r"\b\d+(?=\.vm$)", "N", re.sub(r'("timestamp":)\s*\d+', r"\1T", text), flags=re.MULTILINE)


def squeezed(text: str) -> str:
    """The two recorded versions indent their JSON differently."""
    return re.sub(r"\s+", "", anonymous(text).replace("[no newline at end]", "")) if text.startswith("{") else text


@pytest.mark.parametrize(("of", "row"), ALONE, ids=[f"{of}-{row['name']}" for of, row in ALONE])
def test_a_command_that_stands_alone(shared: Callable[[str], Pbs], of: str, row: dict[str, Any]) -> None:
    words = shlex.split(row["cmd"].replace("$'", "'")) if "$'" not in row["cmd"] else None
    argv = words or eval_dollar_quotes(row["cmd"])

    done = shared(of).run(*argv, environment={"A": "x y"})

    stderr = "" if row["stderr"].startswith("# ") else row["stderr"]
    assert (done.returncode, done.stderr.rstrip()) == (row["rc"], stderr.rstrip())
    assert squeezed(anonymous(done.stdout)) == squeezed(anonymous(row["stdout"]))


def eval_dollar_quotes(command: str) -> list[str]:
    """The words of a command with bash's $'…' in it."""
    return [
        word.encode().decode("unicode_escape") if "\\" in word else word
        for word in shlex.split(command.replace("$'", "'"))
    ]


# ── a job's record ────────────────────────────────────────────────────────────────────────────────────────────────


def fields(text: str) -> dict[str, str]:
    """The attributes in the text form, by name."""
    return dict(re.findall(r"^    (\S+) = (.*)$", text.replace("\n\t", ""), re.MULTILINE))


NUMBERS = ("session_id", "jobdir", "resources_used.cpupercent", "depend", "estimated.start_time", "Walltime.Remaining")


@pytest.mark.parametrize(
    ("name", "script", "options"),
    [("26-state-R-f", "sleep 60", []), ("26-state-H-f", "true", ["-h"]), ("21-exitf-qdel-held", "true", ["-h"])],
)
def test_openpbs_tells_of_a_job_what_the_real_one_does(
    make: Callable[..., Pbs], name: str, script: str, options: list[str]
) -> None:
    [row] = captured("openpbs", name)
    pbs = make("pbs")
    id = pbs.submit(script, *options)
    if "qdel" in name:
        pbs.out("qdel", id)
    pbs.await_state(id, fields(row["stdout"])["job_state"])

    mine, real = fields(pbs.out("qstat", "-x", "-f", id)), fields(row["stdout"])

    assert mine.keys() ^ real.keys() <= {*NUMBERS, "comment", "resources_used.ncpus", "Resource_List.walltime", "etime"}
    for field in ("job_state", "substate", "Hold_Types", "Join_Path", "Rerunable", "Checkpoint", "server", "project"):
        assert mine[field] == real[field]
    for field in mine.keys() & real.keys() & {"ctime", "stime", "qtime", "mtime"}:
        assert form_of_date(mine[field]) == form_of_date(real[field])


def form_of_date(text: str) -> str:
    """A date, whichever it is: a letter as a letter, a digit as a digit."""
    return re.sub(r"\d", "9", re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", text.replace("  ", " 9"))))


def test_its_two_forms_agree(make: Callable[..., Pbs]) -> None:
    pbs = make("pbs")
    id = pbs.submit("sleep 60", "-l", "select=1:ncpus=2:mem=1gb,walltime=1:00", "-N", "a.b")
    pbs.await_state(id, "R")

    document = json.loads(pbs.out("qstat", "-f", "-F", "json", id))["Jobs"][id]
    text = fields(pbs.out("qstat", "-f", id))

    flat = {
        key: value
        for name, member in document.items()
        for key, value in (
            {f"{name}.{part}": value for part, value in member.items()} if isinstance(member, dict) else {name: member}
        ).items()
        if name != "Variable_List"
    }
    assert {name: str(value) for name, value in flat.items()} == {
        name: value for name, value in text.items() if name != "Variable_List"
    }
    assert list(json.loads(pbs.out("qstat", "-f", "-F", "json"))) == ["timestamp", "pbs_version", "pbs_server", "Jobs"]


def test_a_job_called_inf_spoils_everybody_s_json(make: Callable[..., Pbs]) -> None:
    pbs = make("pbs")
    pbs.submit("true", "-h", "-N", "inf")

    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(pbs.out("qstat", "-f", "-F", "json"))


def test_torque_tells_of_a_job_what_the_real_one_does(make: Callable[..., Pbs]) -> None:
    [row] = captured("torque", "36-qstat-x")
    pbs = make("torque")
    id = pbs.submit("exit 3", "-l", "nodes=1:ppn=2,walltime=2:00")
    pbs.await_state(id, "C")

    mine, real = (re.findall(r"<(\w+)>", text) for text in (pbs.out("qstat", "-x", id), row["stdout"]))

    assert set(real) - set(mine) <= {"energy_used", "session_id", "total_runtime"}
    assert set(mine) <= set(real)
    order = [name for name in real if name in mine]
    assert [name for name in dict.fromkeys(mine) if name in order] == list(dict.fromkeys(order))
    assert "<exit_status>3</exit_status>" in pbs.out("qstat", "-x", id)
    assert "<exec_host>n1/0-1</exec_host>" in pbs.out("qstat", "-x", id)


# ── what becomes of a job ─────────────────────────────────────────────────────────────────────────────────────────

EXITS = [
    ("pbs", "exit 3", "Exit_status = 3"),
    ("pbs", "kill -9 $$", "Exit_status = 137"),
    ("torque", "exit 3", "exit_status = 3"),
    ("torque", "kill -9 $$", "exit_status = 265"),
]


@pytest.mark.parametrize(("scheduler", "script", "words"), EXITS)
def test_how_a_job_ended(make: Callable[..., Pbs], scheduler: str, script: str, words: str) -> None:
    pbs = make(scheduler)
    id = pbs.submit(script)
    pbs.await_state(id, "F" if scheduler == "pbs" else "C")

    assert words in pbs.out("qstat", *(["-x"] if scheduler == "pbs" else []), "-f", id)


@pytest.mark.parametrize(("scheduler", "letter"), [("pbs", "F"), ("torque", "C")])
def test_a_deleted_job(make: Callable[..., Pbs], scheduler: str, letter: str) -> None:
    pbs = make(scheduler)
    running, held = pbs.submit("sleep 60"), pbs.submit("true", "-h")
    pbs.await_state(running, "R")
    for id in (running, held):
        pbs.out("qdel", id)
        pbs.await_state(id, letter)

    history = ["-x"] if scheduler == "pbs" else []
    texts = [pbs.out("qstat", *history, "-f", id).lower() for id in (running, held)]
    assert "exit_status = 271" in texts[0]
    assert "exit_status" not in texts[1]
    again = pbs.run("qdel", running)
    [row] = captured(
        *(("openpbs", "71-r2306-qdel-finished") if scheduler == "pbs" else ("torque", "62-qdel-running-again"))
    )
    assert (again.returncode, again.stderr.replace(running, "ID")) == (
        row["rc"],
        re.sub(r"\d+\.vm", "ID", row["stderr"]),
    )


def test_without_history_openpbs_forgets_at_once(make: Callable[..., Pbs]) -> None:
    pbs = make("pbs", forget_after=0)
    pbs.next_id(2)
    id = pbs.submit("true")
    wait_for(lambda: pbs.run("qstat", id).returncode == 153, lambda: "still there")

    for name in ("02-hist-off-qstat-finished", "02-hist-off-qstat-x-finished", "02-hist-off-qdel-finished"):
        [row] = captured("openpbs", name)
        done = pbs.run(*row["cmd"].split())
        assert (done.returncode, done.stdout, done.stderr) == (row["rc"], row["stdout"], row["stderr"])
    for name in ("02-hist-off-qstat-x-f-json-finished", "02-hist-off-qstat-f-json-finished"):
        [row] = captured("openpbs", name)
        done = pbs.run(*row["cmd"].split())
        assert (done.returncode, done.stderr) == (row["rc"], row["stderr"])
        assert "Jobs" not in json.loads(done.stdout)


def test_somebody_else_s_job(make: Callable[..., Pbs]) -> None:
    for scheduler, of, name in (("pbs", "openpbs", "24-qdel-not-owner"), ("torque", "torque", "80-qdel-other-user")):
        [row] = captured(of, name)
        pbs = make(scheduler)
        number = int(re.findall(r"\d+", row["cmd"])[0])
        pbs.next_id(number)
        pbs.submit("true", "-h")
        with pbs.cluster as cluster:
            cluster.jobs[number].uid = 4004
        done = pbs.run(*row["cmd"].split())
        assert (done.returncode, done.stderr) == (row["rc"], row["stderr"])


@pytest.mark.parametrize("scheduler", ["pbs", "torque"])
def test_a_job_s_surroundings(make: Callable[..., Pbs], scheduler: str) -> None:
    pbs = make(scheduler)
    id = pbs.submit("pwd; umask; env", "-N", "where", "-o", str(pbs.home / "out"), "-j", "oe")
    pbs.await_state(id, "F" if scheduler == "pbs" else "C")

    lines = (pbs.home / "out").read_text().splitlines()

    assert lines[:2] == [str(pbs.home), "0077"]
    assert {f"PBS_JOBID={id}", "PBS_JOBNAME=where", "PBS_ENVIRONMENT=PBS_BATCH", f"PBS_O_WORKDIR={pbs.home}"} <= {
        *lines
    }


@pytest.mark.parametrize("scheduler", ["pbs", "torque"])
def test_directives_count_until_the_first_command(make: Callable[..., Pbs], scheduler: str) -> None:
    pbs = make(scheduler)
    early = pbs.submit("#PBS -N early\n#PBS -h\nset x\n#PBS -N late")
    late = pbs.submit("set x\n#PBS -N late", "-h")

    assert pbs.out("qselect", "-N", "early") == f"{early}\n"
    assert pbs.out("qselect", "-N", "STDIN") == f"{late}\n"


@pytest.mark.parametrize("scheduler", ["pbs", "torque"])
def test_holding_and_releasing(make: Callable[..., Pbs], scheduler: str) -> None:
    pbs = make(scheduler)
    id = pbs.submit("sleep 60", "-h")
    assert pbs.state(id) == "H"
    pbs.out("qrls", id)
    pbs.await_state(id, "R")
    assert pbs.run("qhold", "99.vm").returncode == 153


def test_a_job_whose_node_was_lost_waits_again_and_keeps_its_exit_status(make: Callable[..., Pbs]) -> None:
    [row] = captured("openpbs", "69-mom-dead-qstat")
    [real] = json.loads(row["stdout"])["Jobs"].values()
    pbs = make("pbs")
    again, never = pbs.submit("sleep 60"), pbs.submit("sleep 60", "-r", "n")
    for id in (again, never):
        pbs.await_state(id, "R")
    with pbs.cluster as cluster:
        before = cluster.jobs[1].submitted
        for node in cluster.settings.nodes:
            cluster.drain(node.name)
        for job in list(cluster.jobs.values()):
            cluster.fail_node(job)

    mine = json.loads(pbs.out("qstat", "-f", "-F", "json", again))["Jobs"][again]

    for name in ("job_state", "Exit_status", "Rerunable", "substate", "comment"):
        assert mine[name] == real[name]
    assert mine["ctime"] == time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(before))
    assert "Rerunable = False" in pbs.out("qstat", "-x", "-f", never)
    assert pbs.state(never) == "F"


@pytest.mark.parametrize("scheduler", ["pbs", "torque"])
def test_jobs_are_selected_by_their_owners(make: Callable[..., Pbs], scheduler: str) -> None:
    pbs = make(scheduler)
    for number, user in ((1, "ada"), (2, "bob")):
        pbs.submit("true", "-h", "-N", "same")
        with pbs.cluster as cluster:
            cluster.jobs[number].user = user

    assert pbs.out("qselect", "-u", "ada", "-N", "same") == "1.vm\n"
    assert pbs.out("qselect", "-u", "bob@login1,ada") == "1.vm\n2.vm\n"


# ── troubles ──────────────────────────────────────────────────────────────────────────────────────────────────────

DOWN = [
    ("openpbs", "50-down-qdel"),
    ("openpbs", "50-down-qsub-f"),
    ("openpbs", "50-down-qselect"),
    ("openpbs", "50-down-qstat-id"),
    ("openpbs", "50-down-r2306-qstat-json"),
    ("torque", "91-server-down-qsub"),
    ("torque", "90-server-down-qstat"),
    ("torque", "93-server-down-qstat-x"),
]


@pytest.mark.parametrize(("of", "name"), DOWN)
def test_a_server_that_is_down(shared: Callable[[str], Pbs], of: str, name: str) -> None:
    [row] = captured(of, name)
    argv = row["cmd"].replace("/opt/pbs-23.06.06/bin/", "").split()
    pbs = shared(of)
    pbs.plan(argv[0], "down")

    done = pbs.run(*argv)

    pbs.plan(argv[0], "down", calls=[])
    assert (done.returncode, done.stderr) == (row["rc"], row["stderr"])
    assert squeezed(anonymous(done.stdout)) == squeezed(anonymous(row["stdout"]))


@pytest.mark.parametrize("name", ["95-trqauthd-down-qstat", "96-trqauthd-down-qsub", "97-trqauthd-down-qdel"])
def test_a_torque_that_cannot_authenticate(shared: Callable[[str], Pbs], name: str) -> None:
    [row] = captured("torque", name)
    argv = row["cmd"].split()
    pbs = shared("torque")
    pbs.plan(argv[0], "munge")

    done = pbs.run(*argv)

    pbs.plan(argv[0], "munge", calls=[])
    assert (done.returncode, done.stdout, done.stderr) == (row["rc"], row["stdout"], row["stderr"])


@pytest.mark.parametrize("scheduler", ["pbs", "torque"])
def test_it_is_installed_from_the_command_line(tmp_path: Path, scheduler: str) -> None:
    source = Path(fxsched_fakes.__file__).parent.parent
    command = [sys.executable, "-m", "fxsched_fakes", "install", str(tmp_path / "bin"), "--scheduler", scheduler]

    subprocess.run(command, check=True, capture_output=True, cwd=source)

    assert {"qsub", "qstat", "qdel", "qselect"} <= {path.name for path in (tmp_path / "bin").iterdir()}
    done = subprocess.run([tmp_path / "bin" / "qselect"], check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")
