"""The LSF adapter's commands, on a simulated LSF: what the contract does not ask of every scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fxsched.errors import (
    CommandNotFound,
    InvalidRequest,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.hosts import CommandResult
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Resources, new_token
from fxsched_fakes import Cause, faults
from fxsched_lsf.adapter import CHUNK, LsfAdapter

from ..contract.site import until_text
from .lsf_recorded import LSF
from .lsf_site import FakeLsf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["volclava", "modern"])
async def lsf(home: Path, request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[FakeLsf]:
    site = FakeLsf(home, dialect=request.param)
    yield site
    await site.end_jobs()


ONE = JobId("4217")
MIB = 1024**2
SCRIPT = b"#!/bin/sh\n# unheard-of\n"
SUBMITTED = LSF.result("03-bsub-stdin-script")
NO_COLUMNS = LSF.result("32-bjobs-o-exit_code")
NO_JOBS = CommandResult(255, b"", b"No job found\n")
NOTHING = LSF.result("29-bhist-unknown")


def unknown(command: Command) -> CommandResult:
    """Answer as bjobs does that knows none of the ids."""
    lines = (f"Job <{word}> is not found\n" for word in command.argv if word.isdecimal())
    return CommandResult(255, b"", "".join(lines).encode())


def scripted(answers: dict[str, CommandResult], **options: Any) -> LsfAdapter:
    """Return an adapter whose commands give these answers, whatever they are asked; bjobs knows no job."""

    def answer(command: Command) -> CommandResult:
        name = command.argv[0]
        return unknown(command) if name == "bjobs" and name not in answers else answers[name]

    return LsfAdapter(ScriptedHost(answer), LsfAdapter.Options(**options))


def commands(adapter: LsfAdapter) -> list[Command]:
    assert isinstance(adapter.host, ScriptedHost)
    return list(adapter.host.commands)


# ── which form bjobs has ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("dialect", "failed"), [("volclava", 1), ("modern", 0)])
async def test_that_bjobs_has_no_columns_is_learnt_once(home: Path, dialect: str, failed: int) -> None:
    lsf = FakeLsf(home, dialect=dialect)

    for _ in range(3):
        await lsf.adapter.status(frozenset(lsf.unused_ids(1)))
        await lsf.adapter.find(new_token())

    calls = faults.calls(lsf.simulation.directory, "bjobs")
    assert [call["rc"] for call in calls].count(99) == failed
    assert len(calls) == 6 + failed


@pytest.mark.parametrize(("modern", "option"), [(True, "-o"), (False, "-l")])
async def test_which_form_bjobs_has_can_be_said(modern: bool, option: str) -> None:
    adapter = scripted({"bhist": NOTHING}, modern=modern)

    await adapter.status(frozenset([ONE]))

    assert [command.argv[1] for command in commands(adapter) if command.argv[0] == "bjobs"] == [option]


async def test_columns_that_must_be_there_and_are_not_are_no_answer() -> None:
    with pytest.raises(SchedulerUnavailable, match="EXIT_CODE"):
        await scripted({"bjobs": NO_COLUMNS}, modern=True).status(frozenset([ONE]))


@pytest.mark.parametrize("members", [{"qos": "gold"}, {"reservation": "r"}, {"resources": Resources(gpus=1)}])
async def test_what_an_old_bsub_would_misread_does_not_reach_it(home: Path, members: dict[str, Any]) -> None:
    """It reads "-sla gold" as "-s la" and a command "gold", and submits that."""
    lsf = FakeLsf(home, dialect="volclava")

    for _ in range(2):
        with pytest.raises(SubmitRejected, match="cannot grant"):
            await lsf.adapter.submit(lsf.spec(**members))

    assert faults.calls(lsf.simulation.directory, "bsub") == []
    assert len(faults.calls(lsf.simulation.directory, "bjobs")) == 2


async def test_a_new_bsub_takes_them(home: Path) -> None:
    lsf = FakeLsf(home, dialect="modern")

    id = await lsf.submit("true", queue="gpu", qos="gold", reservation="r", resources=Resources(gpus=2, cores=3))

    assert (await lsf.ended(id)).cause is EndCause.COMPLETED
    with lsf.simulation as simulation:
        job = simulation.jobs[int(id)]
        assert (job.gpus, job.cores, job.extra["sla"], job.extra["reservation"]) == (2, 3, "gold", "r")


async def test_which_lsf_it_is_is_not_guessed_while_it_does_not_answer(lsf: FakeLsf) -> None:
    with lsf.down(), pytest.raises(SchedulerUnavailable):
        await lsf.adapter.submit(lsf.spec(qos="gold"))

    assert lsf.submissions() == 0


# ── what bjobs has forgotten ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_that_bjobs_has_forgotten_is_in_the_history(lsf: FakeLsf) -> None:
    spec = lsf.spec("exit 3")
    id = await lsf.submit_spec(spec)
    before = await lsf.ended(id)

    with lsf.faults({"command": "bjobs", "fault": "forget"}):
        status = await lsf.status(id)
        found = await lsf.adapter.find(spec.token)

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert (status.nodes, status.ended_at, status.name) == (before.nodes, before.ended_at, spec.job_name)
    assert status.source == "bhist"
    assert found == (id,)


async def test_a_job_that_the_history_has_forgotten_too_is_gone(home: Path) -> None:
    lsf = FakeLsf(home, accounting=False)
    spec = lsf.spec("exit 3")
    id = await lsf.submit_spec(spec)
    await lsf.ended(id)

    with lsf.faults({"command": "bjobs", "fault": "forget"}):
        assert (await lsf.status(id)).state is JobState.GONE
        assert await lsf.adapter.find(spec.token) == ()


async def test_a_history_that_must_be_there_and_does_not_answer_is_no_answer() -> None:
    broken = CommandResult(255, b"", b"lsb.events: Cannot open file\n")

    with pytest.raises(SchedulerUnavailable, match="Cannot open"):
        await scripted({"bhist": broken}, history=True).status(frozenset([ONE]))
    assert (await scripted({"bhist": broken}).status(frozenset([ONE])))[ONE].state is JobState.GONE


@pytest.mark.parametrize(
    "answer",
    [
        LSF.result("190-mbd-hung-ntries1-bjobs"),
        LSF.result("184-lim-down-ntries"),
        CommandResult(0, b"", b""),
        CommandResult(0, LSF.result("315-bhist-after-clean").stdout[:200], b""),
    ],
)
async def test_a_history_that_does_not_answer_this_time_hides_no_job_and_no_other_s_state(
    answer: CommandResult,
) -> None:
    """Taken for "there is none", a session that ended well would have vanished, or a second one be started."""
    known = LSF.result("61-bjobs-l-killed")
    bjobs = CommandResult(255, known.stdout, b"Job <4217> is not found\n")
    adapter = scripted({"bjobs": bjobs, "bhist": answer}, modern=False)

    with pytest.raises(PartlyUnavailable, match="could not be asked") as raised:
        await adapter.status(frozenset([ONE, JobId("7")]))
    assert {id: status.state for id, status in raised.value.answers.items()} == {"7": JobState.ENDED}
    with pytest.raises(SchedulerUnavailable):
        await scripted({"bjobs": NO_JOBS, "bhist": answer}, modern=False).find(new_token())


async def test_a_history_that_there_is_not_is_none(lsf: FakeLsf) -> None:
    adapter = lsf.connect()
    adapter.options.commands.update(bhist="/no/bhist")

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE
    assert await adapter.find(new_token()) == ()


async def test_the_history_can_be_left_alone() -> None:
    adapter = scripted({}, history=False)

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE


# ── how it asks ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_command_tries_again_for_ever_and_times_are_utc() -> None:
    adapter = scripted({"bsub": SUBMITTED, "bhist": NOTHING, "bkill": LSF.result("54-bkill-running")}, modern=True)

    await adapter.submit(JobSpec(token=new_token(), script=SCRIPT))
    await adapter.status(frozenset([ONE]))
    await adapter.cancel(ONE)
    await adapter.kill(ONE)

    assert {command.argv[0] for command in commands(adapter)} == {"bsub", "bjobs", "bhist", "bkill"}
    for command in commands(adapter):
        assert command.environment["LSB_NTRIES"] == "1"
        assert command.argv[0] not in ("bjobs", "bhist") or command.environment["TZ"] == "UTC"


async def test_the_script_goes_to_standard_input_and_into_no_word_of_the_command() -> None:
    adapter = scripted({"bsub": SUBMITTED}, modern=True)

    assert await adapter.submit(JobSpec(token=new_token(), script=SCRIPT)) == "3"

    [command] = commands(adapter)
    assert command.stdin == SCRIPT
    assert "unheard-of" not in " ".join(command.argv)


async def test_a_job_that_does_not_end_is_killed() -> None:
    adapter = scripted({"bkill": LSF.result("77-bkill-s9")})

    await adapter.kill(ONE)

    assert commands(adapter)[0].argv == ("bkill", "-s", "KILL", ONE)


@pytest.mark.parametrize(("count", "most"), [(1, 1), (CHUNK, 1), (CHUNK + 1, 2)])
async def test_many_jobs_are_asked_for_in_few_commands(count: int, most: int) -> None:
    adapter = scripted({}, history=False)
    ids = frozenset(JobId(str(number)) for number in range(1, count + 1))

    found = await adapter.status(ids)

    assert found.keys() == ids
    assert len(commands(adapter)) == most


async def test_the_site_s_own_options_come_before_the_profile_s() -> None:
    adapter = scripted({"bsub": SUBMITTED}, native=("-P", "site"), modern=True)

    await adapter.submit(JobSpec(token=new_token(), script=SCRIPT, native=("-P", "profile")))

    assert commands(adapter)[0].argv[-4:] == ("-P", "site", "-P", "profile")


@pytest.mark.parametrize("id", ["", "0", "abc", "1,2", "-1", "1 2", "1[2]", "1\n2", "٤٢"])
async def test_what_cannot_be_an_id_is_refused_before_lsf_hears_of_it(id: str) -> None:
    adapter = scripted({})

    for ask in (adapter.status(frozenset([JobId(id)])), adapter.cancel(JobId(id)), adapter.kill(JobId(id))):
        with pytest.raises(InvalidRequest, match="not an LSF job id"):
            await ask


async def test_memory_and_cores_reach_lsf(lsf: FakeLsf) -> None:
    needs = Resources(cores=4, memory=3000 * 1024**2 + 1, walltime=61)
    if lsf.volclava:
        lsf.adapter = lsf.connect(unit_for_limits="MB")
    id = await lsf.submit(resources=needs, account="physics", constraint="type==any")

    with lsf.simulation as simulation:
        job = simulation.jobs[int(id)]
        assert (job.nodes, job.cores, job.memory, job.walltime) == (1, 4, 3001, 120)
        assert job.extra["memory_limit"] == str(3001 * 1024 if lsf.volclava else 3000 * 1024 + 1)
        assert job.extra["project"] == "physics"
        assert job.extra["constraint"].startswith("select[type==any] ")


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_limit_is_as_much_as_was_asked_for(home: Path) -> None:
    """volclava counts -M in MB, whatever its man page says: what is meant for KB limits nothing."""
    lsf = FakeLsf(home, dialect="volclava")

    with pytest.raises(SubmitRejected, match=r"options\.unit_for_limits"):
        await lsf.adapter.submit(lsf.spec(resources=Resources(memory=300 * MIB)))
    assert lsf.submissions() == 0

    lsf.adapter = lsf.connect(unit_for_limits="MB")
    id = await lsf.submit(resources=Resources(memory=300 * MIB))
    with lsf.simulation as simulation:
        job = simulation.jobs[int(id)]
        assert (job.extra["memory_limit"], job.memory) == (str(300 * 1024), 300)


@pytest.mark.parametrize(
    ("unit", "limit", "reserved"), [(None, 1024**2, 1024), ("GB", 1024**2, 1024), ("MB", 1024**2, 1024)]
)
async def test_lsf_is_asked_for_its_unit_once(home: Path, unit: str | None, limit: int, reserved: int) -> None:
    lsf = FakeLsf(home, dialect="modern", extra={"LSF_UNIT_FOR_LIMITS": unit} if unit else {})

    ids = [await lsf.submit(resources=Resources(memory=1024 * MIB)) for _ in range(2)]

    assert len(faults.calls(lsf.simulation.directory, "badmin")) == 1
    with lsf.simulation as simulation:
        for job in (simulation.jobs[int(id)] for id in ids):
            assert (job.extra["memory_limit"], job.memory) == (str(limit), reserved)


async def test_a_unit_that_lsf_does_not_tell_now_is_not_guessed(home: Path) -> None:
    lsf = FakeLsf(home, dialect="modern")

    with lsf.faults({"command": "badmin", "fault": "down"}), pytest.raises(SchedulerUnavailable, match="refused by"):
        await lsf.adapter.submit(lsf.spec(resources=Resources(memory=MIB)))
    without = lsf.connect()
    without.options.commands["badmin"] = "/no/badmin"
    with pytest.raises(SubmitRejected, match="unit_for_limits"):
        await without.submit(lsf.spec(resources=Resources(memory=MIB)))

    assert lsf.submissions() == 0
    assert await lsf.submit(resources=Resources(memory=MIB))


async def test_a_job_that_asks_for_more_memory_than_any_node_has_waits_and_is_told_so(lsf: FakeLsf) -> None:
    """LSF takes it, and lets it wait for ever."""
    lsf.adapter = lsf.connect(unit_for_limits="MB")
    ids = [await lsf.submit(resources=Resources(memory=900 * 1024 * MIB)) for _ in range(2)]

    for id in ids:
        status = await lsf.status(id)
        assert (status.state, status.reason) == (
            JobState.QUEUED,
            "Waiting for free memory; the largest node has 64000MB.",
        )
    assert len(faults.calls(lsf.simulation.directory, "lshosts")) == 1

    with lsf.faults({"command": "lshosts", "fault": "down"}):
        lsf.adapter = lsf.connect()
        assert (await lsf.status(ids[0])).reason == "Waiting for free memory."


async def test_a_job_over_its_memory_was_not_cancelled(lsf: FakeLsf) -> None:
    """In the older family, both end with INT."""
    lsf.adapter = lsf.connect(unit_for_limits="MB")
    over, cancelled = [await lsf.submit(resources=Resources(memory=300 * MIB)) for _ in range(2)]
    for id in (over, cancelled):
        await lsf.until(id, JobState.RUNNING)
    with lsf.simulation as simulation:
        simulation.end(simulation.jobs[int(over)], Cause.MEMORY)
    await lsf.adapter.cancel(cancelled)

    for options in ({}, {"history": False}):
        lsf.adapter = lsf.connect(**options)
        assert ((await lsf.ended(over)).cause, (await lsf.ended(over)).exit_code) == (EndCause.MEMORY, 130)
        assert (await lsf.ended(cancelled)).cause is EndCause.CANCELLED


async def test_a_bkill_of_a_job_that_used_its_memory_up_is_a_cancel() -> None:
    limit = b"\n MEMLIMIT\n 307200 K\n"
    killed = LSF.result("61-bjobs-l-killed").stdout.replace(
        b"\n SCHEDULING", limit + b"\n MEMORY USAGE:\n MAX MEM: 300 Mbytes;  AVG MEM: 6 Mbytes\n\n SCHEDULING"
    )
    bjobs = CommandResult(0, killed, b"")
    asked = CommandResult(0, LSF.result("362-bhist-n-killed").stdout.replace(b"\nSummary", limit + b"\nSummary"), b"")
    nobody = CommandResult(0, b"".join(line for line in asked.stdout.splitlines(True) if b"requested" not in line), b"")

    for history, cause in ((asked, EndCause.CANCELLED), (nobody, EndCause.MEMORY)):
        adapter = scripted({"bjobs": bjobs, "bhist": history}, modern=False)
        assert (await adapter.status(frozenset([JobId("7")])))[JobId("7")].cause is cause


# ── arrays, other people's jobs, requeue ──────────────────────────────────────────────────────────────────────────


async def test_an_array_of_the_user_s_own_hides_no_session(lsf: FakeLsf) -> None:
    spec = lsf.spec()
    id = await lsf.submit_spec(spec)
    array = await lsf.bsub("-J", f"x.{spec.token}[1-3]", "sleep 60")

    assert await lsf.adapter.find(spec.token) == (id, array)
    found = await lsf.adapter.status(frozenset([id, array]))
    assert {id: status.state for id, status in found.items()} == {id: JobState.RUNNING, array: JobState.RUNNING}

    await lsf.adapter.cancel(array)
    assert (await lsf.ended(array)).cause is EndCause.CANCELLED


async def test_an_array_lives_while_one_of_its_elements_does(lsf: FakeLsf) -> None:
    array = await lsf.bsub("-J", "x[1-3]", "test $LSB_JOBINDEX = 2 && sleep 60")
    with lsf.simulation as simulation:
        elements = [job.id for job in simulation.jobs.values()]
    await lsf.until_ended(elements[0], elements[2])

    assert (await lsf.status(array)).state is JobState.RUNNING


async def test_somebody_else_s_job_of_that_name_is_none_of_ours(lsf: FakeLsf) -> None:
    spec = lsf.spec("true")
    id = await lsf.adapter.submit(spec)
    await lsf.ended(id)
    with lsf.simulation as simulation:
        simulation.jobs[int(id)].uid += 1
        simulation.jobs[int(id)].user = "eve"

    assert await lsf.adapter.find(spec.token) == ()
    assert await lsf.adapter.submissions() == {}


@pytest.mark.parametrize(("requeue", "state"), [(False, JobState.ENDED), (True, JobState.QUEUED)])
@pytest.mark.parametrize(
    "settings",
    [{"dialect": "volclava"}, {"dialect": "modern"}, {"dialect": "modern", "extra": {"rerunnable": "yes"}}],
    ids=["volclava", "modern", "rerunnable queue"],
)
async def test_a_job_whose_node_fails_runs_again_only_if_that_was_asked_for(
    home: Path, settings: dict[str, Any], requeue: bool, state: JobState
) -> None:
    lsf = FakeLsf(home, **settings)
    id = await lsf.submit(requeue=requeue)
    await lsf.until(id, JobState.RUNNING)

    with lsf.simulation as simulation:
        simulation.fail_node(simulation.jobs[int(id)])

    assert (await lsf.status(id)).state is state
    await lsf.end_jobs()


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_that_is_not_there_is_named(lsf: FakeLsf) -> None:
    adapter = lsf.connect()
    adapter.options.commands.update(bsub="/no/bsub")

    with pytest.raises(CommandNotFound, match="/no/bsub"):
        await adapter.submit(lsf.spec())
    adapter.options.commands.update(bjobs="/no/bjobs")
    with pytest.raises(SchedulerUnavailable, match="/no/bjobs"):
        await adapter.status(frozenset([ONE]))


@pytest.mark.parametrize(("fault", "jobs"), [("hang", 0), ("accept-then-hang", 1)])
async def test_a_bsub_that_hangs_leaves_the_outcome_open(lsf: FakeLsf, fault: str, jobs: int) -> None:
    spec = lsf.spec()

    with lsf.faults({"command": "bsub", "fault": fault}), pytest.raises(OutcomeUnknown, match="did not answer"):
        await lsf.connect(submit_deadline=1.0).submit(spec)

    found = await lsf.adapter.find(spec.token)
    lsf.adopt(*found)
    assert len(found) == jobs


async def test_a_job_over_its_time_says_so(lsf: FakeLsf) -> None:
    id = await lsf.submit(resources=Resources(walltime=60))
    await lsf.until(id, JobState.RUNNING)

    with lsf.simulation as simulation:
        simulation.set_clock(61)

    assert (await lsf.ended(id)).cause is EndCause.WALLTIME


async def test_a_suspended_job_lives(lsf: FakeLsf) -> None:
    id = await lsf.submit(f"echo >{lsf.home}/runs; exec sleep 60")
    await until_text(lsf.home / "runs")

    with lsf.simulation as simulation:
        simulation.suspend(simulation.jobs[int(id)])
    assert (await lsf.status(id)).state is JobState.SUSPENDED

    await lsf.adapter.kill(id)
    assert (await lsf.ended(id)).cause is EndCause.CANCELLED
