"""Jobs as plain processes of this machine: what the contract does not ask of every scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from fxsched.errors import CancelRefused, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.scripted import ScriptedHost
from fxsched.jobs import EndCause, JobId, JobState, Resources, Token, new_token
from fxsched_process import adapter
from fxsched_process.adapter import ProcessAdapter
from fxsched_process.replies import parse_status

from ..contract.site import alive, processes_with, until, until_dead, until_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from fxsched.hosts import Host

    from .process_site import ThisMachine

pytestmark = pytest.mark.anyio


LAUNCHER = """
import anyio
from fxsched.hosts import LocalHost
from fxsched.jobs import JobSpec, Token
from fxsched_process import adapter
from fxsched_process.adapter import ProcessAdapter

adapter = ProcessAdapter(LocalHost(), ProcessAdapter.Options())
spec = JobSpec(token=Token({token!r}), script=b"#!/bin/sh\\nexec sleep 60\\n")
print(anyio.run(adapter.submit, spec))
"""


def supervisor(machine: ThisMachine, id: JobId) -> int:
    return int((machine.files(id) / "process").read_text().split()[0])


def forge(machine: ThisMachine, id: JobId, **members: object) -> None:
    """Change what was written down of the process of a job."""
    file = machine.files(id) / "process"
    names = ("pid", "ticks", "host", "boot", "began")
    known = dict(zip(names, file.read_text().split(), strict=True)) | members
    file.write_text(" ".join(str(known[name]) for name in names) + "\n")


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process that has nothing to do with any job."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


# ── how a job lives and ends ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_survives_whoever_started_it(machine: ThisMachine) -> None:
    code = LAUNCHER.format(token=new_token())
    # In a session of its own, all of which is ended as a logout would.
    launcher = await anyio.run_process([sys.executable, "-c", code], start_new_session=True)
    id = JobId(launcher.stdout.decode().strip())
    machine.adopt(id)

    assert (await machine.status(id)).state is JobState.RUNNING


@pytest.mark.parametrize(
    ("script", "exit_code", "number"), [("exit 3", 3, None), ("kill -9 $$", 137, 9), ("kill -TERM $$", 143, 15)]
)
async def test_exit_code_and_signal_are_kept(
    machine: ThisMachine, script: str, exit_code: int, number: int | None
) -> None:
    status = await machine.ended(await machine.submit(script))

    assert (status.cause, status.exit_code, status.signal) == (EndCause.FAILED, exit_code, number)


async def test_a_job_that_outlives_its_walltime_is_ended(machine: ThisMachine) -> None:
    id = await machine.submit("trap '' TERM; sleep 60", resources=Resources(walltime=1))

    assert (await machine.ended(id)).cause is EndCause.WALLTIME
    assert processes_with(f"FXSCHED_JOB={id}") == []


async def test_a_job_that_ends_before_its_walltime_leaves_no_clock_behind(machine: ThisMachine) -> None:
    id = await machine.submit("true", resources=Resources(walltime=3599))

    assert (await machine.ended(id)).cause is EndCause.COMPLETED
    await until(lambda: anyio.to_thread.run_sync(clocks), lambda found: not found)


def clocks() -> list[str]:
    commands = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return [command.decode() for command in commands if command == b"sleep\x003599\x00"]


async def test_what_a_job_leaves_running_ends_with_it(machine: ThisMachine) -> None:
    id = await machine.submit(f"setsid sleep 62 & echo $! >{machine.home}/pid")

    await machine.ended(id)

    await until_dead(int((machine.home / "pid").read_text()))


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("trap '' TERM; echo $$ >{pids}; while :; do sleep 1; done", id="ignores-term"),
        pytest.param("setsid sh -c 'echo $$ >{pids}; exec sleep 61' & wait", id="moved-to-another-session"),
        pytest.param("(setsid sh -c 'echo $$ >{pids}; exec sleep 61' &) & exec sleep 61", id="daemon"),
        pytest.param("env -u FXSCHED_JOB sh -c 'echo $$ >{pids}; exec sleep 61'", id="lost-its-environment"),
        pytest.param("echo $$ >{pids}; kill -STOP $$", id="stopped"),
        pytest.param("echo $$ >{pids}; kill -STOP $PPID $$", id="stopped-with-its-supervisor"),
    ],
)
async def test_cancel_ends_every_process_of_a_job(machine: ThisMachine, script: str) -> None:
    pids = machine.home / "pids"
    id = await machine.submit(script.format(pids=pids))
    pid = int(await until_text(pids))

    await machine.adapter.cancel(id)

    assert (await machine.ended(id)).cause is EndCause.CANCELLED
    await until_dead(pid)


async def test_a_job_ends_politely_if_it_can(machine: ThisMachine) -> None:
    id = await machine.submit("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    await until_text(machine.home / "job.log")

    await machine.adapter.cancel(id)

    await machine.ended(id)
    assert (machine.home / "job.log").read_text().splitlines()[-1] == "bye"


async def test_a_job_is_killed_in_time_where_looking_for_its_processes_takes_long(
    machine: ThisMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = adapter._program().replace("\nmembers() {", "\nmembers() {\n    sleep 1")
    monkeypatch.setattr(adapter, "_program", lambda: slow)
    id = await machine.submit("trap '' TERM; echo ready; while :; do sleep 1; done")
    await until_text(machine.home / "job.log")

    await machine.connect(grace=2).cancel(id)

    assert (await machine.ended(id)).cause is EndCause.CANCELLED


async def test_the_harder_means_are_to_kill_at_once(machine: ThisMachine) -> None:
    id = await machine.submit("trap 'echo bye' TERM; echo ready; while :; do sleep 0.1; done")
    await until_text(machine.home / "job.log")

    with anyio.fail_after(20):
        await machine.connect(grace=60).kill(id)

    assert (await machine.ended(id)).cause is EndCause.CANCELLED
    assert "bye" not in (machine.home / "job.log").read_text()


async def test_a_job_that_is_cancelled_before_it_has_begun_never_does(machine: ThisMachine) -> None:
    id = await machine.submit("true")
    await machine.ended(id)
    files = machine.files(id)
    for name in ("process", "exit"):
        (files / name).unlink()
    (files / "begun").rmdir()
    (files / "script").write_text(f"echo >{machine.home}/ran")

    await machine.adapter.cancel(id)
    await anyio.run_process(["sh", str(files / "program"), "supervise", id, "0", "1"], start_new_session=True)

    assert (await machine.status(id)).cause is EndCause.CANCELLED
    assert not (machine.home / "ran").exists()


# ── a pid alone proves nothing ────────────────────────────────────────────────────────────────────────────────────


async def test_a_process_that_only_has_the_pid_of_a_job_is_not_the_job(machine: ThisMachine, stranger: int) -> None:
    id = await machine.submit("true")
    await machine.ended(id)
    (machine.files(id) / "exit").unlink()
    forge(machine, id, pid=stranger, ticks=1)

    status = await machine.status(id)
    await machine.adapter.cancel(id)

    assert (status.state, status.cause) == (JobState.ENDED, EndCause.UNKNOWN)
    assert alive(stranger)


async def test_after_a_restart_of_the_machine_the_node_has_failed(machine: ThisMachine, stranger: int) -> None:
    id = await machine.submit("true")
    await machine.ended(id)
    (machine.files(id) / "exit").unlink()
    forge(machine, id, pid=stranger, boot="00000000-0000-4000-8000-000000000000")

    status = await machine.status(id)
    await machine.adapter.cancel(id)

    assert (status.cause, status.reason) == (EndCause.NODE_FAILURE, "The machine was restarted.")
    assert alive(stranger)


async def test_a_job_of_another_machine_is_alive_and_not_ours_to_end(machine: ThisMachine, stranger: int) -> None:
    id = await machine.submit("true")
    await machine.ended(id)
    ended = machine.files(id) / "exit"
    kept = ended.read_text()
    ended.unlink()
    forge(machine, id, pid=stranger, host="login2")

    status = await machine.status(id)
    with pytest.raises(CancelRefused, match="the job runs on login2: cancel it there"):
        await machine.adapter.cancel(id)

    assert (status.state, status.native_state, status.nodes) == (JobState.RUNNING, "elsewhere", ("login2",))
    assert alive(stranger)
    ended.write_text(kept)
    assert (await machine.status(id)).cause is EndCause.COMPLETED


async def test_of_a_job_that_was_killed_with_its_supervisor_nobody_knows_why_it_ended(machine: ThisMachine) -> None:
    id = await machine.submit(f"echo $$ >{machine.home}/pid; exec sleep 60")
    pid = int(await until_text(machine.home / "pid"))

    for each in (supervisor(machine, id), pid):
        os.kill(each, signal.SIGKILL)

    status = await machine.ended(id)
    assert (status.cause, status.exit_code) == (EndCause.UNKNOWN, None)
    assert status.reason == "Its processes were killed from outside."


async def test_a_job_whose_supervisor_never_came_failed(machine: ThisMachine) -> None:
    id = machine.unused_ids(1)[0]
    machine.files(id).mkdir(parents=True)
    assert (await machine.status(id)).state is JobState.QUEUED

    os.utime(machine.files(id), (0, 0))

    assert (await machine.status(id)).cause is EndCause.FAILED


# ── what cannot be seen is not what is not there ──────────────────────────────────────────────────────────────────

HOMES = {
    "not-mounted": lambda home: home.rename(home.with_name("elsewhere")),
    "state-on-a-disk-that-is-away": lambda home: lead_away(home / ".local" / "state"),
    "jobs-that-cannot-be-listed": lambda home: lead_away(home / ".local" / "state" / "fxsched" / "processes"),
}


def lead_away(directory: Path) -> None:
    """Put in a directory's place a link that leads nowhere: whoever asks sees less, whatever user that is."""
    directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to(directory.with_name("nowhere"))


