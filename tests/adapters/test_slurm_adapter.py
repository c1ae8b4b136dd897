"""The Slurm adapter's commands, on a simulated Slurm: what the contract does not ask of every scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from fxsched.errors import (
    CommandNotFound,
    InvalidRequest,
    OutcomeUnknown,
    PartlyUnavailable,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, new_token
from fxsched_fakes import faults
from fxsched_slurm.adapter import CHUNK, FEW, SlurmAdapter

from .slurm_recorded import SLURM
from .slurm_site import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


NO_JOBS = CommandResult(
    0, b"JOBID|STATE|SUBMIT_TIME|START_TIME|END_TIME|NODELIST|RESTART_COUNT|EXIT_CODE|REASON|STDOUT|NAME\n", b""
)
ONE = JobId("4217")


@pytest.fixture
async def accounting(home: Path, anyio_backend: object) -> AsyncIterator[FakeSlurm]:
    """A simulated Slurm that keeps accounts."""
    site = FakeSlurm(home, accounting=True)
    yield site
    await site.end_jobs()


def scripted(answers: dict[str, CommandResult], **options: Any) -> SlurmAdapter:
    """Return an adapter whose commands give these answers, whatever they are asked."""

    def answer(command: Command) -> CommandResult:
        return (answers | {"id": CommandResult(0, b"ada\n", b"")})[command.argv[0]]

    return SlurmAdapter(ScriptedHost(answer), SlurmAdapter.Options(**options))


def commands(adapter: SlurmAdapter) -> list[tuple[str, ...]]:
    assert isinstance(adapter.host, ScriptedHost)
    return [command.argv for command in adapter.host.commands]


# ── what squeue has forgotten ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_that_squeue_has_forgotten_is_in_the_accounts(accounting: FakeSlurm) -> None:
    spec = accounting.spec("exit 3")
    id = await accounting.submit_spec(spec)
    await accounting.ended(id)

    with accounting.faults({"command": "squeue", "fault": "forget"}):
        status = await accounting.status(id)
        found = await accounting.adapter.find(spec.token)

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert status.source == "sacct"
    assert found == (id,)


@pytest.mark.parametrize("word", ["RUNNING", "PENDING", "REQUEUED", "SUSPENDED"])
async def test_a_job_that_lives_in_the_accounts_alone_is_gone(word: str) -> None:
    """A runaway job: the controller has no such job, and the database never heard of its end."""
    row = f"{ONE}|ada|{word}|0:0|2026-11-22T15:20:28|2026-11-22T15:20:28|Unknown|n1|x\n"
    answers = {"squeue": SLURM.result("30-squeue-j-unknown"), "sacct": CommandResult(0, row.encode(), b"")}

    assert (await scripted(answers).status(frozenset([ONE])))[ONE].state is JobState.GONE


async def test_without_accounts_it_is_gone(slurm: FakeSlurm) -> None:
    spec = slurm.spec("exit 3")
    id = await slurm.submit_spec(spec)
    await slurm.ended(id)

    with slurm.faults({"command": "squeue", "fault": "forget"}):
        assert (await slurm.status(id)).state is JobState.GONE
        assert await slurm.adapter.find(spec.token) == ()


async def test_then_the_cluster_takes_the_job_s_own_word_for_its_end(slurm: FakeSlurm) -> None:
    cluster = slurm.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", "exit 3")))
    slurm.adopt(job.id)
    await slurm.ended(job.id)

    with slurm.faults({"command": "squeue", "fault": "forget"}):
        status = (await cluster.status([job.id]))[job.id]

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert status.source == "session"


async def test_that_there_are_no_accounts_is_learnt_once(slurm: FakeSlurm) -> None:
    for _ in range(3):
        await slurm.adapter.status(frozenset(slurm.unused_ids(1)))

    assert len(faults.calls(slurm.simulation.directory, "sacct")) == 1


@pytest.mark.parametrize("accounting", [None, True])
async def test_accounts_that_do_not_answer_this_time_are_no_answer(accounting: bool | None) -> None:
    answers = {"squeue": SLURM.result("30-squeue-j-unknown"), "sacct": SLURM.result("79-dbd-down-sacct")}
    adapter = scripted(answers, accounting=accounting)

    with pytest.raises(SchedulerUnavailable, match=r"Connection refused.*options\.accounting = false"):
        await adapter.status(frozenset([ONE]))
    adapter.host = scripted(answers | {"squeue": NO_JOBS}).host
    with pytest.raises(SchedulerUnavailable, match="Connection refused"):
        await adapter.find(new_token())


async def test_accounts_that_do_not_answer_hide_no_job_that_squeue_knows() -> None:
    answers = {"squeue": queue(f"{ONE}|RUNNING|None"), "sacct": SLURM.result("79-dbd-down-sacct")}

    with pytest.raises(PartlyUnavailable) as raised:
        await scripted(answers).status(frozenset([ONE, JobId("4218")]))

    assert {id: status.state for id, status in raised.value.answers.items()} == {ONE: JobState.RUNNING}


async def test_where_there_is_no_sacct_there_are_no_accounts() -> None:
    asked = []

    def answer(command: Command) -> CommandResult:
        asked.append(command.argv[0])
        if command.argv[0] == "sacct":
            raise CommandNotFound("there is no command 'sacct'")
        return SLURM.result("30-squeue-j-unknown")

    adapter = SlurmAdapter(ScriptedHost(answer), SlurmAdapter.Options())

    for _ in range(2):
        assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE
    assert asked.count("sacct") == 1


async def test_somebody_else_s_account_is_none_of_ours() -> None:
    token = new_token()
    row = f"{ONE}|mallory|COMPLETED|0:0|2026-11-22T15:20:28|2026-11-22T15:20:28|2026-11-22T15:20:29|n1|x.{token}\n"
    adapter = scripted({"squeue": NO_JOBS, "sacct": CommandResult(0, row.encode(), b"")})

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE
    assert await adapter.find(token) == ()


async def test_all_that_squeue_has_forgotten_is_looked_up_in_the_accounts() -> None:
    def answer(command: Command) -> CommandResult:
        if command.argv[0] != "sacct":
            return {"squeue": NO_JOBS, "id": CommandResult(0, b"ada\n", b"")}[command.argv[0]]
        [ids] = [word.removeprefix("--jobs=") for word in command.argv if word.startswith("--jobs=")]
        rows = (f"{id}|ada|COMPLETED|0:0|2026-11-22T15:20:28|Unknown|Unknown|n1|x\n" for id in ids.split(","))
        return CommandResult(0, "".join(rows).encode(), b"")

    ids = frozenset(map(JobId, ("4217", "4218", "4219")))
    found = await SlurmAdapter(ScriptedHost(answer), SlurmAdapter.Options()).status(ids)

    assert {id: status.state for id, status in found.items()} == dict.fromkeys(ids, JobState.ENDED)


async def test_accounts_can_be_left_alone() -> None:
    adapter = scripted({"squeue": SLURM.result("30-squeue-j-unknown")}, accounting=False)
    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE

    assert await scripted({"squeue": NO_JOBS}, accounting=False).find(new_token()) == ()


# ── how it asks ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_named_cluster_is_named_to_every_command() -> None:
    done = CommandResult(0, b"4217;west\n", b"")
    names = ("sbatch", "squeue", "scancel", "sacct")
    adapter = scripted(
        dict.fromkeys(names, done) | {"squeue": NO_JOBS, "sacct": CommandResult(0, b"", b"")}, cluster="west"
    )

    await adapter.submit(JobSpec(token=new_token()))
    await adapter.status(frozenset([ONE]))
    await adapter.find(new_token())
    await adapter.cancel(ONE)

    assert {argv[0] for argv in commands(adapter)} == set(names)
    assert all(argv[1] == "--clusters=west" for argv in commands(adapter))


async def test_the_script_goes_to_standard_input_and_into_no_word_of_the_command() -> None:
    adapter = scripted({"sbatch": SLURM.result("01-sbatch-parsable-ok")})
    script = b"#!/bin/sh\n# unheard-of\n"

    assert await adapter.submit(JobSpec(token=new_token(), script=script)) == "1"

    assert isinstance(adapter.host, ScriptedHost)
    [command] = adapter.host.commands
    assert command.stdin == script
    assert "unheard-of" not in " ".join(command.argv)


@pytest.mark.parametrize(("count", "most"), [(2, 1), (40, 1), (1000, 1), (4001, 1)])
async def test_many_jobs_are_asked_for_in_one_command(count: int, most: int) -> None:
    adapter = scripted({"squeue": NO_JOBS}, accounting=False)
    ids = frozenset(JobId(str(number)) for number in range(count))

    found = await adapter.status(ids)

    assert found.keys() == ids
    assert len(commands(adapter)) <= most
    assert max(len(word) for argv in commands(adapter) for word in argv) < 100_000


def queue(*rows: str) -> CommandResult:
    """Return a list of squeue with these rows of id, state and reason."""
    fields = (row.split("|") for row in rows)
    lines = (job_row(id, state, reason) for id, state, reason in fields)
    return CommandResult(0, NO_JOBS.stdout + b"".join(lines), b"")


def job_row(id: str, state: str = "RUNNING", reason: str = "None", name: str = "x", output: str = "/dev/null") -> bytes:
    """Return a row of squeue's list."""
    return f"{id}|{state}|N/A|N/A|N/A||0|0|{reason}|{output}|{name}\n".encode()


