"""The Grid Engine adapter's commands: what the contract does not ask of every scheduler."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fxsched import reasons
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
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Resources, Token, new_token
from fxsched.registry import load_adapter
from fxsched_sge.adapter import FEW, GridEngineAdapter

from ..contract.site import until
from .sge_site import SGE, FakeGridEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from fxsched.jobs import JobStatus

pytestmark = pytest.mark.anyio

ONE = JobId("4217")
CAROL = CommandResult(0, b"Welcome\ncarol\n", b"")
NO_JOBS = SGE.result("31-qstat-none-xml")
UNKNOWN = SGE.result("32-qstat-j-all-unknown-xml")
NO_RECORD = SGE.result("33-qacct-no-name")
LIST = SGE.result("31-qstat-az-xml")
SEVERAL = SGE.result("32-qstat-j-several-xml")
PATTERN = SGE.result("33-qacct-pattern")


@pytest.fixture
async def sge(home: Path, anyio_backend: object) -> AsyncIterator[FakeGridEngine]:
    site = FakeGridEngine(home)
    yield site
    await site.end_jobs()


def qstat(listed: CommandResult = NO_JOBS, detailed: CommandResult = UNKNOWN) -> Callable[[Command], CommandResult]:
    """Return a qstat that gives one answer to a list and another to ``-j``."""
    return lambda command: detailed if "-j" in command.argv else listed


def scripted(
    answers: dict[str, CommandResult | Callable[[Command], CommandResult]], **options: Any
) -> GridEngineAdapter:
    """Return an adapter whose commands give these answers; the user is the one of the recordings."""

    def answer(command: Command) -> CommandResult:
        said = CAROL if command.argv == ("id", "-un") else answers[command.argv[0]]
        return said if isinstance(said, CommandResult) else said(command)

    return GridEngineAdapter(ScriptedHost(answer), GridEngineAdapter.Options(**options))


def commands(adapter: GridEngineAdapter) -> list[tuple[str, ...]]:
    assert isinstance(adapter.host, ScriptedHost)
    return [command.argv for command in adapter.host.commands if command.argv[0] != "id"]


def test_it_is_known_by_its_name() -> None:
    assert load_adapter("sge") is GridEngineAdapter


# ── how jobs ended ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_that_qstat_has_forgotten_is_in_the_accounts(sge: FakeGridEngine) -> None:
    spec = sge.spec("exit 3")
    id = await sge.submit_spec(spec)
    await sge.ended(id)

    with sge.faults({"command": "qstat", "fault": "forget"}):
        status = await sge.status(id)
        found = await sge.adapter.find(spec.token)

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert status.source == "qacct"
    assert found == (id,)


async def test_until_there_is_an_account_the_list_says_only_that_it_is_over() -> None:
    adapter = scripted({"qstat": qstat(LIST, SEVERAL), "qacct": NO_RECORD})

    status = (await adapter.status(frozenset([JobId("1")])))[JobId("1")]

    assert (status.state, status.cause, status.name) == (JobState.ENDED, EndCause.UNKNOWN, "done.abcdefghijklmnop2346")


async def test_an_account_of_another_job_with_the_same_id_counts_for_nothing() -> None:
    old = CommandResult(0, SGE.result("33-qacct-done").stdout.replace(b"done.", b"other."), b"")
    adapter = scripted({"qstat": qstat(LIST, SEVERAL), "qacct": old})

    assert (await adapter.status(frozenset([JobId("1")])))[JobId("1")].cause is EndCause.UNKNOWN


async def test_the_cluster_waits_for_the_account_of_a_job_that_left_no_word(sge: FakeGridEngine) -> None:
    cluster = sge.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", "kill -9 $PPID"), resources=Resources()))
    sge.adopt(job.id)
    await sge.ended(job.id)

    with sge.faults({"command": "qacct", "fault": "down"}), pytest.raises(SchedulerUnavailable):
        await cluster.status([job.id], max_age=0)
    late = (await cluster.status([job.id], max_age=0))[job.id]

    assert (late.state, late.cause) == (JobState.ENDED, EndCause.CANCELLED)


async def test_without_accounts_the_cluster_takes_the_job_s_own_word_for_its_end(home: Path) -> None:
    site = FakeGridEngine(home, accounting=False)
    cluster = site.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", "exit 3")))
    await site.ended(job.id)

    status = (await cluster.status([job.id], max_age=0))[job.id]

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert status.source == "session"


async def test_accounts_that_must_be_there_and_cannot_be_read_are_no_answer() -> None:
    answers = {"qstat": qstat(), "qacct": SGE.result("35-qacct-no-accounts")}

    with pytest.raises(SchedulerUnavailable, match="No such file"):
        await scripted(answers, accounting=True).status(frozenset([ONE]))
    assert (await scripted(answers).status(frozenset([ONE])))[ONE].state is JobState.GONE


@pytest.mark.parametrize(
    "answer", [CommandResult(1, b"", b"accounting: Input/output error\n"), CommandResult(137, b"", b"Killed\n")]
)
async def test_accounts_that_do_not_answer_this_time_hide_no_end_and_no_other_job(answer: CommandResult) -> None:
    adapter = scripted({"qstat": qstat(LIST, SEVERAL), "qacct": answer})

    with pytest.raises(PartlyUnavailable, match="could not be read") as raised:
        await adapter.status(frozenset([JobId("1"), JobId("10"), ONE]))
    assert {id: status.state for id, status in raised.value.answers.items()} == {"10": JobState.RUNNING}
    with pytest.raises(SchedulerUnavailable):
        await adapter.find(new_token())


async def test_accounts_that_there_are_not_are_none(sge: FakeGridEngine) -> None:
    adapter = sge.connect()
    adapter.options.commands.update(qacct="/no/qacct")

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE
    assert await adapter.find(new_token()) == ()


def test_it_says_how_late_accounts_may_be() -> None:
    assert scripted({}).end_lag > 15  # flush_time
    assert scripted({}, accounting_delay=2.0).end_lag == 2
    assert scripted({}, accounting=False).end_lag == 0


# ── somebody else's jobs ──────────────────────────────────────────────────────────────────────────────────────────


async def test_somebody_else_s_job_of_that_name_is_none_of_ours(sge: FakeGridEngine) -> None:
    """Names are seen by everybody: who read a token while qsub hung may submit a job that has it."""
    specs = [sge.spec("true"), sge.spec(native=("-h",))]
    ids = [await sge.adapter.submit(spec) for spec in specs]
    await sge.ended(ids[0])
    with sge.simulation as simulation:
        for id in ids:
            simulation.jobs[int(id)].user, simulation.jobs[int(id)].uid = "eve", 4004

    for spec in specs:
        assert await sge.adapter.find(spec.token) == ()
    assert await sge.adapter.submissions() == {}
    found = await sge.adapter.status(frozenset(ids))
    assert {status.state for status in found.values()} == {JobState.GONE}


async def test_what_the_user_is_called_is_asked_once_and_not_guessed() -> None:
    adapter = scripted({"qstat": qstat(NO_JOBS, SEVERAL), "qacct": PATTERN})
    for _ in range(2):
        await adapter.status(frozenset([JobId("10"), JobId("1")]))
    assert isinstance(adapter.host, ScriptedHost)
    assert [command.argv for command in adapter.host.commands].count(("id", "-un")) == 1

    def answer(command: Command) -> CommandResult:
        return CommandResult(1, b"", b"id: cannot find name") if command.argv[0] == "id" else SEVERAL

    broken = GridEngineAdapter(ScriptedHost(answer), GridEngineAdapter.Options())
    with pytest.raises(SchedulerUnavailable, match="cannot find name"):
        await broken._details([ONE])


# ── a submit that warned, arrays, requeue ─────────────────────────────────────────────────────────────────────────


async def test_a_submit_that_failed_with_a_warning_is_in_doubt_and_its_job_is_found(home: Path) -> None:
    """Were it taken for a refusal, nobody would ever end the job."""
    sge = FakeGridEngine(home, extra={"no_access": "yes"})
    spec = sge.spec()

    with pytest.raises(OutcomeUnknown, match="not allowed to run in any queue"):
        await sge.adapter.submit(spec)

    found = await sge.adapter.find(spec.token)
    sge.adopt(*found)
    assert len(found) == 1


async def test_an_array_of_the_user_s_own_is_one_job_that_lives_as_long_as_one_of_its_tasks(
    sge: FakeGridEngine,
) -> None:
    array = await sge.qsub("-t", "1-3", script='test "$SGE_TASK_ID" = 2 && sleep 60')
    with sge.simulation as simulation:
        tasks = [job.id for job in simulation.jobs.values()]
    await sge.until_ended(tasks[0], tasks[2])

    assert (await sge.status(array)).state is JobState.RUNNING

    await sge.adapter.cancel(array)
    assert (await sge.ended(array)).state is JobState.ENDED


@pytest.mark.parametrize(("requeue", "state"), [(False, JobState.ENDED), (True, JobState.QUEUED)])
@pytest.mark.parametrize("extra", [{}, {"rerun": "yes"}], ids=["plain queue", "rerun queue"])
async def test_a_job_whose_node_fails_runs_again_only_if_that_was_asked_for(
    home: Path, extra: dict[str, str], requeue: bool, state: JobState
) -> None:
    sge = FakeGridEngine(home, extra=extra)
    id = await sge.submit(requeue=requeue)
    await sge.until(id, JobState.RUNNING)

    with sge.simulation as simulation:
        simulation.fail_node(simulation.jobs[int(id)])

    assert (await sge.status(id)).state is state
    await sge.end_jobs()


async def test_a_job_over_its_soft_limit_ran_out_of_time(sge: FakeGridEngine) -> None:
    id = await sge.submit(native=("-l", "s_rt=1"))

    assert (await sge.ended(id)).cause is EndCause.WALLTIME


async def test_accounts_can_be_left_alone() -> None:
    adapter = scripted({"qstat": qstat()}, accounting=False)

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE
    assert await adapter.find(new_token()) == ()


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 1000])
async def test_many_ended_jobs_are_looked_up_at_once(count: int) -> None:
    adapter = scripted({"qstat": qstat(), "qacct": PATTERN})
    ids = frozenset(JobId(str(number)) for number in range(1, count + 1))

    found = await adapter.status(ids)

    asked = [argv for argv in commands(adapter) if argv[0] == "qacct"]
    assert len(asked) == (count if count <= FEW else 1)
    assert found.keys() == ids
    assert found[JobId("1")].exit_code == 3


@pytest.mark.parametrize(("memory_per", "cause"), [("slot", EndCause.WALLTIME), ("job", EndCause.MEMORY)])
async def test_what_memory_is_counted_by_tells_which_limit_it_was(memory_per: str, cause: EndCause) -> None:
    text = SGE.row("09-qacct-h_rt")["stdout"].replace("slots        1", "slots        8")
    over = CommandResult(0, text.replace("-l h_rt=3", "-l h_vmem=4M -pe smp 8").encode(), b"")
    adapter = scripted({"qstat": qstat(), "qacct": over}, memory_per=memory_per)

    assert (await adapter.status(frozenset([JobId("43")])))[JobId("43")].cause is cause


# ── parked jobs ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"working_directory": "/nonexistent"}, "can't chdir to /nonexistent"),
        ({"output": "/nonexistent/log"}, "can't open output file"),
    ],
)
async def test_a_job_that_cannot_start_has_failed_with_the_reason_and_is_removed(
    sge: FakeGridEngine, members: dict[str, Any], words: str
) -> None:
    id = await sge.submit(**members)

    status = await sge.ended(id)

    assert status.cause is EndCause.FAILED
    assert words in status.reason
    with sge.simulation as simulation:
        assert simulation.jobs[int(id)].extra["deleted"]
    assert (await sge.status(id)).cause is EndCause.FAILED


async def test_a_parked_job_that_is_none_of_ours_is_left_alone() -> None:
    """Its id may have been a session's before the scheduler crashed."""
    other = CommandResult(0, LIST.stdout.replace(b"nodir.abcdefghijklmnop2347", b"my-simulation"), b"")
    adapter = scripted({"qstat": qstat(other, SEVERAL)})

    status = (await adapter.status(frozenset([JobId("8")])))[JobId("8")]

    assert (status.state, status.name) == (JobState.HELD, "my-simulation")
    assert {argv[0] for argv in commands(adapter)} == {"qstat"}