def bring_back(directory: Path) -> None:
    if directory.is_symlink():
        directory.unlink()
    directory.with_name("elsewhere").rename(directory)


@pytest.fixture(params=HOMES)
async def unseen(machine: ThisMachine, request: pytest.FixtureRequest) -> AsyncIterator[tuple[ThisMachine, JobId]]:
    """A machine with a job, whose home directory has gone away."""
    id = await machine.submit()
    HOMES[request.param](machine.home)
    yield machine, id
    for place in (machine.home, machine.home / ".local/state", machine.home / ".local/state/fxsched/processes"):
        if place.with_name("elsewhere").exists():
            bring_back(place)


async def test_of_a_home_that_cannot_be_seen_nothing_is_said(unseen: tuple[ThisMachine, JobId]) -> None:
    machine, id = unseen
    adapter = machine.adapter
    token = Token(id)

    for ask in (adapter.status(frozenset([id])), adapter.find(token), adapter.submissions(), adapter.cancel(id)):
        with pytest.raises(SchedulerUnavailable):
            await ask


async def test_in_a_home_that_cannot_be_seen_no_job_is_made(unseen: tuple[ThisMachine, JobId]) -> None:
    machine, _ = unseen

    with pytest.raises(SchedulerUnavailable):
        await machine.adapter.submit(machine.spec(working_directory="/", output="/dev/null"))

    assert not (machine.home / ".local" / "state" / "nowhere").exists()


