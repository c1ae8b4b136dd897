"""The engines' adapters: what the contract does not ask of every scheduler."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from fxsched.errors import (
    CancelRefused,
    CommandNotFound,
    HostUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.hosts import CommandResult
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Resources, Token, new_token
from fxsched_docker.adapter import DockerAdapter, EngineAdapter, PodmanAdapter
from fxsched_docker.submission import run_words
from fxsched_fakes import faults

from ..captures import Captures
from ..contract.site import until_text
from .docker_site import FakeDocker, FakePodman

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

ID = JobId("a" * 64)
TWO_DAYS = 2 * 86400


@pytest.fixture(params=[FakeDocker, FakePodman])
def site(home: Path, request: pytest.FixtureRequest) -> Iterator[FakeDocker]:
    site: FakeDocker = request.param(home)
    yield site
    site.close()


def scripted(*answers: CommandResult, kind: type[EngineAdapter] = DockerAdapter, **options: Any) -> EngineAdapter:
    """Return an adapter whose commands give these answers, one after the other."""
    left = list(answers)

    def answer(_: Command) -> CommandResult:
        return left.pop(0)

    return kind(ScriptedHost(answer), kind.Options(**{"image": "fastx:4"} | options))


def commands(adapter: EngineAdapter) -> list[Command]:
    assert isinstance(adapter.host, ScriptedHost)
    return list(adapter.host.commands)


def calls(site: FakeDocker) -> list[str]:
    """Return the verbs that the engine was called with."""
    return [str(call["command"]).split()[1] for call in faults.calls(site.simulation.directory)]


def words_of(site: FakeDocker, verb: str) -> list[str]:
    """Return the words of the last call with this verb."""
    found = [call["argv"] for call in faults.calls(site.simulation.directory, f"{site.kind.engine} {verb}")]
    words = found[-1]
    assert isinstance(words, list)
    return words


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_script_is_in_no_word_and_only_its_owner_can_read_it(site: FakeDocker) -> None:
    spec = site.spec("exec sleep 60 # unheard-of")

    await site.submit_spec(spec)

    assert "unheard-of" not in json.dumps(faults.calls(site.simulation.directory))
    script = site.home / f"{spec.token}.sh"
    assert script.read_bytes() == spec.script
    assert script.stat().st_mode & 0o777 == 0o600


async def test_the_host_says_who_the_user_is_and_where_the_home_is(site: FakeDocker, tmp_path: Path) -> None:
    site.adapter = site.connect(fastx=str(tmp_path))

    id = await site.submit(f'echo "$HOME" >{site.home}/where; exec sleep 60')

    words = words_of(site, "run")
    assert f"--user={os.getuid()}:{os.getgid()}" in words
    assert f"--mount=type=bind,source={site.home},target={site.home}" in words
    assert f"--mount=type=bind,source={tmp_path},target={tmp_path},readonly" in words
    assert (await site.status(id)).nodes == (os.uname().nodename,)
    assert await until_text(site.home / "where") == f"{site.home}\n"


async def test_fastx_is_not_mounted_where_it_is_not(site: FakeDocker) -> None:
    site.adapter = site.connect(fastx="/nosuch/fastx")

    await site.submit()

    assert not [word for word in words_of(site, "run") if word.startswith("--mount") and "nosuch" in word]


@pytest.mark.parametrize("name", ["a,b", 'a"b'])
async def test_a_home_that_cannot_be_mounted_is_named(
    site: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / name))
    site.adapter = site.connect()

    with pytest.raises(SchedulerUnavailable, match="cannot be mounted"):
        await site.adapter.submit(site.spec())

    assert "run" not in calls(site)


async def test_what_was_made_but_not_started_is_removed(site: FakeDocker) -> None:
    spec = site.spec(resources=Resources(gpus=9))

    with pytest.raises(SubmitRejected, match="device"):
        await site.adapter.submit(spec)

    assert await site.adapter.find(spec.token) == ()
    assert site.submissions() == 0


async def test_a_refused_container_that_cannot_be_removed_leaves_the_outcome_open(site: FakeDocker) -> None:
    rm = f"{site.kind.engine} rm"

    with site.faults({"command": rm, "fault": "fail"}), pytest.raises(OutcomeUnknown, match="not certain"):
        await site.adapter.submit(site.spec(resources=Resources(gpus=9)))


async def test_a_second_container_for_a_token_is_refused_and_the_first_is_found(site: FakeDocker) -> None:
    spec = site.spec()
    id = await site.submit_spec(spec)

    with pytest.raises(OutcomeUnknown, match="already"):
        await site.adapter.submit(spec)

    assert await site.adapter.find(spec.token) == (id,)
    assert site.submissions() == 1


@pytest.mark.parametrize(("fault", "jobs"), [("hang", 0), ("accept-then-hang", 1)])
async def test_a_run_that_hangs_leaves_the_outcome_open(site: FakeDocker, fault: str, jobs: int) -> None:
    spec = site.spec()

    with site.faults({"command": site.commands[0], "fault": fault}), pytest.raises(OutcomeUnknown, match="not answer"):
        await site.connect(submit_deadline=1.0).submit(spec)

    assert len(await site.adapter.find(spec.token)) == jobs


async def test_an_engine_that_is_not_there_is_named(site: FakeDocker) -> None:
    engine = site.kind.engine
    site.adapter = site.connect(commands={engine: f"/no/{engine}"})

    with pytest.raises(CommandNotFound, match=f"/no/{engine}"):
        await site.adapter.submit(site.spec())
    with pytest.raises(SchedulerUnavailable, match=f"/no/{engine}"):
        await site.adapter.status(frozenset([ID]))


async def test_the_site_s_own_options_come_before_the_profile_s() -> None:
    adapter = scripted(CommandResult(0, f"{ID}\n".encode(), b""), native=("--ulimit=nofile=1",))

    await adapter.submit(JobSpec(token=new_token(), native=("--ulimit=nofile=2", "--image=rocky:9")))

    argv = commands(adapter)[0].argv
    at = argv.index("rocky:9")
    assert argv[at - 2 : at] == ("--ulimit=nofile=1", "--ulimit=nofile=2")


# ── what was made, and never started ──────────────────────────────────────────────────────────────────────────────


def made_only(site: FakeDocker, spec: JobSpec) -> JobId:
    """Leave what ``run`` leaves that is given up between making a container and starting it."""
    words = run_words(spec, site.kind.engine, site.adapter.options)
    label = f"--label=fxsched.user={os.getuid()}"
    create = [site.bin / site.kind.engine, "create", label, *words]
    return JobId(subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip())


async def test_a_container_that_nobody_will_ever_start_is_removed_and_not_found(site: FakeDocker) -> None:
    spec = site.spec()
    made_only(site, spec)

    assert await site.adapter.find(spec.token) == ()

    assert site.submissions() == 0
    assert (await site.status(await site.submit_spec(spec))).state is JobState.RUNNING


JUST_MADE = {
    "created": "2026-11-22T19:59:00Z",
    "name": "x",
    "labels": {},
    "state": {
        "Status": "created",
        "ExitCode": 0,
        "StartedAt": "0001-01-01T00:00:00Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
}


def found_just_made(*answers: CommandResult | Exception, kind: type[EngineAdapter] = DockerAdapter) -> EngineAdapter:
    """Return an adapter that finds a container which was not started yet, and then hears these answers."""
    left = [
        CommandResult(0, f"CONTAINER ID|NAMES\n{ID}|x.{'a' * 20}\n".encode(), b""),
        CommandResult(0, f"{ID} {json.dumps(JUST_MADE)}\n".encode(), b""),
        *answers,
    ]

    def say(_: Command) -> CommandResult:
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    return kind(ScriptedHost(say), kind.Options(image="fastx:4"))


@pytest.mark.parametrize(("kind", "row"), [(DockerAdapter, "D-rm-running"), (PodmanAdapter, "P-rm-running")])
async def test_a_container_that_was_started_meanwhile_stays(kind: type[EngineAdapter], row: str) -> None:
    assert await found_just_made(Captures("container").result(row), kind=kind).find(Token("a" * 20)) == (ID,)


@pytest.mark.parametrize(
    "answer", [CommandResult(1, b"", b"Error: the disk is on fire\n"), HostUnreachable("no route")]
)
async def test_one_that_cannot_be_removed_is_neither_there_nor_not(answer: CommandResult | Exception) -> None:
    with pytest.raises(SchedulerUnavailable, match=r"on fire|no route"):
        await found_just_made(answer).find(Token("a" * 20))


async def test_a_refusal_after_which_nobody_could_look_leaves_the_outcome_open() -> None:
    def say(command: Command) -> CommandResult:
        if "rm" in command.argv:
            raise HostUnreachable("no route")
        return Captures("container").result("D-run-gpus")

    adapter = DockerAdapter(ScriptedHost(say), DockerAdapter.Options(image="fastx:4"))

    with pytest.raises(OutcomeUnknown, match="no route"):
        await adapter.submit(JobSpec(token=new_token()))


async def test_the_cancel_of_what_was_never_started_is_a_cancel(site: FakeDocker) -> None:
    cluster = site.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sleep", "60")))
    with site.simulation as simulation:
        [container] = simulation.jobs.values()
        simulation.lose(container)
    made_only(site, site.spec(token=job.token))
    with site.simulation as simulation:
        [container] = simulation.jobs.values()
        container.extra["id"] = job.id

    status = (await cluster.cancel(job.id)).status

    assert (status.state, status.cause) == (JobState.ENDED, EndCause.CANCELLED)


# ── somebody else's ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_user_s_container_of_the_same_token_is_none_of_ours(site: FakeDocker) -> None:
    spec = site.spec()
    id = await site.submit_spec(spec)
    with site.simulation as simulation:
        [foreign] = simulation.jobs.values()
        foreign.extra["labels"] = json.dumps(json.loads(foreign.extra["labels"]) | {"fxsched.user": "4294967"})

    assert await site.adapter.find(spec.token) == ()
    with pytest.raises(CancelRefused, match="another user's"):
        await site.adapter.cancel(id)
    assert (await site.status(id)).state is JobState.RUNNING


async def test_the_engine_s_own_options_may_stand_before_the_verb(site: FakeDocker) -> None:
    id = await site.submit()

    told = [site.bin / site.kind.engine, "--log-level", "error", "container", "inspect", "--format={{.Id}}", id]
    shown = subprocess.run(told, check=True, capture_output=True, text=True).stdout

    assert shown == f"{id}\n"


# ── walltime, memory ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_whose_walltime_is_over_ends_and_says_so(site: FakeDocker) -> None:
    id = await site.submit(resources=Resources(walltime=1))

    assert (await site.ended(id)).cause is EndCause.WALLTIME


async def test_a_job_that_ignores_the_end_of_its_walltime_is_killed_after_the_grace_time(site: FakeDocker) -> None:
    id = await site.submit("trap '' TERM; while :; do sleep 0.1; done", resources=Resources(walltime=1))

    status = await site.ended(id)

    assert (status.cause, status.signal) == (EndCause.WALLTIME, 9)


async def test_a_job_that_ends_before_its_walltime_ended_by_itself(site: FakeDocker) -> None:
    id = await site.submit("exit 3", resources=Resources(walltime=60))

    assert (await site.ended(id)).cause is EndCause.FAILED


async def test_of_an_end_that_the_engine_did_not_see_the_job_s_own_word_counts(site: FakeDocker) -> None:
    cluster = site.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", "exit 3")))
    await site.ended(job.id)
    with site.simulation as simulation:
        [container] = simulation.jobs.values()
        container.ended, container.exit_code = None, 0

    status = (await cluster.status([job.id]))[job.id]

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert status.source == "session"


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_that_ignores_the_cancel_is_killed_after_the_grace_time(site: FakeDocker) -> None:
    id = await site.submit(f"trap '' TERM; echo >{site.home}/ready; while :; do sleep 0.1; done")
    await until_text(site.home / "ready")

    await site.adapter.cancel(id)

    status = await site.ended(id)
    assert (status.cause, status.signal) == (EndCause.CANCELLED, 9)


async def test_a_kill_does_not_wait(site: FakeDocker) -> None:
    site.adapter = site.connect(grace=600)
    id = await site.submit(f"trap '' TERM; echo >{site.home}/ready; while :; do sleep 0.1; done")
    await until_text(site.home / "ready")

    await site.adapter.kill(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED


async def test_a_job_that_is_told_twice_to_end_is_marked_once(site: FakeDocker) -> None:
    site.adapter = site.connect(grace=0)
    with site.faults({"command": f"{site.kind.engine} stop", "fault": "fail"}):
        id = await site.submit()
        with pytest.raises(OutcomeUnknown, match="something broke"):
            await site.adapter.cancel(id)

    await site.adapter.cancel(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED
    assert calls(site).count("rename") == 1


async def test_a_job_that_cannot_be_marked_is_ended_all_the_same(site: FakeDocker) -> None:
    id = await site.submit()

    with site.faults({"command": f"{site.kind.engine} rename", "fault": "fail"}):
        await site.adapter.cancel(id)

    assert (await site.ended(id)).cause is EndCause.FAILED


async def test_a_container_that_is_none_of_ours_is_left_alone(site: FakeDocker) -> None:
    id = await site.submit()
    with site.simulation as simulation:
        simulation.jobs[1].extra["labels"] = "{}"

    with pytest.raises(CancelRefused, match="none of fxsched's"):
        await site.adapter.cancel(id)

    assert (await site.status(id)).state is JobState.RUNNING


async def test_a_suspended_job_can_be_cancelled(site: FakeDocker) -> None:
    id = await site.submit()
    with site.simulation as simulation:
        [job] = simulation.jobs.values()
        simulation.suspend(job)
    assert (await site.status(id)).state is JobState.SUSPENDED

    await site.adapter.cancel(id)

    assert (await site.ended(id)).cause is EndCause.CANCELLED


# ── find, and what becomes of ended containers ────────────────────────────────────────────────────────────────────


async def test_the_user_s_containers_are_listed_by_their_tokens(site: FakeDocker) -> None:
    specs = [site.spec() for _ in range(2)]
    ids = [await site.submit_spec(spec) for spec in specs]
    await site.adapter.cancel(ids[0])
    with site.simulation as simulation:
        foreign = simulation.jobs[2]
        foreign.extra["labels"] = json.dumps(json.loads(foreign.extra["labels"]) | {"fxsched.user": "4294967"})

    assert await site.adapter.submissions() == {specs[0].token: (ids[0],)}


@pytest.mark.parametrize(("seconds", "left"), [(TWO_DAYS - 7200, True), (TWO_DAYS + 3600, False)])
async def test_an_ended_container_is_kept_for_two_days_then_swept_by_a_later_submit(
    site: FakeDocker, seconds: int, left: bool
) -> None:
    spec, running = site.spec("true"), await site.submit()
    id = await site.submit_spec(spec)
    await site.ended(id)
    with site.simulation as simulation:
        simulation.set_clock(seconds)

    await site.submit()

    assert await site.adapter.find(spec.token) == ((id,) if left else ())
    assert (await site.status(running)).state is JobState.RUNNING


async def test_sweeping_that_fails_is_no_reason_not_to_submit(site: FakeDocker) -> None:
    with site.faults({"command": f"{site.kind.engine} ps", "fault": "fail"}):
        id = await site.submit()

    assert (await site.status(id)).state is JobState.RUNNING


# ── how it asks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("count", "most"), [(1, 1), (1000, 1), (2001, 3)])
async def test_many_jobs_are_asked_for_in_few_commands(count: int, most: int) -> None:
    ids = [JobId(f"{number:064x}") for number in range(count)]
    denied = CommandResult(1, b"\n", "".join(f"Error: No such container: {id}\n" for id in ids).encode())
    adapter = scripted(*[denied] * most)

    found = await adapter.status(frozenset(ids))

    assert {status.state for status in found.values()} == {JobState.GONE}
    assert found.keys() == set(ids)
    assert len(commands(adapter)) == most
    assert max(sum(map(len, command.argv)) for command in commands(adapter)) < 100_000


async def test_a_row_that_cannot_be_read_is_a_live_job_that_says_so() -> None:
    adapter = scripted(CommandResult(0, f"{ID} {{}}\n".encode(), b""), kind=PodmanAdapter)

    status = (await adapter.status(frozenset([ID])))[ID]

    assert (status.state, status.reason) == (JobState.RUNNING, "What Podman says of it cannot be read.")


@pytest.mark.parametrize("id", ["", "abc", "-f", f"{ID} {ID}", ID.upper(), f"{ID}\n"])
async def test_what_cannot_be_an_id_is_refused_before_the_engine_hears_of_it(id: str) -> None:
    adapter = scripted()

    with pytest.raises(InvalidRequest, match="not a container's id"):
        await adapter.status(frozenset([JobId(id)]))
    with pytest.raises(InvalidRequest, match="not a container's id"):
        await adapter.cancel(JobId(id))