def asking(answer: Callable[[Command], CommandResult]) -> SlurmAdapter:
    """Return an adapter without accounts whose squeue gives these answers."""
    return SlurmAdapter(ScriptedHost(answer), SlurmAdapter.Options(accounting=False))


async def test_many_forgotten_jobs_are_asked_for_in_words_that_a_command_line_takes() -> None:
    adapter = scripted({"squeue": NO_JOBS, "sacct": CommandResult(0, b"", b"")})
    ids = frozenset(JobId(f"{67_000_000 + number}_{number}") for number in range(2 * CHUNK + 1))

    found = await adapter.status(ids)

    assert {status.state for status in found.values()} == {JobState.GONE}
    assert [argv[0] for argv in commands(adapter)] == ["squeue", "sacct", "sacct", "sacct"]
    assert max(len(word) for argv in commands(adapter) for word in argv) < 128 * 1024  # Linux's MAX_ARG_STRLEN


@pytest.mark.parametrize("count", [1, FEW + 1])
async def test_a_job_of_somebody_else_that_was_given_the_id_is_not_ours(slurm: FakeSlurm, count: int) -> None:
    spec = slurm.spec()
    id = await slurm.submit_spec(spec)
    ids = frozenset([id, *slurm.unused_ids(count - 1)])
    assert (await slurm.adapter.status(ids))[id].state is not JobState.GONE

    with slurm.simulation as simulation:
        simulation.jobs[int(id)].uid += 1

    assert (await slurm.adapter.status(ids))[id].state is JobState.GONE
    assert await slurm.adapter.find(spec.token) == ()
    assert spec.token not in await slurm.adapter.submissions()
    with slurm.simulation as simulation:
        simulation.jobs[int(id)].uid -= 1


