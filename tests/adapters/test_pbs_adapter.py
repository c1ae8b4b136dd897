"""The commands of both adapters: what the contract does not ask of every scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fxsched.errors import CommandNotFound, InvalidRequest, OutcomeUnknown, SchedulerUnavailable
from fxsched.hosts import CommandResult
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Token, new_token
from fxsched_fakes import faults
from fxsched_pbs.pbs import FEW, PbsAdapter
from fxsched_pbs.torque import TorqueAdapter

from .pbs_recorded import OPENPBS, TORQUE, forms
from .pbs_site import FakePbs, FakeTorque

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from fxsched.adapter import Adapter

pytestmark = pytest.mark.anyio


ONE = JobId("7.vm")
TOKEN = Token("abcdefghijklmnop2345")
EMPTY = OPENPBS.result("03-qstat-f-json-empty")
NO_HISTORY = OPENPBS.result("02-hist-off-qstat-x-f-json-finished")
ADAPTERS = pytest.mark.parametrize("kind", [PbsAdapter, TorqueAdapter])


def unknown(argv: list[str]) -> CommandResult:
    return CommandResult(153, EMPTY.stdout, f"qstat: Unknown Job Id {argv[-1]}\n".encode())


@pytest.fixture
async def pbs(home: Path, anyio_backend: object) -> AsyncIterator[FakePbs]:
    site = FakePbs(home)
    yield site
    await site.end_jobs()


@pytest.fixture
async def forgetful(home: Path, anyio_backend: object) -> AsyncIterator[FakePbs]:
    """OpenPBS as it is installed: without history."""
    site = FakePbs(home, forget_after=0)
    yield site
    await site.end_jobs()


@pytest.fixture
async def torque(home: Path, anyio_backend: object) -> AsyncIterator[FakeTorque]:
    site = FakeTorque(home)
    yield site
    await site.end_jobs()


@pytest.fixture
async def terse(home: Path, anyio_backend: object) -> AsyncIterator[FakeTorque]:
    """Torque that prints ids without its server."""
    site = FakeTorque(home, extra={"display_job_server_suffix": "False"})
    yield site
    await site.end_jobs()


def scripted(
    answer: Callable[[list[str]], CommandResult], kind: type[Adapter] = PbsAdapter, **options: Any
) -> tuple[Any, list[list[str]]]:
    """Return an adapter whose commands are answered so, and the list of its commands."""
    commands: list[list[str]] = []

    def run(command: Command) -> CommandResult:
        commands.append(list(command.argv))
        return answer(commands[-1])

    return kind(ScriptedHost(run), kind.Options(**options)), commands  # type: ignore[call-arg]


def spoilt(name: str) -> Callable[[list[str]], CommandResult]:
    """Return a qstat whose JSON cannot even be repaired, but whose text can be read."""
    as_json, as_text = forms(name)

    def answer(argv: list[str]) -> CommandResult:
        text = as_json.replace('"server":', '"ser"ver":') if "json" in argv else as_text
        return CommandResult(0, text.encode("utf-8", "surrogateescape"), b"")

    return answer


# ── OpenPBS: how it asks ──────────────────────────────────────────────────────────────────────────────────────────


async def test_one_job_is_asked_for_alone_with_history() -> None:
    adapter, commands = scripted(lambda _: OPENPBS.result("26-state-R-xt-json"))

    assert (await adapter.status(frozenset([JobId("287.vm")])))[JobId("287.vm")].state is JobState.RUNNING
    assert commands == [["qstat", "-x", "-f", "-F", "json", "287.vm"]]


@pytest.mark.parametrize("count", [FEW, FEW + 1, 1000])
async def test_many_jobs_that_have_ended_cost_two_lists(count: int) -> None:
    def answer(argv: list[str]) -> CommandResult:
        return EMPTY if argv[-1] == "json" else unknown(argv)

    adapter, commands = scripted(answer)
    ids = frozenset(JobId(f"{number}.vm") for number in range(count))

    found = await adapter.status(ids)

    assert {status.state for status in found.values()} == {JobState.GONE}
    assert found.keys() == ids
    assert len(commands) == (1 + count if count <= FEW else 2)
    assert max(map(len, commands)) <= 6


async def test_a_list_says_nothing_of_another_server_s_job() -> None:
    def answer(argv: list[str]) -> CommandResult:
        return CommandResult(153, b"", b"qstat: Unknown Job Id 9.vm\n") if argv[-1] == "9.vm@east" else EMPTY

    adapter, commands = scripted(answer)
    ids = frozenset([JobId("9.vm@east"), *(JobId(f"{number}.vm") for number in range(FEW + 1))])

    assert (await adapter.status(ids))[JobId("9.vm@east")].state is JobState.GONE
    assert commands[-1][-1] == "9.vm@east"


async def test_a_reply_without_the_job_is_no_answer() -> None:
    """It comes for jobs that are hidden from the user, and from an empty server."""
    adapter, _ = scripted(lambda _: OPENPBS.result("64-other-user-hidden-json"))

    with pytest.raises(SchedulerUnavailable, match="may be hidden"):
        await adapter.status(frozenset([ONE]))


async def test_a_server_that_is_down_prints_an_empty_document_and_that_is_no_answer() -> None:
    adapter, _ = scripted(lambda _: OPENPBS.result("50-down-qstat-x-json"))

    assert b"pbs_version" in OPENPBS.result("50-down-qstat-x-json").stdout
    for ids in ([ONE], [ONE, JobId("8.vm")]):
        with pytest.raises(SchedulerUnavailable, match="cannot connect to server"):
            await adapter.status(frozenset(ids))


async def test_a_json_that_cannot_be_read_is_asked_for_as_text() -> None:
    adapter, commands = scripted(spoilt("41-json-N-nan"))

    status = (await adapter.status(frozenset([JobId("350.vm")])))[JobId("350.vm")]

    assert (status.name, status.state) == ("nan", JobState.HELD)
    assert commands[-1] == ["qstat", "-x", "-f", "350.vm"]


async def test_a_json_that_cannot_be_read_and_no_job_in_the_text_is_no_answer() -> None:
    adapter, _ = scripted(lambda argv: CommandResult(0, b"busy\n" if "json" in argv else b"", b""))

    with pytest.raises(SchedulerUnavailable, match="cannot be read"):
        await adapter.status(frozenset([ONE, JobId("8.vm")]))


async def test_a_qstat_that_has_no_json_is_asked_for_text_ever_after() -> None:
    def answer(argv: list[str]) -> CommandResult:
        if "json" in argv:
            return CommandResult(2, b"", b"qstat: invalid option -- 'F'\nusage: \n")
        return OPENPBS.result("26-state-R-f")

    adapter, commands = scripted(answer)
    for _ in range(2):
        assert (await adapter.status(frozenset([JobId("287.vm")])))[JobId("287.vm")].state is JobState.RUNNING

    assert ["json" in argv for argv in commands] == [True, False, False]


async def test_that_there_is_no_history_is_learnt_once() -> None:
    adapter, commands = scripted(lambda argv: NO_HISTORY if "-x" in argv else unknown(argv))

    for _ in range(3):
        assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE

    assert ["-x" in argv for argv in commands[:4]] == [True, False, False, False]
    assert not any("-x" in argv for argv in commands[1:])


async def test_what_a_job_holds_is_no_word_of_the_server() -> None:
    text = OPENPBS.row("26-state-R-xt-json")["stdout"].replace("/home/alice", NO_HISTORY.stderr.decode().strip())
    adapter, commands = scripted(lambda _: CommandResult(0, text.encode(), b""))

    assert (await adapter.status(frozenset([JobId("287.vm")])))[JobId("287.vm")].state is JobState.RUNNING
    assert len(commands) == 1


async def test_without_history_a_token_is_looked_for_among_the_living() -> None:
    """qselect -x then says so on stderr, with exit status 0 and no id: which is no answer."""

    def answer(argv: list[str]) -> CommandResult:
        if argv[0] == "id":
            return CommandResult(0, b"ada\n", b"")
        if "-x" in argv:
            return CommandResult(0, b"", b"qselect: PBS is not configured to maintain job history\n")
        return CommandResult(0, b"4.vm\n", b"")

    adapter, commands = scripted(answer)

    assert await adapter.find(TOKEN) == ("4.vm",)
    own = ["-u", "ada", "-N", f"fxsched.{TOKEN}"]
    assert commands[1:] == [["qselect", "-x", *own], ["qselect", *own]]


async def test_a_job_that_will_not_end_is_forced() -> None:
    adapter, commands = scripted(lambda _: CommandResult(0, b"", b""))

    await adapter.cancel(ONE)
    await adapter.kill(ONE)

    assert commands == [["qdel", "7.vm"], ["qdel", "-W", "force", "7.vm"]]


ARRAY = OPENPBS.row("30-array-parent")["cmd"].split("'")[1]


@pytest.mark.parametrize("form", ["291", "291.vm"])
async def test_the_bare_id_of_an_array_is_the_array(form: str) -> None:
    """qstat itself does not know it."""
    assert ARRAY == "291[].vm"

    def answer(argv: list[str]) -> CommandResult:
        return OPENPBS.result("30-array-parent") if "[]" in argv[-1] else unknown(argv)

    adapter, _ = scripted(answer)

    status = (await adapter.status(frozenset([JobId(form)])))[JobId(form)]

    assert (status.id, status.state, status.native_state) == (form, JobState.RUNNING, "B")


async def test_a_server_that_knows_no_arrays_has_no_such_job() -> None:
    words = {PbsAdapter: "illegally formed job identifier: 7[].vm", TorqueAdapter: "Unknown Array ID MSG=none 7[].vm"}
    for kind, said in words.items():

        def answer(argv: list[str], said: str = said) -> CommandResult:
            return CommandResult(1, b"", f"qstat: {said}\n".encode()) if "[]" in argv[-1] else unknown(argv)

        adapter, _ = scripted(answer, kind)
        assert (await adapter.status(frozenset([ONE])))[ONE].state is JobState.GONE


# ── OpenPBS: on the simulated one ─────────────────────────────────────────────────────────────────────────────────


async def test_ended_jobs_are_remembered_while_there_is_history(pbs: FakePbs) -> None:
    ids = [await pbs.submit(f"exit {code}") for code in (0, 3)]
    for id in ids:
        await pbs.ended(id)

    found = await pbs.adapter.status(frozenset(ids))

    assert [(found[id].cause, found[id].exit_code) for id in ids] == [(EndCause.COMPLETED, 0), (EndCause.FAILED, 3)]


async def test_without_history_the_cluster_takes_the_job_s_own_word_for_its_end(forgetful: FakePbs) -> None:
    cluster = forgetful.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sh", "-c", "exit 3")))
    await forgetful.until(job.id, JobState.GONE)

    status = (await cluster.status([job.id], max_age=0))[job.id]

    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)
    assert status.source == "session"


async def test_without_history_a_live_job_is_seen_and_found(forgetful: FakePbs) -> None:
    spec = forgetful.spec()
    id = await forgetful.submit_spec(spec)

    status = await forgetful.until(id, JobState.RUNNING)

    assert status.name == f"fxsched.{spec.token}"
    assert await forgetful.adapter.find(spec.token) == (id,)
    assert await forgetful.adapter.submissions() == {spec.token: (id,)}


async def test_somebody_s_job_that_spoils_the_json_hides_no_other(pbs: FakePbs) -> None:
    ids = [await pbs.submit(), await pbs.submit()]
    with pbs.simulation as simulation:
        job = simulation.jobs[int(ids[0].partition(".")[0])]
        simulation.submit(type(job)(**{**job.as_json(), "name": "inf", "runner": None, "pid": None}), b"true\n", {})

    found = await pbs.adapter.status(frozenset(ids))

    assert all(status.state in (JobState.QUEUED, JobState.RUNNING) for status in found.values())


async def test_without_history_a_waiting_job_that_was_cancelled_was_cancelled(forgetful: FakePbs) -> None:
    """PBS takes the cancel, and does not know the job from then on."""
    cluster = forgetful.cluster()
    job = await cluster.submit(JobSpec(token=new_token(), command=("sleep", "60"), native=("-h",)))

    done = await cluster.cancel(job.id)

    assert (await forgetful.status(job.id)).state is JobState.GONE
    assert (done.status.state, done.status.cause) == (JobState.ENDED, EndCause.CANCELLED)


# ── Torque ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_torque_is_asked_for_one_job_or_for_all() -> None:
    adapter, commands = scripted(lambda _: TORQUE.result("36-qstat-x"), TorqueAdapter)

    assert (await adapter.status(frozenset([JobId("3.vm")])))[JobId("3.vm")].exit_code == 3
    found = await adapter.status(frozenset(JobId(f"{number}.vm") for number in range(1000)))

    assert commands == [["qstat", "-x", "3.vm"], ["qstat", "-x"]]
    assert [id for id, status in found.items() if status.state is not JobState.GONE] == ["3.vm"]


async def test_torque_without_a_job_prints_nothing() -> None:
    adapter, _ = scripted(lambda _: CommandResult(0, b"", b""), TorqueAdapter)

    found = await adapter.status(frozenset([ONE, JobId("8.vm")]))

    assert {status.state for status in found.values()} == {JobState.GONE}
    with pytest.raises(SchedulerUnavailable, match="cannot be read"):
        await adapter.status(frozenset([ONE]))  # asked for a job, it has something to say


@pytest.mark.parametrize("name", ["93-server-down-qstat-x", "95-trqauthd-down-qstat"])
async def test_a_torque_that_cannot_be_reached_is_no_answer(name: str) -> None:
    adapter, _ = scripted(lambda _: TORQUE.result(name), TorqueAdapter)

    for ids in ([ONE], [ONE, JobId("8.vm")]):
        with pytest.raises(SchedulerUnavailable, match="cannot connect to server"):
            await adapter.status(frozenset(ids))


async def test_a_torque_job_is_remembered_for_a_while(torque: FakeTorque) -> None:
    spec = torque.spec("exit 3")
    id = await torque.submit_spec(spec)

    assert (await torque.ended(id)).exit_code == 3
    assert await torque.adapter.submissions() == {spec.token: (id,)}

    with torque.faults({"command": "qstat", "fault": "forget"}):
        assert (await torque.status(id)).state is JobState.GONE


async def test_a_torque_that_prints_ids_without_its_server(terse: FakeTorque) -> None:
    spec = terse.spec("exec sleep 60")
    id = await terse.submit_spec(spec)
    held = await terse.submit(**terse.held)

    await terse.until(id, JobState.RUNNING)
    assert (id, held) == ("1", "2")
    assert await terse.adapter.find(spec.token) == (id,)
    assert (await terse.adapter.submissions())[spec.token] == (id,)
    found = await terse.adapter.status(frozenset([id, held, JobId("99")]))
    assert [found[each].state for each in (id, held, JobId("99"))] == [JobState.RUNNING, JobState.HELD, JobState.GONE]
    await terse.adapter.cancel(id)
    assert (await terse.ended(id)).cause is EndCause.CANCELLED


async def test_a_torque_job_deleted_before_it_ran_was_cancelled(torque: FakeTorque) -> None:
    id = await torque.submit(**torque.held)

    await torque.adapter.cancel(id)

    assert (await torque.status(id)).cause is EndCause.CANCELLED


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@ADAPTERS
async def test_the_script_goes_to_standard_input_and_into_no_word_of_the_command(kind: type[Adapter]) -> None:
    adapter, commands = scripted(lambda _: CommandResult(0, b"7.vm\n", b""), kind)
    script = b"#!/bin/sh\n# unheard-of\n"

    assert await adapter.submit(JobSpec(token=TOKEN, script=script)) == "7.vm"

    [command] = adapter.host.commands
    assert command.stdin.endswith(script)
    assert "unheard-of" not in " ".join(commands[0])


@ADAPTERS
async def test_the_site_s_own_options_come_before_the_profile_s(kind: type[Adapter]) -> None:
    adapter, commands = scripted(lambda _: CommandResult(0, b"7.vm\n", b""), kind, native=("-p", "1"))

    await adapter.submit(JobSpec(token=TOKEN, native=("-p", "2")))

    assert commands[0][-4:] == ["-p", "1", "-p", "2"]


@ADAPTERS
async def test_times_are_asked_for_in_utc(kind: type[Adapter]) -> None:
    adapter, _ = scripted(unknown, kind)

    await adapter.status(frozenset([ONE]))

    assert {command.environment["TZ"] for command in adapter.host.commands} == {"UTC"}


@ADAPTERS
@pytest.mark.parametrize(
    "id", ["", "abc", "1,2", "-1", "1 2", "1;2", "1\n2", "٤٢", "all", "7.", "7.vm@", "workq", "@vm"]
)
async def test_what_cannot_be_an_id_is_refused_before_pbs_hears_of_it(kind: type[Adapter], id: str) -> None:
    adapter, commands = scripted(lambda _: EMPTY, kind)

    with pytest.raises(InvalidRequest, match="job id"):
        await adapter.status(frozenset([JobId(id)]))
    with pytest.raises(InvalidRequest, match="job id"):
        await adapter.cancel(JobId(id))
    assert commands == []


@ADAPTERS
@pytest.mark.parametrize("id", ["7", "7.vm", "7.vm-2.example.org", "7[].vm", "7[12].vm", "7.vm@vm"])
async def test_every_form_of_an_id_is_taken(kind: type[Adapter], id: str) -> None:
    adapter, commands = scripted(lambda _: CommandResult(0, b"", b""), kind)

    await adapter.cancel(JobId(id))

    assert commands == [["qdel", id]]


async def test_a_command_that_is_not_there_is_named(pbs: FakePbs) -> None:
    adapter = pbs.connect()
    adapter.options.commands.update(qsub="/no/qsub", qstat="/no/qstat")

    with pytest.raises(CommandNotFound, match="/no/qsub"):
        await adapter.submit(pbs.spec())
    with pytest.raises(SchedulerUnavailable, match="/no/qstat"):
        await adapter.status(frozenset([ONE]))


@pytest.mark.parametrize(("fault", "jobs"), [("hang", 0), ("accept-then-hang", 1)])
async def test_a_qsub_that_hangs_leaves_the_outcome_open(pbs: FakePbs, fault: str, jobs: int) -> None:
    spec = pbs.spec()

    with pbs.faults({"command": "qsub", "fault": fault}), pytest.raises(OutcomeUnknown, match="did not answer"):
        await pbs.connect(submit_deadline=1.0).submit(spec)

    found = await pbs.adapter.find(spec.token)
    pbs.adopt(*found)
    assert len(found) == jobs


async def test_a_poll_of_many_living_jobs_is_one_command(pbs: FakePbs) -> None:
    ids = [await pbs.submit(**pbs.held) for _ in range(3)]
    before = len(faults.calls(pbs.simulation.directory, "qstat"))

    found = await pbs.adapter.status(frozenset(ids))

    assert {status.state for status in found.values()} == {JobState.HELD}
    assert len(faults.calls(pbs.simulation.directory, "qstat")) == before + 1


# ── whose jobs, and how often ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=[FakePbs, FakeTorque])
async def site(request: pytest.FixtureRequest, home: Path, anyio_backend: object) -> AsyncIterator[FakePbs]:
    site = request.param(home)
    yield site
    await site.end_jobs()


def give_away(site: FakePbs, id: JobId, user: str) -> None:
    """Make a job another user's, as if that one had submitted it."""
    with site.simulation as simulation:
        simulation.jobs[int(id.partition(".")[0])].user = user