async def test_a_parked_job_that_cannot_be_removed_has_not_ended(sge: FakeGridEngine) -> None:
    id = await sge.submit(working_directory="/nonexistent")
    with sge.faults({"command": "qdel", "fault": "down"}):

        async def ask() -> JobStatus:
            return await sge.status(id)

        status = await until(ask, lambda status: status.reason)

    assert (status.state, status.cause, status.native_state) == (JobState.HELD, None, "Eqw")
    assert "can't chdir" in status.reason


async def test_a_job_cannot_be_parked_or_run_again_by_its_exit_code(sge: FakeGridEngine) -> None:
    for code in (99, 100):
        cluster = sge.cluster()
        job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", f"exit {code}")))
        await sge.ended(job.id)

        status = (await cluster.status([job.id], max_age=0))[job.id]

        assert (status.cause, status.exit_code) == (EndCause.FAILED, code)


# ── how it asks ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_command_tells_of_all_jobs_that_run() -> None:
    adapter = scripted({"qstat": qstat(LIST, SEVERAL)})

    await adapter.status(frozenset([JobId("10")]))

    assert commands(adapter) == [("qstat", "-xml", "-u", "$user", "-s", "az")]


async def test_a_running_job_that_is_not_called_ours_any_more_takes_one_more_for_its_submit_time() -> None:
    """Its name does not tell whose it is; when it was submitted does."""
    renamed = LIST.stdout.replace(b"all.abcdefghijklmnop2345", b"mine"), SEVERAL.stdout
    adapter = scripted({"qstat": qstat(*(CommandResult(0, text, b"") for text in renamed))})

    status = (await adapter.status(frozenset([JobId("10")])))[JobId("10")]

    assert (status.state, status.name) == (JobState.RUNNING, "mine")
    assert status.submitted_at == datetime.fromtimestamp(1795378568, UTC)