async def test_an_array_is_one_job_that_lives_while_a_task_does(slurm: FakeSlurm) -> None:
    """However it came to be: no option of ours makes one."""
    spec = slurm.spec()
    host = slurm.host()
    argv = [str(slurm.bin / "sbatch"), "--parsable", "--array=1-2", f"--job-name={spec.job_name}", "--hold"]
    id = JobId((await host.run(argv, stdin=spec.script or b"#!/bin/sh\n", deadline=30)).text.strip())

    assert (await slurm.adapter.status(frozenset([id])))[id].state is JobState.HELD
    assert await slurm.adapter.find(spec.token) == (id,)
    await slurm.adapter.cancel(id)
    assert (await slurm.adapter.status(frozenset([id])))[id].cause is EndCause.CANCELLED


async def test_a_job_that_was_renamed_is_still_ours(slurm: FakeSlurm) -> None:
    cluster = slurm.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sleep", "60")))
    slurm.adopt(job.id)
    with slurm.simulation as simulation:
        simulation.jobs[int(job.id)].name = "thesis"

    status = (await slurm.adapter.status(frozenset([job.id])))[job.id]

    assert (status.name, status.token) == ("thesis", job.token)
    assert await slurm.adapter.find(job.token) == (job.id,)


@pytest.mark.parametrize(("requeue", "state"), [(False, JobState.ENDED), (True, JobState.QUEUED)])
async def test_a_lost_node_ends_the_session_unless_it_may_run_again(
    slurm: FakeSlurm, requeue: bool, state: JobState
) -> None:
    id = await slurm.submit_spec(replace(slurm.spec("sleep 60"), requeue=requeue))
    await slurm.until(id, JobState.RUNNING)

    with slurm.simulation as simulation:
        simulation.fail_node(simulation.jobs[int(id)])

    status = await slurm.status(id)
    assert (status.state, status.submitted_at is None) == (state, requeue)
    assert status.cause is (None if requeue else EndCause.NODE_FAILURE)