async def test_another_user_s_job_of_that_name_is_none_of_ours(site: FakePbs) -> None:
    """Everybody reads our tokens in the list of processes, and may give any name to a job."""
    spec = site.spec()
    theirs = await site.submit_spec(spec)
    give_away(site, theirs, "mallory")

    assert await site.adapter.find(spec.token) == ()
    assert await site.adapter.submissions() == {}

    ours = await site.submit_spec(spec)
    assert await site.adapter.find(spec.token) == (ours,)
    assert await site.adapter.submissions() == {spec.token: (ours,)}


async def test_who_we_are_is_asked_once_and_behind_a_banner() -> None:
    def answer(argv: list[str]) -> CommandResult:
        return CommandResult(0, b"Welcome.\nada@example.org\n" if argv[0] == "id" else b"", b"")

    adapter, commands = scripted(answer, TorqueAdapter)
    for _ in range(2):
        assert await adapter.find(TOKEN) == ()

    assert commands == [["id", "-un"], *[["qselect", "-u", "ada", "-N", f"fxsched.{TOKEN}"]] * 2]


async def test_without_a_name_nothing_is_found_out() -> None:
    unnamed = CommandResult(1, b"", b"id: cannot find name for user ID 1234\n")
    adapter, _ = scripted(lambda argv: unnamed if argv[0] == "id" else EMPTY)

    for question in (adapter.find(TOKEN), adapter.submissions()):
        with pytest.raises(SchedulerUnavailable, match="who we are"):
            await question