async def test_a_job_of_which_it_is_not_told_whose_it_is_is_not_gone() -> None:
    unowned = CommandResult(0, SEVERAL.stdout.replace(b"<JB_owner>carol</JB_owner>", b""), b"")
    adapter = scripted({"qstat": qstat(NO_JOBS, unowned), "qacct": NO_RECORD})

    assert (await adapter.status(frozenset([JobId("10")])))[JobId("10")].state is JobState.RUNNING


async def test_a_waiting_job_takes_one_more_and_a_held_one_yet_one_more() -> None:
    def answer(command: Command) -> CommandResult:
        if "-j" in command.argv:
            return SEVERAL
        return LIST if command.argv[-1] == "az" else SGE.result("31-qstat-hu-xml")

    waiting, held = scripted({"qstat": answer}), scripted({"qstat": answer})

    assert (await waiting.status(frozenset([JobId("11")])))[JobId("11")].reason == reasons.RESOURCES
    assert (await held.status(frozenset([JobId("4")])))[JobId("4")].reason == reasons.HELD_BY_OWNER

    assert [argv[2:] for argv in commands(waiting)[1:]] == [("-j", "11")]
    assert [argv[2:] for argv in commands(held)[1:]] == [("-j", "4"), ("-u", "$user", "-s", "hu")]


