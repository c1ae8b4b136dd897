"""The command adapter's commands, on a scripted host: what the contract does not ask of every scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fxsched.cluster.opening import open_cluster
from fxsched.errors import (
    CommandNotFound,
    ConfigurationError,
    InvalidRequest,
    NotSupported,
    OutcomeUnknown,
    SchedulerUnavailable,
    SubmitRejected,
)
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import JobId, JobSpec, JobState, new_token
from fxsched_command.adapter import CommandAdapter

from .command_site import Spool, as_options, described
from .slurm_site import FakeSlurm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


def scripted(answer: Callable[[Command], str], cluster: str = "hpc", **changes: Any) -> CommandAdapter:
    """Return an adapter whose commands print what ``answer`` says."""
    host = ScriptedHost(lambda command: CommandResult(0, answer(command).encode(), b""))
    return CommandAdapter(host, as_options(described(cluster) | changes))


def commands(adapter: CommandAdapter) -> list[Command]:
    assert isinstance(adapter.host, ScriptedHost)
    return adapter.host.commands


HEADER = "JOBID|STATE|SUBMIT_TIME|START_TIME|END_TIME|NODELIST|REASON|NAME\n"


# ── how it asks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (1000, 1), (2500, 3)])
async def test_many_jobs_are_asked_for_in_few_commands(count: int, most: int) -> None:
    adapter = scripted(lambda _: HEADER)
    ids = frozenset(JobId(str(number)) for number in range(count))

    found = await adapter.status(ids)

    assert found.keys() == ids
    assert len(commands(adapter)) == most


async def test_ids_are_joined_or_repeated() -> None:
    ids = frozenset([JobId("1"), JobId("2")])
    joined, repeated = scripted(lambda _: HEADER), scripted(lambda _: HEADER, separator="")

    await joined.status(ids)
    await repeated.status(ids)

    assert commands(joined)[0].argv[-1] == "--jobs=1,2"
    assert commands(repeated)[0].argv[-2:] == ("--jobs=1", "--jobs=2")


async def test_commands_get_the_described_variables_and_those_that_ask_the_time_zone() -> None:
    adapter = scripted(lambda _: HEADER, environment={"QHOME": "/opt/q"})

    await adapter.status(frozenset([JobId("1")]))
    await adapter.cancel(JobId("1"))

    assert [command.environment for command in commands(adapter)] == [
        {"TZ": "UTC", "QHOME": "/opt/q"},
        {"QHOME": "/opt/q"},
    ]


async def test_after_a_message_about_no_job_in_particular_each_is_asked_for_alone() -> None:
    def answer(command: Command) -> CommandResult:
        asked = command.argv[-1].removeprefix("--jobs=").split(",")
        rows = "".join(f"{id}|RUNNING|||||None|x\n" for id in asked if id != "3")
        if "3" not in asked:
            return CommandResult(0, (HEADER + rows).encode(), b"")
        return CommandResult(1, b"", b"slurm_load_jobs error: Invalid job id specified\n")

    adapter = CommandAdapter(ScriptedHost(answer), as_options(described("hpc")))

    found = await adapter.status(frozenset(map(JobId, "123")))

    states = {id: status.state for id, status in found.items()}
    assert states == {"1": JobState.RUNNING, "2": JobState.RUNNING, "3": JobState.GONE}


@pytest.mark.parametrize("id", ["", "abc", "1,2", "-1", "1 2", "1\n2", "1\n", "٤٢"])
async def test_what_cannot_be_an_id_is_refused_before_the_scheduler_hears_of_it(id: str) -> None:
    adapter = scripted(lambda _: HEADER)

    for verb in (adapter.cancel, adapter.kill, lambda id: adapter.status(frozenset([id]))):
        with pytest.raises(InvalidRequest, match="is no job id of Slurm"):
            await verb(JobId(id))
    assert commands(adapter) == []


async def test_a_job_that_a_cancel_did_not_end_is_killed_by_what_there_is() -> None:
    adapter = scripted(lambda _: "")
    harder = scripted(lambda _: "", kill=["scancel", "--signal=KILL", "{id}"])

    await adapter.kill(JobId("1"))
    await harder.kill(JobId("1"))

    assert commands(adapter)[0].argv == ("scancel", "1")
    assert commands(harder)[0].argv == ("scancel", "--signal=KILL", "1")


async def test_find_may_ask_for_the_token_itself() -> None:
    token = new_token()
    adapter = scripted(lambda _: f"JOBID|NAME\n7|x.{token}\n", find=["squeue", "--name=*.{token}"])

    assert await adapter.find(token) == ("7",)
    assert commands(adapter)[0].argv == ("squeue", f"--name=*.{token}")
    with pytest.raises(NotSupported, match="cannot list"):
        await adapter.submissions()


async def test_whose_jobs_are_ours_is_asked_once_and_only_where_rows_tell_the_owner() -> None:
    token = new_token()
    text = f"7 running ada x.{token}\n8 running eve x.{token}\nend of list\n"
    row = r"(?P<id>\d+) (?P<state>\w+) (?P<owner>\w+) (?P<name>.*)"
    adapter = scripted(lambda command: "ada\n" if command.argv[0] == "id" else text, "spool", row=row)

    for _ in range(2):
        assert await adapter.find(token) == ("7",)
        assert await adapter.submissions() == {token: ("7",)}
        found = await adapter.status(frozenset([JobId("8")]))
        assert found[JobId("8")].state is JobState.GONE

    assert [command.argv[0] for command in commands(adapter)].count("id") == 1


@pytest.mark.parametrize("word", ["-J", "--array=1-2"])
async def test_a_native_word_that_is_not_to_be_passed_on_is_refused(word: str) -> None:
    adapter = scripted(lambda _: "Submitted batch job 7\n", not_native=["-[Ja].*", "--array.*"])

    with pytest.raises(SubmitRejected, match=f"'{word}'"):
        await adapter.submit(JobSpec(token=new_token(), native=("--hold", word)))
    assert commands(adapter) == []


def test_how_long_lists_lag_is_as_described_or_as_the_other_adapter_s() -> None:
    adapter = scripted(lambda _: "", lag=3.0, end_lag=15.0)

    assert (adapter.lag, adapter.end_lag) == (3.0, 15.0)
    assert scripted(lambda _: "").lag == 0.0


async def test_where_all_are_listed_reconcile_sees_all() -> None:
    one, two = new_token(), new_token()
    text = f"JOBID|NAME\n10|a.{one}\n9|{one}\n11|b.{two}\n12|theirs\n"

    assert await scripted(lambda _: text).submissions() == {one: ("9", "10"), two: ("11",)}


# ── the script ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_script_goes_to_standard_input_and_into_no_word_of_the_command() -> None:
    adapter = scripted(lambda _: "Submitted batch job 7\n")

    assert await adapter.submit(JobSpec(token=new_token(), script=b"#!/bin/sh\n# unheard-of\n")) == "7"

    [command] = commands(adapter)
    assert command.stdin == b"#!/bin/sh\n# unheard-of\n"
    assert "unheard-of" not in " ".join(command.argv)


@pytest.fixture
async def spool(home: Path, anyio_backend: object) -> AsyncIterator[Spool]:
    site = Spool(home)
    yield site
    await site.end_jobs()


async def test_a_script_as_a_file_is_its_owner_s_alone(spool: Spool) -> None:
    await spool.submit("true")

    assert (spool.home / "job.sh").stat().st_mode & 0o777 == 0o700


async def test_a_script_that_cannot_be_written_and_a_command_that_is_not_there_leave_no_job(spool: Spool) -> None:
    with pytest.raises(SchedulerUnavailable, match=r"/no/where/job\.sh could not be written, and nothing was"):
        await spool.submit(working_directory="/no/where")
    spool.program.unlink()
    with pytest.raises(CommandNotFound, match="spool"):
        await spool.submit()


# ── like another adapter ──────────────────────────────────────────────────────────────────────────────────────────


def like_slurm(site: FakeSlurm) -> CommandAdapter:
    """Return Slurm's adapter for all but a submit of the site's own."""
    options = {
        "submit": ["sbatch", "-J", "{name}", "-o", "{output}", "{native}"],
        "id": r"Submitted batch job (\d+)",
        "commands": {"sbatch": str(site.bin / "sbatch")},
        "like": "slurm",
        "like_options": {"commands": {name: str(site.bin / name) for name in site.commands}},
    }
    return CommandAdapter(LocalHost(), as_options(options))


async def test_a_submit_of_one_s_own_with_another_adapter_for_the_rest(slurm: FakeSlurm) -> None:
    adapter = slurm.adapter = like_slurm(slurm)
    spec = slurm.spec(native=("-n", "1"))

    id = await slurm.submit_spec(spec)

    assert (await slurm.until(id, JobState.RUNNING)).source == "squeue"
    assert await adapter.find(spec.token) == (id,)
    assert (await adapter.submissions())[spec.token] == (id,)
    await adapter.cancel(id)
    await adapter.kill(id)
    await slurm.ended(id)
    assert (adapter.name, adapter.job_id_variable) == ("Slurm", "SLURM_JOB_ID")
    assert "SLURM_" in adapter.reserved
    assert "SLURM_MEM_PER_CPU" in adapter.unset


async def test_the_other_adapter_s_commands_get_the_variables_too() -> None:
    host = ScriptedHost(lambda _: CommandResult(0, b"", b""))
    options = {"submit": ["sbatch", "-J", "{name}"], "id": "(1)", "like": "slurm", "environment": {"SLURM_CONF": "/x"}}

    await CommandAdapter(host, as_options(options)).cancel(JobId("1"))

    assert host.commands[0].environment == {"SLURM_CONF": "/x"}


async def test_options_of_the_other_adapter_are_checked(tmp_path: Path) -> None:
    options = {"submit": ["x", "{name}"], "id": "(1)", "like": "slurm", "like_options": {"comands": {}}}

    with pytest.raises(ConfigurationError, match="did you mean 'commands'"):
        async with open_cluster("x", state=tmp_path, adapter="command", options=options):
            raise AssertionError


async def test_a_submit_that_hangs_leaves_the_outcome_open(home: Path) -> None:
    options = as_options(described("spool") | {"submit": ["sleep", "60", "{name}"], "submit_deadline": 0.2})
    spec = JobSpec(token=new_token())

    with pytest.raises(OutcomeUnknown):
        await CommandAdapter(LocalHost(), options).submit(spec)
