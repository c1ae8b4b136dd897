"""The Moab adapter's commands: who is asked what, and what holds when Moab and the resource manager disagree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fxsched import reasons
from fxsched.errors import CancelRefused, ConfigurationError, InvalidRequest, OutcomeUnknown, SchedulerUnavailable
from fxsched.hosts import CommandResult
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Token, new_token
from fxsched_fakes import faults
from fxsched_fakes.model import Wait
from fxsched_moab.adapter import FEW, PATIENCE, MoabAdapter
from fxsched_moab.reasons import TRYING_AGAIN

from ..captures import Captures
from .moab_site import (
    FakeMoab,
    MauiOverSlurm,
    MauiOverTorque,
    MoabOverSlurm,
    MoabOverTorque,
    MoabOverTorqueWithItsOwnIds,
    MoabWithItsOwnIds,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

MAUI = Captures("maui")
TOKEN = Token("abcdefghijklmnop2345")
ID = JobId(f"4217:{TOKEN}")
OWN = JobId(f"Moab.17:{TOKEN}")
HEADER = "JOBID|STATE|SUBMIT_TIME|START_TIME|END_TIME|NODELIST|RESTART_COUNT|EXIT_CODE|REASON|STDOUT|NAME\n"
DOWN = MAUI.result("21-down-showq")
FORGOTTEN = CommandResult(1, b"", b"slurm_load_jobs error: Invalid job id specified\n")


@pytest.fixture
async def make(home: Path, anyio_backend: object) -> AsyncIterator[Callable[..., FakeMoab]]:
    """Make a simulated Moab; its jobs end with the test."""
    made: list[FakeMoab] = []

    def make(kind: type[FakeMoab] = MoabOverSlurm, **extra: str) -> FakeMoab:
        made.append(kind(home))
        with made[-1].simulation as simulation:
            simulation.settings.extra |= extra
            simulation.save_settings()
        return made[-1]

    yield make
    for site in made:
        await site.end_jobs()


def row(id: str, *, manager: str = "", name: str = f"x.{TOKEN}", state: str = "Idle", **values: str) -> str:
    """Return a job in showq --xml."""
    values = {"JobID": id, "DRMJID": manager, "JobName": name, "State": state} | values
    return "<job " + " ".join(f'{key}="{value}"' for key, value in values.items() if value) + "/>"


def showq(active: str = "", eligible: str = "", blocked: str = "") -> CommandResult:
    lists = {"active": active, "eligible": eligible, "blocked": blocked}
    text = "".join(f'<queue option="{name}">{rows}</queue>' for name, rows in lists.items())
    return CommandResult(0, f"<Data>{text}</Data>\n".encode(), b"")


def completed(rows: str = "") -> CommandResult:
    return CommandResult(0, f'<Data><queue option="completed">{rows}</queue></Data>\n'.encode(), b"")


def squeue(id: str, state: str, name: str = f"x.{TOKEN}", reason: str = "None") -> str:
    return f"{id}|{state}|2026-11-22T15:11:37|N/A|N/A|n1|0|0|{reason}|/dev/null|{name}\n"


class Answers:
    """What the commands say: ``slurm`` is all that squeue knows, a result is what a command says in any case."""

    def __init__(self, slurm: str = "", **results: CommandResult) -> None:
        self.slurm = slurm
        self.results = {"showq": showq(), "completed": completed(), "canceljob": CommandResult(0, b"", b"")} | results

    def __call__(self, command: Command) -> CommandResult:
        name, *options = command.argv
        if name == "id":
            return CommandResult(0, b"ada\n", b"")
        if name == "showq" and "-c" in options:
            return self.results["completed"]
        if name == "squeue" and name not in self.results:
            return self._squeue(options)
        return self.results.get(name, CommandResult(0, b"", b""))

    def _squeue(self, options: list[str]) -> CommandResult:
        rows = [line.split("|") for line in self.slurm.splitlines()]
        wanted = next((word.partition("=")[2].split(",") for word in options if word.startswith("--jobs=")), None)
        chosen = [line for line in rows if wanted is None or line[0] in wanted]
        if not chosen and wanted and len(wanted) == 1:
            return FORGOTTEN
        return CommandResult(0, (HEADER + "".join("|".join(line) + "\n" for line in chosen)).encode(), b"")


def scripted(answers: Answers, **options: Any) -> MoabAdapter:
    """Return an adapter over Slurm whose commands give these answers."""
    usual = {"resource_manager": "slurm", "resource_manager_options": {"accounting": False}}
    return MoabAdapter(ScriptedHost(answers), MoabAdapter.Options(**usual | options))


def asked(adapter: MoabAdapter, name: str = "") -> list[tuple[str, ...]]:
    assert isinstance(adapter.host, ScriptedHost)
    return [command.argv for command in adapter.host.commands if name in ("", command.argv[0])]


async def status(adapter: MoabAdapter, id: JobId = ID) -> Any:
    return (await adapter.status(frozenset([id])))[id]


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_resource_manager_says_of_its_jobs_is_so_for_moab_s() -> None:
    adapter = scripted(Answers())

    assert adapter.job_id_variable == "SLURM_JOB_ID"
    assert "SLURM_MEM_PER_NODE" in adapter.unset
    assert {"SLURM_", "MOAB_"} <= set(adapter.reserved)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"resource_manager": "slrum"}, "did you mean 'slurm'"),
        ({"resource_manager": "moab"}, 'must name what runs Moab\'s jobs: "torque" or "slurm"'),
        ({"resource_manager_options": {"acounting": False}}, "resource_manager_options.acounting is not a setting"),
        ({"resource_manager_options": {"deadline": "1"}}, "resource_manager_options.deadline: expected"),
        ({"resource_manager_options": {"deadline": 0}}, "resource_manager_options.deadline is 0"),
        ({"resource_manager_options": {"deadline": float("inf")}}, "resource_manager_options.deadline is inf"),
    ],
)
def test_a_wrong_setting_is_found_before_anything_is_run(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        scripted(Answers(), **options)


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_script_goes_to_standard_input_and_the_site_s_options_before_the_profile_s() -> None:
    answers = Answers(msub=CommandResult(0, b'<Data><job JobID="Moab.17"/></Data>\n', b""))
    adapter = scripted(answers, native=("-W", "x=site"))

    id = await adapter.submit(JobSpec(token=TOKEN, script=b"#!/bin/sh\n# unheard-of\n", native=("-p", "1")))

    assert id == OWN
    assert isinstance(adapter.host, ScriptedHost)
    [command] = adapter.host.commands
    assert command.stdin.endswith(b"\n#!/bin/sh\n# unheard-of\n")
    assert "unheard-of" not in " ".join(command.argv)
    assert command.argv[-4:] == ("-W", "x=site", "-p", "1")


async def test_under_maui_the_resource_manager_takes_the_job() -> None:
    adapter = scripted(Answers(sbatch=CommandResult(0, b"4217\n", b"")), submit="resource_manager", native=("--x",))

    assert await adapter.submit(JobSpec(token=TOKEN)) == "4217"

    [argv] = asked(adapter)
    assert (argv[0], argv[-1]) == ("sbatch", "--x")


# ── who is asked ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_moab_is_not_asked_about_jobs_that_run_or_have_ended() -> None:
    other = JobId(f"4218:{new_token()}")
    name = f"y.{other.partition(':')[2]}"
    adapter = scripted(Answers(squeue("4217", "RUNNING") + squeue("4218", "COMPLETED", name)))

    found = await adapter.status(frozenset([ID, other]))

    assert (found[ID].state, found[other].state) == (JobState.RUNNING, JobState.ENDED)
    assert found[ID].id == ID
    assert len(asked(adapter)) == len(asked(adapter, "squeue")) == 1


@pytest.mark.parametrize("count", [1, 30, 1000])
async def test_many_jobs_are_asked_for_in_few_commands(count: int) -> None:
    ids = frozenset(JobId(f"{number}:{new_token()}") for number in range(count))
    adapter = scripted(Answers())

    found = await adapter.status(ids)

    assert {each.state for each in found.values()} == {JobState.GONE}
    assert len(asked(adapter, "showq")) == 2
    assert len(asked(adapter)) <= 7


async def test_only_the_user_s_own_jobs_are_listed_and_the_name_is_learnt_once() -> None:
    adapter = scripted(Answers())

    for _ in range(3):
        await adapter.find(new_token())

    assert len(asked(adapter, "id")) == 1
    assert all(argv[-2:] == ("-w", "user=ada") for argv in asked(adapter, "showq"))


# ── two ids for one job ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_with_another_number_below_is_known_by_its_name() -> None:
    adapter = scripted(Answers(squeue("99", "RUNNING")))

    found = await status(adapter, OWN)

    assert (found.id, found.state, found.source) == (OWN, JobState.RUNNING, "squeue 99")


async def test_the_same_number_below_is_not_believed_without_the_token() -> None:
    adapter = scripted(Answers(squeue("4217", "COMPLETED", f"x.{new_token()}") + squeue("4218", "RUNNING")))

    assert (await status(adapter)).state is JobState.RUNNING


async def test_a_job_that_moab_has_renamed_lives_on() -> None:
    adapter = scripted(Answers(showq=showq(active=row("99", manager="99", state="Running", StartTime="1553267313"))))

    assert (await status(adapter, OWN)).state is JobState.RUNNING


async def test_a_job_that_moab_has_not_handed_down_waits() -> None:
    adapter = scripted(Answers(showq=showq(eligible=row("Moab.17"))))

    found = await status(adapter, OWN)

    assert (found.state, found.reason, found.source) == (JobState.QUEUED, reasons.RESOURCES, "showq")
    assert await adapter.find(TOKEN) == (OWN,)


async def test_the_resource_manager_s_own_id_is_good_too() -> None:
    adapter = scripted(Answers(squeue("4217", "RUNNING"), scancel=CommandResult(0, b"", b"")))

    assert (await status(adapter, JobId("4217"))).state is JobState.RUNNING
    await adapter.cancel(JobId("4217"))
    assert asked(adapter, "scancel") == [("scancel", "4217")]
    with pytest.raises(InvalidRequest):
        await adapter.status(frozenset([JobId("no id")]))


async def test_twins_below_are_told_apart_by_moab() -> None:
    twins = showq(active=row("Moab.17", manager="8", state="Running") + row("Moab.18", manager="9", state="Idle"))
    adapter = scripted(Answers(squeue("8", "RUNNING") + squeue("9", "PENDING"), showq=twins))
    other = JobId(f"Moab.18:{TOKEN}")

    found = await adapter.status(frozenset([OWN, other]))

    assert (found[OWN].state, found[other].state) == (JobState.RUNNING, JobState.QUEUED)
    assert await adapter.find(TOKEN) == (OWN, other)
    await adapter.kill(other)
    assert asked(adapter, "scancel") == [("scancel", "9")]


@pytest.mark.parametrize(
    ("rows", "below", "expected"),
    [
        (row("4217", manager="4217"), squeue("4217", "PENDING"), (ID,)),
        (row("Moab.17", manager="99"), squeue("99", "PENDING"), (OWN,)),
        (row("Moab.17"), squeue("99", "PENDING"), (OWN,)),  # handed down between the two questions
        ("", squeue("4217", "PENDING"), (ID,)),
        (row("4217", name="x"), "", ()),
    ],
)
async def test_a_job_is_found_once(rows: str, below: str, expected: tuple[JobId, ...]) -> None:
    adapter = scripted(Answers(below, showq=showq(eligible=rows)))

    assert await adapter.find(TOKEN) == expected
    assert (await adapter.submissions()).get(TOKEN, ()) == expected


async def test_a_job_that_ended_at_once_is_found_where_moab_remembers_it() -> None:
    ended = completed(row("Moab.17", manager="99", state="Completed", CompletionCode="0"))

    assert await scripted(Answers(completed=ended)).find(TOKEN) == (OWN,)
    assert await scripted(Answers(squeue("99", "COMPLETED"), completed=ended)).find(TOKEN) == (OWN,)


@pytest.mark.parametrize("command", ["showq", "completed", "squeue"])
async def test_a_find_that_could_not_ask_everybody_says_so(command: str) -> None:
    with pytest.raises(SchedulerUnavailable):
        await scripted(Answers(**{command: DOWN})).find(TOKEN)


@pytest.mark.parametrize("kind", [MoabOverTorque, MoabOverTorqueWithItsOwnIds, MauiOverTorque])
async def test_a_torque_below_may_print_ids_without_its_server(
    make: Callable[..., FakeMoab], kind: type[FakeMoab]
) -> None:
    site = make(kind, display_job_server_suffix="False")
    token = new_token()
    id = await site.submit("exec sleep 60", token=token)

    await site.until(id, JobState.RUNNING)
    assert await site.adapter.find(token) == (id,)
    assert await site.adapter.submissions() == {token: (id,)}
    await site.adapter.kill(id)
    assert (await site.ended(id)).cause is EndCause.CANCELLED


async def test_which_twin_has_the_session_is_seen_by_its_number() -> None:
    adapter = scripted(Answers())

    assert adapter.is_same(ID, JobId("4217"))
    assert adapter.is_same(ID, JobId("4217.server"))
    assert adapter.is_same(JobId("4217.server"), JobId("4217.server"))
    assert not adapter.is_same(OWN, JobId("17"))


@pytest.mark.parametrize("name", ["", "renamed", f"x.{TOKEN}"])
async def test_a_job_whose_name_was_changed_is_alive_in_moab(name: str) -> None:
    rows = showq(active=row("Moab.17", manager="99", name=name, state="Running", SubmissionTime="1553267313"))

    found = await status(scripted(Answers(squeue("99", "RUNNING", "renamed"), showq=rows)), OWN)

    assert (found.state, found.submitted_at) == (JobState.RUNNING, datetime.fromtimestamp(1553267313, UTC))


async def test_so_it_is_below_where_moab_knows_nothing_of_it() -> None:
    assert (await status(scripted(Answers(squeue("4217", "RUNNING", "renamed"))))).state is JobState.RUNNING
    for over in (squeue("4217", "COMPLETED", "renamed"), squeue("4217", "RUNNING", f"x.{new_token()}")):
        assert (await status(scripted(Answers(over)))).state is JobState.GONE


async def test_when_a_job_was_handed_down_is_not_when_it_was_submitted() -> None:
    """Moab hands a job down when it starts it, or again: another time would make it another job."""
    assert (await status(scripted(Answers(squeue("4217", "RUNNING"))))).submitted_at is None

    waits = showq(eligible=row("4217", manager="4217", SubmissionTime="1553267313"))
    found = await status(scripted(Answers(squeue("4217", "PENDING"), showq=waits)))
    assert found.submitted_at == datetime.fromtimestamp(1553267313, UTC)


async def test_a_row_that_cannot_be_read_is_a_job_that_is_there() -> None:
    """It was dropped, and the session declared ended."""
    odd = f'<job JobID="Moab.17" JobName="x.{TOKEN}" State="Running" BlockReason="a "b" < c" User="ada"/>'

    for rows in (odd, '<job JobID="Moab.17" JobName=? State="Running"/>'):
        assert (await status(scripted(Answers(showq=showq(active=rows))), OWN)).state is JobState.RUNNING


# ── whose jobs ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_user_s_rows_are_none_of_ours_even_if_showq_lists_them() -> None:
    theirs = showq(active=row("Moab.17", manager="99", state="Running", User="mallory"))
    adapter = scripted(Answers(showq=theirs, completed=completed(row("Moab.18", User="mallory"))))

    assert await adapter.find(TOKEN) == ()
    assert await adapter.submissions() == {}
    assert (await status(adapter, OWN)).state is JobState.GONE


@pytest.mark.parametrize("kind", [MoabOverTorque, MoabOverTorqueWithItsOwnIds, MauiOverTorque])
async def test_another_user_s_job_of_that_name_is_none_of_ours(
    make: Callable[..., FakeMoab], kind: type[FakeMoab]
) -> None:
    site = make(kind)
    spec = site.spec()
    await site.submit_spec(spec)
    with site.simulation as simulation:
        simulation.jobs[1].user = "mallory"

    assert await site.adapter.find(spec.token) == ()
    assert await site.adapter.submissions() == {}


# ── requeue ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("requeue", [False, True])
@pytest.mark.parametrize("kind", [MoabOverSlurm, MoabOverTorque, MauiOverTorque])
async def test_a_job_whose_node_failed_runs_again_only_if_it_may(
    make: Callable[..., FakeMoab], kind: type[FakeMoab], requeue: bool
) -> None:
    site = make(kind)
    id = await site.submit(requeue=requeue)
    await site.until(id, JobState.RUNNING)
    site.drain()

    with site.simulation as simulation:
        simulation.fail_node(simulation.jobs[1])

    assert (await site.status(id)).state is (JobState.QUEUED if requeue else JobState.ENDED)


# ── the end of a job ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_how_a_job_ended_is_the_resource_manager_s_to_say(make: Callable[..., FakeMoab]) -> None:
    site = make(MoabWithItsOwnIds, purge="0")
    id = await site.submit("exit 3")

    status = await site.ended(id)

    assert (status.cause, status.source) == (EndCause.FAILED, f"squeue {int(id.split(':')[0][5:]) - 7}")


async def test_what_it_has_forgotten_moab_may_still_know(make: Callable[..., FakeMoab]) -> None:
    site = make(MoabOverSlurm)
    id = await site.submit("exit 3")
    await site.ended(id)
    ended = completed(row("Moab.17", manager="99", state="Completed", CompletionCode="3", CompletionTime="1553267313"))

    found = await status(scripted(Answers(completed=ended)), OWN)

    assert (found.state, found.cause, found.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert found.source == "showq"


async def test_what_moab_saw_end_is_looked_up_in_the_accounts_by_its_id_below() -> None:
    ended = completed(row("Moab.17", manager="99", state="Completed", CompletionCode="3"))
    account = f"99|ada|TIMEOUT|0:0|2026-11-22T15:20:28|2026-11-22T15:20:28|2026-11-22T15:30:29|n1|x.{TOKEN}\n"
    answers = Answers(completed=ended, sacct=CommandResult(0, account.encode(), b""))

    found = await status(scripted(answers, resource_manager_options={"accounting": True}), OWN)

    assert (found.cause, found.source) == (EndCause.WALLTIME, "sacct 99")


async def test_a_user_who_may_not_list_ended_jobs_gets_answers_all_the_same() -> None:
    adapter = scripted(Answers(completed=MAUI.result("15-showq-r")))

    assert (await status(adapter)).state is JobState.GONE
    assert await adapter.find(TOKEN) == ()


async def test_a_job_that_was_handed_down_twice_is_the_one_that_moab_has() -> None:
    again = showq(active=row("Moab.17", manager="9", state="Running"))
    adapter = scripted(Answers(squeue("8", "FAILED") + squeue("9", "RUNNING"), showq=again))

    found = await status(adapter, OWN)

    assert (found.state, found.source) == (JobState.RUNNING, "squeue 9")


async def test_a_job_that_nobody_knows_is_gone() -> None:
    assert (await status(scripted(Answers()))).state is JobState.GONE


# ── why a job waits ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_moab_says_why_a_job_waits_that_slurm_only_calls_held() -> None:
    below = squeue("4217", "PENDING", reason="JobHeldAdmin")
    found = await status(scripted(Answers(below, showq=showq(eligible=row("4217", manager="4217")))))

    assert (found.state, found.reason, found.source) == (JobState.QUEUED, reasons.RESOURCES, "showq")


@pytest.mark.parametrize("trouble", [DOWN, showq(), CommandResult(0, b"garbage", b"")])
async def test_without_moab_the_resource_manager_s_word_stands(trouble: CommandResult) -> None:
    adapter = scripted(Answers(squeue("4217", "PENDING", reason="Resources"), showq=trouble))

    found = await status(adapter)

    assert (found.state, found.reason, found.source) == (JobState.QUEUED, reasons.RESOURCES, "squeue")


async def test_without_moab_nothing_is_known_of_a_job_that_the_resource_manager_does_not_know() -> None:
    for command in ("showq", "completed"):
        with pytest.raises(SchedulerUnavailable, match="cannot send request"):
            await status(scripted(Answers(**{command: DOWN})))


async def test_a_mere_reason_is_not_waited_for_long() -> None:
    adapter = scripted(Answers(squeue("4217", "PENDING")))
    await status(adapter)
    await status(scripted(Answers()))

    assert isinstance(adapter.host, ScriptedHost)
    [command] = [command for command in adapter.host.commands if command.argv[0] == "showq"]
    assert command.deadline == PATIENCE


@pytest.mark.parametrize("by_admin", [False, True])
async def test_who_holds_a_job(make: Callable[..., FakeMoab], by_admin: bool) -> None:
    site = make()
    site.drain()
    id = await site.submit()
    with site.simulation as simulation:
        simulation.hold(simulation.jobs[1], by_admin=by_admin)

    found = await site.status(id)

    assert found.state is JobState.HELD
    assert found.reason == (reasons.HELD_BY_ADMIN if by_admin else reasons.HELD_BY_OWNER)


async def test_maui_is_asked_about_some_waiting_jobs_only() -> None:
    below = "".join(squeue(str(n), "PENDING") for n in range(20)) + squeue("99", "RUNNING")
    adapter = scripted(Answers(below, checkjob=MAUI.result("03-checkjob-idle")), submit="resource_manager")

    found = await adapter.status(frozenset([*(JobId(str(n)) for n in range(20)), JobId("99")]))

    assert len(asked(adapter, "checkjob")) == FEW
    assert sum(each.reason == reasons.RESOURCES for each in found.values()) == FEW


async def test_a_maui_that_does_not_answer_is_asked_once() -> None:
    below = "".join(squeue(str(n), "PENDING") for n in range(3))
    adapter = scripted(Answers(below, checkjob=MAUI.result("22-down-checkjob")), submit="resource_manager")

    found = await adapter.status(frozenset(JobId(str(n)) for n in range(3)))

    assert {each.state for each in found.values()} == {JobState.QUEUED}
    assert len(asked(adapter, "checkjob")) == 1


async def test_maui_says_why_a_job_waits(make: Callable[..., FakeMoab]) -> None:
    site = make(MauiOverSlurm)
    site.drain()
    id = await site.submit()
    with site.simulation as simulation:
        assert simulation.jobs[1].wait is Wait.NODES_AWAY

    assert (await site.status(id)).reason == reasons.RESOURCES


async def test_a_job_that_moab_put_off_is_held(make: Callable[..., FakeMoab]) -> None:
    site = make(MoabOverTorque)
    site.drain()
    id = await site.submit()
    with site.simulation as simulation:
        simulation.jobs[1].extra["deferred"] = "RMFailure  (cannot start job)"

    found = await site.status(id)

    assert (found.state, found.native_state, found.reason) == (JobState.HELD, "Deferred", TRYING_AGAIN)


async def test_maui_says_that_a_job_was_put_off_and_why(make: Callable[..., FakeMoab]) -> None:
    site = make(MauiOverTorque)
    site.drain()
    id = await site.submit()
    with site.simulation as simulation:
        simulation.jobs[1].extra["deferred"] = "RMFailure  (cannot start job - RM failure, rc: 15041)"

    found = await site.status(id)

    assert (found.state, found.native_state) == (JobState.HELD, "Deferred")
    assert found.reason == f"{TRYING_AGAIN} Maui says: RMFailure (cannot start job - RM failure, rc: 15041)."


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_moab_cancels_by_its_own_id() -> None:
    adapter = scripted(Answers(canceljob=CommandResult(0, b"\n\njob 'Moab.17' cancelled\n\n", b"")))

    await adapter.cancel(OWN)

    assert asked(adapter) == [("canceljob", "Moab.17")]


UNKNOWN = CommandResult(1, b"", b"ERROR:  invalid job specified (Moab.17)\n\n")


async def test_what_moab_does_not_know_is_cancelled_below() -> None:
    adapter = scripted(Answers(squeue("99", "RUNNING"), canceljob=UNKNOWN))

    await adapter.cancel(OWN)

    assert asked(adapter, "scancel") == [("scancel", "99")]


@pytest.mark.parametrize("below", ["", squeue("99", "COMPLETED")])
async def test_what_has_ended_is_left_alone(below: str) -> None:
    adapter = scripted(Answers(below, canceljob=UNKNOWN))

    await adapter.cancel(OWN)

    assert asked(adapter, "scancel") == []


async def test_a_twin_that_moab_has_under_another_id_is_not_cancelled() -> None:
    other = showq(active=row("Moab.18", manager="99", state="Running"))
    adapter = scripted(Answers(squeue("99", "RUNNING"), canceljob=UNKNOWN, showq=other))

    await adapter.cancel(OWN)

    assert asked(adapter, "scancel") == []


async def test_a_refusal_is_not_believed_for_a_job_that_has_ended() -> None:
    for words, kind in (("in state Completed", OutcomeUnknown), (": permission denied", CancelRefused)):
        refusal = CommandResult(1, b"", f"ERROR:    cannot cancel job '4217' {words}\n".encode())

        await scripted(Answers(squeue("4217", "COMPLETED"), canceljob=refusal)).cancel(ID)
        with pytest.raises(kind, match=words):
            await scripted(Answers(squeue("4217", "RUNNING"), canceljob=refusal)).cancel(ID)


async def test_somebody_else_s_job_is_not_cancelled(make: Callable[..., FakeMoab]) -> None:
    site = make()
    id = await site.submit()
    with site.simulation as simulation:
        job = simulation.jobs[1]
        uid, job.uid = job.uid, job.uid + 1

    with pytest.raises(CancelRefused, match="is not authorized to cancel job '1'"):
        await site.adapter.cancel(id)

    with site.simulation as simulation:
        simulation.jobs[1].uid = uid


async def test_the_resource_manager_has_the_harder_means() -> None:
    adapter = scripted(Answers(squeue("99", "RUNNING")))

    await adapter.kill(OWN)

    assert asked(adapter, "canceljob") == []
    assert asked(adapter, "scancel") == [("scancel", "99")]


async def test_what_it_does_not_know_moab_is_asked_to_cancel_again() -> None:
    adapter = scripted(Answers(canceljob=CommandResult(0, b"job 'Moab.17' cancelled\n", b"")))

    await adapter.kill(OWN)

    assert asked(adapter, "canceljob") == [("canceljob", "Moab.17")]


# ── as a whole ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_that_was_submitted_twice_keeps_the_job_that_runs_it(make: Callable[..., FakeMoab]) -> None:
    site = make()
    cluster = site.cluster()
    token = new_token()
    first = await site.submit(token=token, **site.held)
    job = await cluster.submit(JobSpec(token=token, command=("sleep", "60")))
    site.adopt(job.id)
    await site.until(job.id, JobState.RUNNING)
    await cluster.wait_for_start(job, 10, ready=lambda report: report.started)

    assert await site.adapter.find(token) == (first, job.id)
    assert await cluster.submission.choose(token, (first, job.id)) == job.id


async def test_showq_is_spared_while_a_session_runs(make: Callable[..., FakeMoab]) -> None:
    site = make()
    id = await site.submit()
    await site.until(id, JobState.RUNNING)
    before = len(faults.calls(site.simulation.directory, "showq"))

    for _ in range(3):
        await site.status(id)

    assert len(faults.calls(site.simulation.directory, "showq")) == before