async def test_without_a_home_nothing_is_said(machine: ThisMachine) -> None:
    nobody = ProcessAdapter(Homeless(), ProcessAdapter.Options())
    id = JobId(new_token())

    for ask in (
        nobody.status(frozenset([id])),
        nobody.find(Token(id)),
        nobody.submissions(),
        nobody.cancel(id),
        nobody.submit(machine.spec()),
    ):
        with pytest.raises(SchedulerUnavailable, match="HOME is not set"):
            await ask


class Homeless:
    """This machine, for somebody who has no HOME."""

    label = "a machine"
    home = None

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        return await LocalHost().run(["/usr/bin/env", "-u", "HOME", *argv], **settings)


async def test_a_home_that_has_no_jobs_yet_is_seen_to_have_none(machine: ThisMachine) -> None:
    id = machine.unused_ids(1)[0]

    assert await machine.adapter.find(Token(id)) == ()
    assert await machine.adapter.submissions() == {}
    assert (await machine.status(id)).state is JobState.GONE


async def test_a_job_of_which_nothing_can_be_read_lives_and_spoils_no_other(machine: ThisMachine) -> None:
    ids = [await machine.submit(), await machine.submit()]
    lead_away(machine.files(ids[0]))
    found = await machine.adapter.status(frozenset(ids))
    with pytest.raises(SchedulerUnavailable):
        await machine.adapter.cancel(ids[0])
    bring_back(machine.files(ids[0]))

    assert [found[id].state for id in ids] == [JobState.RUNNING, JobState.RUNNING]
    assert found[ids[0]].reason == "What was written down of it cannot be read."


