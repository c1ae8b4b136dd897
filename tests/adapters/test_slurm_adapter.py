"""The Slurm adapter's commands, on a simulated Slurm: what the contract does not ask of every scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fxsched.errors import CommandNotFound, InvalidRequest, OutcomeUnknown, SchedulerUnavailable, SubmitRejected
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
        return answers[command.argv[0]]

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
    row = f"{ONE}|{word}|0:0|2026-11-22T15:20:28|2026-11-22T15:20:28|Unknown|n1|x\n"
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


async def test_accounts_that_must_be_there_and_do_not_answer_are_no_answer() -> None:
    answers = {"squeue": SLURM.result("30-squeue-j-unknown"), "sacct": SLURM.result("79-dbd-down-sacct")}

    with pytest.raises(SchedulerUnavailable, match="Connection refused"):
        await scripted(answers, accounting=True).status(frozenset([ONE]))
    assert (await scripted(answers).status(frozenset([ONE])))[ONE].state is JobState.GONE


async def test_accounts_can_be_left_alone() -> None:
    adapter = scripted({"squeue": SLURM.result("30-squeue-j-unknown")}, accounting=False)

    assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE


# ── how it asks ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_named_cluster_is_named_to_every_command() -> None:
    done = CommandResult(0, b"4217;west\n", b"")
    names = ("sbatch", "squeue", "scancel", "sacct")
    adapter = scripted(dict.fromkeys(names, done) | {"squeue": NO_JOBS}, cluster="west")

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


@pytest.mark.parametrize(("count", "most"), [(2, 1), (40, 1), (1000, 2), (4001, 4)])
async def test_many_jobs_are_asked_for_in_few_commands(count: int, most: int) -> None:
    """At most: one for all of the user's own, and one for each two thousand that are somebody else's."""
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


async def test_somebody_else_s_jobs_are_asked_for_by_their_ids_however_many() -> None:
    def squeue(command: Command) -> CommandResult:
        asked = [word.removeprefix("--jobs=") for word in command.argv if word.startswith("--jobs=")]
        return queue(*(f"{id}|RUNNING|None" for ids in asked for id in ids.split(",")))

    adapter = asking(squeue)
    ids = frozenset(JobId(f"{67_000_000 + number}_{number}") for number in range(2 * CHUNK + 1))

    found = await adapter.status(ids)

    assert {status.state for status in found.values()} == {JobState.RUNNING}
    assert len(commands(adapter)) == 1 + 3
    assert max(len(word) for argv in commands(adapter) for word in argv) < 128 * 1024  # Linux's MAX_ARG_STRLEN


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


async def test_a_job_of_somebody_else_that_bears_the_token_is_not_ours() -> None:
    token = new_token()

    def squeue(command: Command) -> CommandResult:
        theirs = "" if "--me" in command.argv else f"4217|x.{token}\n"
        return CommandResult(0, f"JOBID|NAME\n{theirs}4218|x.{token}\n".encode(), b"")

    assert await asking(squeue).find(token) == ("4218",)


async def test_a_job_that_has_ended_already_is_found() -> None:
    token = new_token()

    def squeue(command: Command) -> CommandResult:
        ended = f"4217|x.{token}\n" if "--states=all" in command.argv else ""
        return CommandResult(0, f"JOBID|NAME\n{ended}".encode(), b"")

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


@pytest.mark.parametrize("id", ["", "abc", "1,2", "-1", "1 2", "1;2", "1\n2", "٤٢"])
async def test_what_cannot_be_an_id_is_refused_before_slurm_hears_of_it(id: str) -> None:
    adapter = scripted({})

    with pytest.raises(InvalidRequest, match="not a Slurm job id"):
        await adapter.status(frozenset([JobId(id)]))
    with pytest.raises(InvalidRequest, match="not a Slurm job id"):
        await adapter.cancel(JobId(id))


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