async def test_many_of_one_s_own_jobs_and_their_tasks_are_one_question() -> None:
    def squeue(command: Command) -> CommandResult:
        tasks = [f"152_{number}" for number in range(FEW)] if "--array" in command.argv else [f"152_[0-{FEW - 1}]"]
        ended = ["153|COMPLETED|None"] if "--states=all" in command.argv else []
        return queue(*ended, *(f"{task}|PENDING|Resources" for task in tasks))

    adapter = asking(squeue)
    own = {JobId(f"152_{number}"): JobState.QUEUED for number in range(FEW)} | {JobId("153"): JobState.ENDED}

    found = await adapter.status(frozenset(own))

    assert {id: status.state for id, status in found.items()} == own
    [argv] = commands(adapter)
    assert "--me" in argv


async def test_each_task_of_an_array_is_a_job_of_its_own() -> None:
    """Else squeue puts those that wait into one row, with a name that no other command takes."""

    def squeue(command: Command) -> CommandResult:
        rows = SLURM.row("32-array-running-r" if "--array" in command.argv else "32-array-running")["stdout"]
        fields = (row.split("|") for row in rows.splitlines())  # %i|%A|%F|%K|%T|%r
        return queue(*(f"{id}|{state}|{reason}" for id, _, _, _, state, reason in fields))

    found = await asking(squeue).status(frozenset(map(JobId, ["152_0", "152_4", "152_5", "152_6"])))

    states = {id: status.state for id, status in found.items()}
    assert states == {
        "152_0": JobState.RUNNING,
        "152_4": JobState.QUEUED,
        "152_5": JobState.QUEUED,
        "152_6": JobState.GONE,
    }


async def test_of_several_jobs_one_error_is_no_answer_about_any() -> None:
    adapter = scripted({"squeue": SLURM.result("30-squeue-j-unknown-tall")}, accounting=False)

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE
    with pytest.raises(SchedulerUnavailable, match="Invalid job id specified"):
        await adapter.status(frozenset([ONE, JobId("4218")]))


async def test_a_job_that_has_ended_already_is_found() -> None:
    token = new_token()

    def squeue(command: Command) -> CommandResult:
        ended = job_row("4217", "COMPLETED", name=f"x.{token}") if "--states=all" in command.argv else b""
        return CommandResult(0, NO_JOBS.stdout + ended, b"")

    assert await asking(squeue).find(token) == ("4217",)


async def test_the_site_s_own_options_come_before_the_profile_s() -> None:
    adapter = scripted({"sbatch": SLURM.result("01-sbatch-parsable-ok")}, native=("--comment=site",))

    await adapter.submit(JobSpec(token=new_token(), native=("--comment=profile",)))

    assert commands(adapter)[0][-2:] == ("--comment=site", "--comment=profile")


async def test_each_command_has_its_deadline_and_times_are_asked_for_in_utc() -> None:
    answers = {"sbatch": SLURM.result("01-sbatch-parsable-ok"), "squeue": NO_JOBS}
    adapter = scripted(answers | dict.fromkeys(("sacct", "scancel"), CommandResult(0, b"", b"")), deadline=7.0)

    await adapter.submit(JobSpec(token=new_token()))
    await adapter.status(frozenset([ONE]))
    await adapter.find(new_token())
    await adapter.cancel(ONE)

    assert isinstance(adapter.host, ScriptedHost)
    asked = adapter.host.commands
    submit = SlurmAdapter.Options().submit_deadline  # sbatch alone tries for so long itself
    assert [command.deadline for command in asked] == [submit if c.argv[0] == "sbatch" else 7.0 for c in asked]
    assert {c.environment.get("TZ") for c in asked if c.argv[0] in ("squeue", "sacct")} == {"UTC"}