@pytest.mark.parametrize("name", ["exit", "process"])
async def test_a_report_that_cannot_be_read_is_no_end_without_one(machine: ThisMachine, name: str) -> None:
    id = await machine.submit("exit 3")
    await machine.ended(id)
    files = machine.files(id)
    (files / "exit").rename(files / "kept")
    if name == "process":
        (files / "process").unlink()
    (files / name).symlink_to("nowhere")
    os.utime(files, (0, 0))

    assert (await machine.status(id)).state is JobState.RUNNING

    (files / name).unlink()
    (files / "kept").rename(files / "exit")


async def test_a_program_that_ends_oddly_leaves_the_outcome_open(machine: ThisMachine) -> None:
    odd = ProcessAdapter(ScriptedHost(lambda _: CommandResult(137, b"", b"Killed\n")), ProcessAdapter.Options())

    with pytest.raises(OutcomeUnknown, match="137, Killed"):
        await odd.submit(machine.spec())
    with pytest.raises(OutcomeUnknown, match="137, Killed"):
        await odd.cancel(JobId(new_token()))


# ── a submit that was cut off ─────────────────────────────────────────────────────────────────────────────────────


def cut_off(machine: ThisMachine, id: JobId) -> None:
    """Leave what a submit leaves that is killed before it starts the supervisor."""
    machine.files(id).mkdir(parents=True)
    for name in ("script", "program"):
        (machine.files(id) / name).write_text("echo >ran\n")


async def test_what_nobody_will_ever_start_is_not_found(machine: ThisMachine) -> None:
    spec = machine.spec("exec sleep 60")
    cut_off(machine, JobId(spec.token))

    assert await machine.adapter.find(spec.token) == ()

    id = await machine.submit_spec(spec)
    assert (await machine.status(id)).state is JobState.RUNNING


async def test_what_nobody_will_ever_start_is_cancelled_at_once(machine: ThisMachine) -> None:
    id = machine.unused_ids(1)[0]
    cut_off(machine, id)

    await machine.adapter.cancel(id)

    assert (await machine.status(id)).cause is EndCause.CANCELLED