@pytest.mark.parametrize("requeue", [False, True])
async def test_a_job_whose_node_failed_runs_again_only_if_it_may(site: FakePbs, requeue: bool) -> None:
    id = await site.submit(requeue=requeue)
    before = await site.until(id, JobState.RUNNING)
    site.drain()

    with site.simulation as simulation:
        simulation.fail_node(simulation.jobs[1])

    status = await site.status(id)
    assert status.state is (JobState.QUEUED if requeue else JobState.ENDED)
    assert status.submitted_at == before.submitted_at
    if not requeue:
        assert status.cause in (EndCause.NODE_FAILURE, EndCause.FAILED)


async def test_a_qdel_that_could_not_reach_the_node_may_have_worked(site: FakePbs) -> None:
    id = await site.submit()
    for number in (222, 224):
        words = f"qdel: Server could not connect to MOM {id}\n"
        plan = {"command": "qdel", "fault": "fail", "rc": number, "stderr": words}
        with site.faults(plan), pytest.raises(OutcomeUnknown, match="could not connect to MOM"):
            await site.adapter.cancel(id)


IFF = "pbs_iff: cannot connect to host\npbs_iff: all reserved ports in use\n{0}: Invalid credential\n"


async def test_a_client_that_cannot_say_who_it_is_has_asked_for_nothing(site: FakePbs) -> None:
    id = await site.submit()
    plans = [{"command": name, "fault": "fail", "rc": 171, "stderr": IFF.format(name)} for name in ("qsub", "qdel")]

    with site.faults(*plans):
        with pytest.raises(SchedulerUnavailable, match=r"Invalid credential\. No job was submitted"):
            await site.adapter.submit(site.spec())
        with pytest.raises(SchedulerUnavailable, match=r"Invalid credential\. Nothing was cancelled"):
            await site.adapter.cancel(id)