async def test_reasons_need_not_be_asked_for() -> None:
    adapter = scripted({"qstat": qstat(LIST, SEVERAL)}, explain=False)

    assert (await adapter.status(frozenset([JobId("11")])))[JobId("11")].state is JobState.QUEUED

    assert len(commands(adapter)) == 1


async def test_a_job_that_the_list_hides_is_not_gone() -> None:
    adapter = scripted({"qstat": qstat(NO_JOBS, SEVERAL)})

    found = await adapter.status(frozenset([JobId("10"), JobId("11")]))

    assert {id: status.state for id, status in found.items()} == {"10": JobState.RUNNING, "11": JobState.QUEUED}
    detailed = SGE.result("32-qstat-j-name-xml")
    assert await scripted({"qstat": qstat(NO_JOBS, detailed)}).find(Token("abcdefghijklmnop2346")) == ("4",)


@pytest.mark.parametrize(
    "answer", [SGE.result("21-down-qstat-j"), CommandResult(0, b"", b""), CommandResult(0, LIST.stdout[:-20], b"")]
)
async def test_half_an_answer_is_none(answer: CommandResult) -> None:
    for broken in (qstat(answer), qstat(NO_JOBS, answer)):
        adapter = scripted({"qstat": broken, "qacct": NO_RECORD})

        with pytest.raises(SchedulerUnavailable):
            await adapter.status(frozenset([ONE]))
        with pytest.raises(SchedulerUnavailable):
            await adapter.find(new_token())