async def test_a_submit_whose_supervisor_does_not_start_makes_no_job(
    machine: ThisMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = adapter._program().replace("-ge 500", "-ge 2").replace("setsid -f sh", "true sh")
    monkeypatch.setattr(adapter, "_program", lambda: hasty)
    spec = machine.spec()

    with pytest.raises(SchedulerUnavailable, match="did not start"):
        await machine.adapter.submit(spec)

    assert not machine.files(JobId(spec.token)).exists()


async def test_a_job_has_one_supervisor(machine: ThisMachine) -> None:
    id = await machine.submit(f"echo ran >>{machine.home}/runs; exec sleep 60")
    await until_text(machine.home / "runs")

    again = ["sh", str(machine.files(id) / "program"), "supervise", id, "0", "1"]
    await anyio.run_process(again, start_new_session=True)

    assert (machine.home / "runs").read_text() == "ran\n"


# ── submit and status ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_token_twice_is_the_same_job(machine: ThisMachine) -> None:
    spec = machine.spec(f"echo ran >>{machine.home}/runs; exec sleep 60")

    first = await machine.submit_spec(spec)
    assert await machine.submit_spec(spec) == first

    await until_text(machine.home / "runs")
    assert (machine.home / "runs").read_text() == "ran\n"
    assert await machine.adapter.find(spec.token) == (first,)


async def test_any_number_of_jobs_is_looked_up_by_one_command(machine: ThisMachine) -> None:
    host = CountingHost(machine.adapter.host)
    ids = frozenset([await machine.submit("true"), *machine.unused_ids(300)])

    found = await ProcessAdapter(host, machine.adapter.options).status(ids)

    assert found.keys() == ids
    assert host.commands == 1


class CountingHost:
    """Counts the commands that run on another host."""

    label = "a counting host"

    def __init__(self, host: Host) -> None:
        self._host = host
        self.commands = 0

    async def run(self, argv: Sequence[str], **settings: Any) -> CommandResult:
        self.commands += 1
        return await self._host.run(argv, **settings)


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"queue": "debug"}, "queue"),
        ({"account": "a"}, "account"),
        ({"qos": "a"}, "qos"),
        ({"reservation": "a"}, "reservation"),
        ({"constraint": "a"}, "constraint"),
        ({"exclusive": True}, "exclusive"),
        ({"native": ("-x",)}, "native"),
        ({"resources": Resources(nodes=2)}, "nodes"),
        ({"resources": Resources(cores=2)}, "cores"),
        ({"resources": Resources(memory=1)}, "memory"),
        ({"resources": Resources(gpus=1)}, "gpus"),
    ],
)
async def test_what_no_host_can_grant_is_refused_by_name(
    machine: ThisMachine, members: dict[str, Any], named: str
) -> None:
    with pytest.raises(SubmitRejected, match=f"cannot grant {named}:"):
        await machine.adapter.submit(machine.spec(**members))


@pytest.mark.parametrize("members", [{"working_directory": "/nosuch/place"}, {"output": "/nosuch/place/log"}])
async def test_a_place_that_cannot_be_used_is_refused_and_leaves_no_job(
    machine: ThisMachine, members: dict[str, Any]
) -> None:
    spec = machine.spec(**members)

    with pytest.raises(SubmitRejected, match="/nosuch/place"):
        await machine.adapter.submit(spec)

    assert await machine.adapter.find(spec.token) == ()


async def test_a_home_directory_may_have_any_name(machine: ThisMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.home = machine.home / "a b'c\"$(touch x)`touch y`;* é"
    machine.home.mkdir()
    monkeypatch.setenv("HOME", str(machine.home))
    machine.adapter = machine.connect()
    spec = machine.spec("true")

    id = await machine.submit_spec(spec)

    assert (await machine.ended(id)).cause is EndCause.COMPLETED
    assert await machine.adapter.find(spec.token) == (id,)
    assert machine.files(id).is_dir()


async def test_a_job_is_no_child_of_the_shell_that_started_it_and_can_be_interrupted(machine: ThisMachine) -> None:
    # A shell makes what it starts in the background ignore INT for good, and Ctrl-C would be dead in the session.
    await machine.submit(f"grep SigIgn /proc/self/status >{machine.home}/ignored")

    ignored = int((await until_text(machine.home / "ignored")).split()[1], 16)

    assert not ignored & (1 << (signal.SIGINT - 1))


@pytest.mark.parametrize("line", ["", "id", "id alive", "id alive h 1 S - - - -", "\ufffd" * 9])
def test_a_line_of_status_that_is_not_whole_tells_of_no_job(line: str) -> None:
    assert parse_status(f"{line}\nx unknown\n").keys() == {"x"}