async def test_where_slurm_is_and_who_asks_reaches_its_commands(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site may have its configuration elsewhere, or know its users by a token."""
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/sh\necho "$SLURM_CONF $SLURM_JWT" >{tmp_path}/seen\necho 4217\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("SLURM_CONF", "/opt/slurm.conf")
    monkeypatch.setenv("SLURM_JWT", "eyJhbGciOi")
    options = SlurmAdapter.Options(commands={"sbatch": str(sbatch)})

    assert await SlurmAdapter(LocalHost(SlurmAdapter.keeps), options).submit(JobSpec(token=new_token())) == ONE

    assert (tmp_path / "seen").read_text() == "/opt/slurm.conf eyJhbGciOi\n"


@pytest.mark.parametrize("whose", ["site", "profile"])
async def test_a_cluster_among_the_native_words_is_refused_before_sbatch_runs(whose: str) -> None:
    native = {whose: ("--clusters=east",)}
    adapter = scripted({}, native=native.get("site", ()))

    with pytest.raises(SubmitRejected, match=r"set options\.cluster"):
        await adapter.submit(JobSpec(token=new_token(), native=native.get("profile", ())))

    assert commands(adapter) == []


@pytest.mark.parametrize("cluster", ["east,west", "all", "a b"])
def test_a_cluster_is_one_cluster(cluster: str) -> None:
    """Of two, squeue would print two lists, and an id would not say in which it stands."""
    with pytest.raises(ValueError, match="the name of one cluster"):
        SlurmAdapter.Options(cluster=cluster)


@pytest.mark.parametrize("id", ["", "abc", "1,2", "-1", "1 2", "1;2", "1\n2", "٤٢"])
async def test_what_cannot_be_an_id_is_refused_before_slurm_hears_of_it(id: str) -> None:
    adapter = scripted({})

    with pytest.raises(InvalidRequest, match="not a Slurm job id"):
        await adapter.status(frozenset([JobId(id)]))
    with pytest.raises(InvalidRequest, match="not a Slurm job id"):
        await adapter.cancel(JobId(id))


async def test_a_refusal_without_a_word_is_one_when_there_is_no_job(slurm: FakeSlurm) -> None:
    """A submit plugin that says nothing to the user: `return slurm.ERROR` on Slurm 22.05.8."""
    silent = "sbatch: error: Batch job submission failed: Unspecified error\n"

    with (
        slurm.faults({"command": "sbatch", "fault": "fail", "rc": 1, "stderr": silent}),
        pytest.raises(SubmitRejected, match=r"gave no reason.*Unspecified error"),
    ):
        await slurm.adapter.submit(slurm.spec())

    assert len(faults.calls(slurm.simulation.directory, "squeue")) == 1


@pytest.mark.parametrize("squeue", ["the job is there", "nobody answers"])
async def test_a_refusal_without_a_word_is_doubted_while_there_may_be_a_job(squeue: str) -> None:
    token = new_token()
    silent = CommandResult(1, b"", b"sbatch: error: Batch job submission failed: Unspecified error\n")
    there = CommandResult(0, NO_JOBS.stdout + job_row("4217", name=f"x.{token}"), b"")
    answers = {"the job is there": there, "nobody answers": SLURM.result("76-down-squeue-me")}

    with pytest.raises(OutcomeUnknown, match="Unspecified error"):
        await scripted({"sbatch": silent, "squeue": answers[squeue]}).submit(JobSpec(token=token))


async def test_a_session_inherits_no_request_of_ours(slurm: FakeSlurm) -> None:
    """22.05.8 has SLURM_OPEN_MODE=a for our --open-mode: a user's srun would append where it truncates elsewhere."""
    cluster = slurm.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", f"env >{slurm.home}/env")))
    slurm.adopt(job.id)
    await slurm.ended(job.id)

    names = {line.partition("=")[0] for line in (slurm.home / "env").read_text().splitlines()}
    assert "SLURM_JOB_ID" in names
    assert not names & set(SlurmAdapter.unset)


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_that_is_not_there_is_named(slurm: FakeSlurm) -> None:
    adapter = slurm.connect()
    adapter.options.commands.update(sbatch="/no/sbatch", squeue="/no/squeue")

    with pytest.raises(CommandNotFound, match="/no/sbatch"):
        await adapter.submit(slurm.spec())
    with pytest.raises(SchedulerUnavailable, match="/no/squeue"):
        await adapter.status(frozenset([ONE]))


@pytest.mark.parametrize(("fault", "jobs"), [("hang", 0), ("accept-then-hang", 1)])
async def test_an_sbatch_that_hangs_leaves_the_outcome_open(slurm: FakeSlurm, fault: str, jobs: int) -> None:
    spec = slurm.spec()

    with slurm.faults({"command": "sbatch", "fault": fault}), pytest.raises(OutcomeUnknown, match="did not answer"):
        await slurm.connect(submit_deadline=1.0).submit(spec)

    found = await slurm.adapter.find(spec.token)
    slurm.adopt(*found)
    assert len(found) == jobs