async def test_times_are_read_as_they_are_written() -> None:
    adapter = scripted({"qstat": qstat(LIST, SEVERAL), "qacct": PATTERN})

    await adapter.status(frozenset([JobId("1"), JobId("10")]))

    assert isinstance(adapter.host, ScriptedHost)
    assert all(command.environment == {"TZ": "UTC"} for command in adapter.host.commands if command.argv[0] != "id")


async def test_the_script_goes_to_standard_input_and_into_no_word_of_the_command() -> None:
    adapter = scripted({"qsub": SGE.result("01-qsub-terse")})

    assert await adapter.submit(JobSpec(token=new_token(), script=b"#!/bin/sh\n# unheard-of\n")) == "3"

    assert isinstance(adapter.host, ScriptedHost)
    [command] = adapter.host.commands
    assert command.stdin.startswith(b"#!/bin/sh\n")
    assert command.stdin.endswith(b"# unheard-of\n")
    assert "unheard-of" not in " ".join(command.argv)


async def test_the_site_s_own_options_come_before_the_profile_s() -> None:
    adapter = scripted({"qsub": SGE.result("01-qsub-terse")}, native=("-m", "n"), clear=True)

    await adapter.submit(JobSpec(token=new_token(), native=("-m", "e")))

    [argv] = commands(adapter)
    assert argv[-4:] == ("-m", "n", "-m", "e")
    assert argv[:2] == ("qsub", "-clear")


@pytest.mark.parametrize("id", ["", "abc", "1,2", "-1", "1 2", "1.1", "1\n2", "*", "٤٢"])
async def test_what_cannot_be_an_id_is_refused_before_grid_engine_hears_of_it(id: str) -> None:
    adapter = scripted({})

    with pytest.raises(InvalidRequest, match="not a Grid Engine job id"):
        await adapter.status(frozenset([JobId(id)]))
    with pytest.raises(InvalidRequest, match="not a Grid Engine job id"):
        await adapter.cancel(JobId(id))


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_has_no_name_at_this_site_is_refused_before_the_submit(sge: FakeGridEngine) -> None:
    with pytest.raises(SubmitRejected, match=r"options\.parallel_environment"):
        await sge.adapter.submit(sge.spec(resources=Resources(cores=2)))

    assert sge.submissions() == 0


async def test_a_command_that_is_not_there_is_named(sge: FakeGridEngine) -> None:
    adapter = sge.connect()
    adapter.options.commands.update(qsub="/no/qsub", qstat="/no/qstat")

    with pytest.raises(CommandNotFound, match="/no/qsub"):
        await adapter.submit(sge.spec())
    with pytest.raises(SchedulerUnavailable, match="/no/qstat"):
        await adapter.status(frozenset([ONE]))


@pytest.mark.parametrize(("fault", "jobs"), [("hang", 0), ("accept-then-hang", 1)])
async def test_a_qsub_that_hangs_leaves_the_outcome_open(sge: FakeGridEngine, fault: str, jobs: int) -> None:
    spec = sge.spec()

    with sge.faults({"command": "qsub", "fault": fault}), pytest.raises(OutcomeUnknown, match="did not answer"):
        await sge.connect(submit_deadline=1.0).submit(spec)

    found = await sge.adapter.find(spec.token)
    sge.adopt(*found)
    assert len(found) == jobs
