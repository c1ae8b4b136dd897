"""The promises: exactly one job, three answers, a cause for every end, a cancel that is verified."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
from msgspec.structs import replace

from fxsched.cluster import cluster as verbs
from fxsched.cluster import polling, submission
from fxsched.cluster.cluster import Cancellation, Cluster, Job
from fxsched.cluster.opening import open_cluster
from fxsched.cluster.reconcile import settle_cut_off
from fxsched.cluster.submission import AT_ONCE
from fxsched.cluster.timing import Timing
from fxsched.errors import (
    CancelRefused,
    CancelUnverified,
    CommandNotFound,
    ConfigurationError,
    HostUnreachable,
    InvalidRequest,
    LedgerError,
    OutcomeUnknown,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUnsettled,
)
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.opening import HostSettings
from fxsched.hosts.scripted import ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, JobStatus, Secret, SessionWait, Token, new_token
from fxsched.records.files import now
from fxsched.records.ledger import KEEP_ENDED, Entry, Ledger, Owner
from fxsched.session import here
from fxsched.session.directory import Report

from .memory_adapter import MemoryAdapter, Trouble

pytestmark = pytest.mark.anyio

SHORT = Timing(launch=0.6, settle_pause=0.01, cancel=0.3, poll_interval=0.0, gone_after=0.0, settle_start=0.2)
PATIENT = replace(SHORT, poll_interval=10.0, gone_after=10.0)
NO_ANSWER = OutcomeUnknown("sbatch did not answer within 30 s")
DOWN = SchedulerUnavailable("slurmctld is down")
GONE_LONG_AGO = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def adapter(host: LocalHost) -> MemoryAdapter:
    return MemoryAdapter(host)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state")


@pytest.fixture
def cluster(adapter: MemoryAdapter, ledger: Ledger) -> Cluster:
    return Cluster("hpc", adapter, ledger, timing=SHORT)


@pytest.fixture
def patient(adapter: MemoryAdapter, ledger: Ledger) -> Cluster:
    """A cluster that is not asked all the time."""
    return Cluster("hpc", adapter, ledger, timing=PATIENT)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, for the cluster's records."""
    moment = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    for place in (verbs, polling, submission):
        monkeypatch.setattr(place, "now", lambda: moment[0])

    def pass_time(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    return pass_time


def a_spec(**members: Any) -> JobSpec:
    return JobSpec(token=new_token(), name="mine", command=("true",), **members)


def session(home: Path, token: Token) -> Path:
    return home / ".local/state/fxsched/sessions" / token


def report(home: Path, token: Token, **reports: str) -> None:
    """Let the job say something of itself."""
    for name, text in reports.items():
        (session(home, token) / name).write_text(f"{text}\n")


def sessions(home: Path) -> list[str]:
    return [path.name for path in home.glob(".local/state/fxsched/sessions/*")]


def age(ledger: Ledger, token: Token, seconds: float) -> None:
    """Let an entry have ended that long ago."""
    past = time.time() - seconds
    os.utime(ledger.state / "ledger" / "ended" / f"{token}.json", (past, past))


def live(ledger: Ledger) -> list[Entry]:
    return list(ledger.live("hpc"))


# ── submit ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_submission_is_one_job_and_one_entry(cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger) -> None:
    spec = a_spec()
    job = await cluster.submit(spec)
    assert job == Job(id=JobId("1"), token=spec.token, cluster="hpc")
    assert [(entry.job, entry.token, entry.name, entry.status) for entry in live(ledger)] == [
        ("1", spec.token, "mine", None)
    ]
    assert len(adapter.jobs) == 1


async def test_the_entry_and_the_session_are_on_disk_before_the_scheduler_hears_of_the_job(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    seen: list[Any] = []

    async def look() -> None:
        seen.extend([(entry.token, entry.job) for entry in live(ledger)])
        seen.extend(sorted(path.name for path in session(home, spec.token).iterdir()))

    adapter.during_submit = look
    spec = a_spec()
    await cluster.submit(spec)
    assert seen == [(spec.token, None), "command", "stdin"]


async def test_the_adapter_sees_nothing_that_is_private(cluster: Cluster, adapter: MemoryAdapter, home: Path) -> None:
    private: dict[str, Any] = {
        "command": ("MARKER",),
        "body": "MARKER",
        "stdin": b"MARKER",
        "environment": {"MARKER": "MARKER"},
        "secrets": {"MARKER": Secret("MARKER")},
        "working_directory": "/MARKER",
        "output": "/MARKER",
    }
    spec = JobSpec(
        token=new_token(), name="mine", queue="gpu", native=("-x",), wait_for_session=SessionWait.PROCESSES, **private
    )
    await cluster.submit(spec)
    (seen,) = adapter.specs
    assert "MARKER" not in repr(seen)
    assert not [name for name, secret in seen.secrets.items() if secret.reveal()]
    assert (seen.token, seen.name, seen.queue, seen.native) == (spec.token, "mine", "gpu", ("-x",))
    directory = str(session(home, spec.token))
    assert (seen.working_directory, seen.output) == (directory, f"{directory}/job.log")
    assert directory.encode() in seen.script
    assert b"MEMORY_JOB" in seen.script
    assert b"MEMORY_UNWANTED" in seen.script


async def test_a_job_inherits_no_variable_that_its_scheduler_sets(cluster: Cluster, home: Path) -> None:
    spec = a_spec(environment={"MEMORY_JOB": "outer", "MEMORIES": "kept"})
    await cluster.submit(spec)
    command = (session(home, spec.token) / "command").read_text()
    assert ("MEMORY_JOB" in command, "MEMORIES=kept" in command) == (False, True)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (SubmitRejected("no such queue"), "Ask for something else"),
        (SubmitRejected("it was checked against the limits."), "Ask for something else"),
        (DOWN, "Try again later"),
        (CommandNotFound("no sbatch"), "See to the cluster's options.commands"),
        (HostUnreachable("no way"), "Try again later"),
    ],
    ids=repr,
)
async def test_a_submit_that_made_no_job_leaves_nothing(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, error: Exception, advice: str
) -> None:
    adapter.plan("submit", error)
    with pytest.raises(type(error)) as caught:
        await cluster.submit(a_spec())
    assert (type(caught.value), caught.value.what) == (type(error), str(error))
    assert str(caught.value).startswith(f"cluster 'hpc': {str(error).removesuffix('.')}. {advice}")
    assert (live(ledger), sessions(home), len(adapter.asked("submit"))) == ([], [], 1)


async def test_a_home_that_cannot_be_written_stops_a_submission(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    (home / ".local").write_text("no directory")
    with pytest.raises(HostUnreachable, match="the session's directory cannot be used"):
        await cluster.submit(a_spec())
    assert (live(ledger), adapter.calls) == ([], [])


async def test_a_ledger_that_cannot_be_written_stops_a_submission(
    adapter: MemoryAdapter, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "state").write_text("no directory")
    with pytest.raises(LedgerError):
        await Cluster("hpc", adapter, Ledger(tmp_path / "state"), timing=SHORT).submit(a_spec())
    assert (sessions(home), adapter.calls) == ([], [])


async def test_a_request_that_cannot_be_written_down_stops_a_submission(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        await cluster.submit(a_spec(environment={"A": "\0"}))
    assert (live(ledger), sessions(home), adapter.calls) == ([], [], [])


async def test_a_job_whose_id_cannot_be_recorded_is_kept_and_found_by_its_token(
    cluster: Cluster,
    adapter: MemoryAdapter,
    ledger: Ledger,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Entry) -> NoReturn:
        raise LedgerError("No space left on device")

    async def fill_the_disk() -> None:
        full.setattr(ledger, "write", fail)

    adapter.during_submit = fill_the_disk
    spec = a_spec()
    with monkeypatch.context() as full:
        job = await cluster.submit(spec)
    assert (job.id, adapter.jobs[job.id].state, adapter.asked("cancel")) == ("1", JobState.QUEUED, [])
    assert [(entry.token, entry.job) for entry in live(ledger)] == [(spec.token, None)]
    assert sessions(home) == [spec.token]
    assert f"{spec.token}: job 1 is not in the ledger by its id: No space left on device" in caplog.text
    assert (await cluster.status([job.id]))[job.id].state is JobState.QUEUED

    assert await settle_cut_off(cluster) == []  # while its launch lives, it is nobody else's business
    monkeypatch.setattr(Owner, "lives", lambda _: False)
    await settle_cut_off(cluster)
    assert [(entry.token, entry.job, entry.owner) for entry in live(ledger)] == [(spec.token, "1", None)]
    assert (len(adapter.jobs), adapter.asked("cancel")) == (1, [])


async def test_a_submission_on_another_host_is_nobody_s_business_while_it_may_go_on(
    cluster: Cluster, ledger: Ledger
) -> None:
    entry = Entry(
        token=new_token(), cluster="hpc", name="x", submitted_at=now(), owner=Owner(host="other", pid=1, ticks="1")
    )
    for seconds, settled in ((cluster.timing.launch * 2 + 30, 0), (cluster.timing.over + 1, 1)):
        ledger.write(replace(entry, submitted_at=now() - timedelta(seconds=seconds)))
        assert len(await settle_cut_off(cluster)) == settled


@pytest.mark.parametrize("late", ["entry", "session"])
async def test_files_that_are_written_too_late_are_taken_back(
    adapter: MemoryAdapter, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    thawed = threading.Event()
    place, name = (Ledger, "create") if late == "entry" else (here, "stage")
    function = getattr(place, name)

    def frozen(*arguments: Any) -> object:
        assert thawed.wait(20)
        return function(*arguments)

    monkeypatch.setattr(place, name, frozen)
    monkeypatch.setattr("fxsched.session.directory.DEADLINE", 0.2)
    cluster = Cluster("hpc", adapter, ledger, timing=SHORT)
    with pytest.raises(HostUnreachable, match=r"does not answer within 0\.2 s"):
        await cluster.submit(a_spec())
    thawed.set()
    monkeypatch.undo()
    with anyio.fail_after(20):
        await cluster.submit(spec := a_spec())  # the thread of the first one is over when this one has its turn
        while [entry.token for entry in live(ledger)] != [spec.token] or sessions(home) != [spec.token]:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("far", [False, True])
async def test_a_session_of_the_same_token_from_elsewhere_is_left_alone(
    host: LocalHost, ledger: Ledger, home: Path, tmp_path: Path, far: bool
) -> None:
    host.home = None if far else host.home
    spec = a_spec()
    await Cluster("hpc", MemoryAdapter(host), ledger, timing=SHORT).submit(spec)
    before = sorted(path.name for path in session(home, spec.token).iterdir())
    other = Ledger(tmp_path / "elsewhere")
    with pytest.raises(HostUnreachable, match="exists"):
        await Cluster("hpc", MemoryAdapter(host), other, timing=SHORT).submit(spec)
    assert sorted(path.name for path in session(home, spec.token).iterdir()) == before == ["command", "stdin"]
    assert live(other) == []


async def test_a_name_that_no_file_can_hold_hinders_nobody(cluster: Cluster, ledger: Ledger) -> None:
    async with anyio.create_task_group() as tasks:
        for name in ("a", "J\udcfcrgen", "b"):
            tasks.start_soon(cluster.submit, replace(a_spec(), name=name))
    assert sorted(entry.name for entry in live(ledger)) == ["J?rgen", "a", "b"]


async def test_a_submit_that_leaves_no_time_to_look_for_its_job_is_not_begun(
    adapter: MemoryAdapter, ledger: Ledger
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, launch=1.0, settle_pause=0.15))
    adapter.during_submit = anyio.sleep_forever
    with pytest.raises(SchedulerUnavailable, match="answered none of 1 submissions, and none of them made a job"):
        await cluster.submit(a_spec())
    assert (live(ledger), adapter.jobs) == ([], {})


# ── submit, unanswered ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_whose_submit_was_not_answered_is_found_and_adopted(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=1))
    spec = a_spec()
    job = await cluster.submit(spec)
    assert (job.id, adapter.asked("submit"), adapter.asked("find")) == ("1", [spec.token], [spec.token])
    assert [entry.job for entry in live(ledger)] == ["1"]


async def test_of_twins_the_first_is_kept_and_the_others_are_cancelled(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=3))
    assert (await cluster.submit(a_spec())).id == "1"
    assert adapter.asked("cancel") == ["2", "3"]
    assert [job.state for job in adapter.jobs.values()] == [JobState.QUEUED, JobState.ENDED, JobState.ENDED]


@pytest.mark.parametrize("error", [CancelRefused("not yours"), DOWN, NO_ANSWER, HostUnreachable("no way")], ids=repr)
async def test_a_twin_that_cannot_be_cancelled_is_left_to_the_session_s_lock(
    cluster: Cluster, adapter: MemoryAdapter, error: Exception
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=3))
    adapter.plan("cancel", error)
    assert (await cluster.submit(a_spec())).id == "1"
    assert adapter.asked("cancel") == ["2", "3"]


async def test_a_job_that_is_proven_not_to_exist_is_submitted_again(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    adapter.plan("submit", NO_ANSWER)
    assert (await cluster.submit(a_spec())).id == "1"
    assert (len(adapter.asked("submit")), len(adapter.asked("find")), len(adapter.jobs)) == (2, 2, 1)


async def test_one_answer_that_there_is_none_proves_nothing(cluster: Cluster, adapter: MemoryAdapter) -> None:
    # The scheduler has the job, but shows it only in its second answer.
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=1))
    find = adapter.find

    async def late(token: Token) -> tuple[JobId, ...]:
        found = await find(token)
        return found if len(adapter.asked("find")) > 1 else ()

    adapter.find = late  # type: ignore[method-assign]
    assert (await cluster.submit(a_spec())).id == "1"
    assert (len(adapter.asked("submit")), len(adapter.jobs)) == (1, 1)


async def test_a_scheduler_that_cannot_be_asked_for_a_while_is_asked_again(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=1))
    adapter.plan("find", DOWN)
    assert (await cluster.submit(a_spec())).id == "1"
    assert len(adapter.asked("find")) == 2


async def test_a_scheduler_that_answers_no_submission_is_given_up(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    adapter.plan("submit", NO_ANSWER, NO_ANSWER, NO_ANSWER)
    with pytest.raises(SchedulerUnavailable, match="answered none of 3 submissions, and none of them made"):
        await cluster.submit(a_spec())
    assert (live(ledger), sessions(home), len(adapter.asked("submit"))) == ([], [], 3)


async def test_what_cannot_be_settled_stays_in_the_ledger_and_is_not_submitted_again(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=1))
    adapter.plan("find", *[DOWN] * 100)
    spec = a_spec()
    told = f"did not answer within 30 s. Whether there is a job {spec.token} could not be found out"
    with pytest.raises(SubmitUnsettled, match=f"{told} within 0.6 s.*fxsched reconcile --fix"):
        await cluster.submit(spec)
    assert [(entry.token, entry.job, entry.owner) for entry in live(ledger)] == [(spec.token, None, None)]
    assert (sessions(home), len(adapter.asked("submit"))) == ([spec.token], 1)


# ── submit, interrupted ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_that_is_cancelled_during_the_submit_leaves_no_job(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, tmp_path: Path
) -> None:
    submitting, go_on = anyio.Event(), anyio.Event()

    async def wait() -> None:
        submitting.set()
        await go_on.wait()

    adapter.during_submit = wait
    returned = False
    async with anyio.create_task_group() as tasks:

        async def submit() -> None:
            nonlocal returned
            await cluster.submit(a_spec())
            returned = True

        tasks.start_soon(submit)
        await submitting.wait()
        tasks.cancel_scope.cancel()
        go_on.set()
    assert (returned, adapter.asked("cancel"), adapter.jobs[JobId("1")].state) == (False, ["1"], JobState.ENDED)
    (entry,) = ledger.by_job("hpc", frozenset([JobId("1")])).values()
    assert (live(ledger), entry.status and entry.status.cause) == ([], EndCause.CANCELLED)


class GatedHost(LocalHost):
    """A host that is reached by commands only, the first of which waits to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.home = None
        self.waiting = anyio.Event()
        self.gate = anyio.Event()

    async def run(self, argv: Any, **options: Any) -> CommandResult:
        if not self.waiting.is_set():
            self.waiting.set()
            await self.gate.wait()
        return await super().run(argv, **options)


async def test_a_caller_that_is_cancelled_before_the_submit_leaves_nothing(home: Path, ledger: Ledger) -> None:
    host = GatedHost()
    adapter = MemoryAdapter(host)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Cluster("hpc", adapter, ledger, timing=SHORT).submit, a_spec())
        await host.waiting.wait()
        assert len(live(ledger)) == 1
        tasks.cancel_scope.cancel()
    assert (live(ledger), sessions(home), adapter.calls) == ([], [], [])


async def test_a_caller_that_is_cancelled_while_files_are_written_leaves_nothing(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = anyio.Event()
    stage = here.stage

    def slowly(directory: Path, command: bytes, stdin: bytes) -> None:
        anyio.from_thread.run_sync(begun.set)
        time.sleep(0.1)
        stage(directory, command, stdin)

    monkeypatch.setattr(here, "stage", slowly)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cluster.submit, a_spec())
        await begun.wait()
        assert len(live(ledger)) == 1
        tasks.cancel_scope.cancel()
    await anyio.sleep(0.2)  # a thread that nobody waited for would have written by now
    assert (live(ledger), sessions(home), adapter.calls) == ([], [], [])


# ── submit, many at once ──────────────────────────────────────────────────────────────────────────────────────────


class Crowd:
    """Submits that stay at the scheduler until they are let go; how many there were at once is counted."""

    def __init__(self, adapter: MemoryAdapter) -> None:
        self.there = self.most = 0
        self.full, self.gate = anyio.Event(), anyio.Event()
        adapter.during_submit = self.stay

    async def stay(self) -> None:
        self.there += 1
        self.most = max(self.most, self.there)
        if self.there == AT_ONCE:
            self.full.set()
        await self.gate.wait()
        self.there -= 1


async def test_of_many_submissions_a_few_are_at_the_scheduler_at_once_and_all_become_jobs(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    crowd = Crowd(adapter)
    jobs: dict[Token, JobId] = {}

    async def submit() -> None:
        job = await cluster.submit(a_spec())
        jobs[job.token] = job.id

    async with anyio.create_task_group() as tasks:
        for _ in range(5 * AT_ONCE):
            tasks.start_soon(submit)
        await crowd.full.wait()
        while len(live(ledger)) < 5 * AT_ONCE:  # those that wait are on record already
            await anyio.sleep(0.01)
        crowd.gate.set()

    assert (len(jobs), crowd.most) == (5 * AT_ONCE, AT_ONCE)
    assert {entry.token: entry.job for entry in live(ledger)} == jobs == {t: id for id, t in adapter.tokens.items()}


async def test_a_submission_whose_turn_comes_too_late_is_given_up_and_leaves_nothing(
    adapter: MemoryAdapter, home: Path, ledger: Ledger
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, launch=2.0))
    crowd = Crowd(adapter)
    late = a_spec()

    async def come_late() -> None:
        with pytest.raises(
            SchedulerUnavailable, match=r"Memory did not take .+ No job was submitted\. Try again later"
        ):
            await cluster.submit(late)

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(cluster.submit, a_spec())
        await crowd.full.wait()
        cluster.submission._timing = SHORT
        tasks.start_soon(come_late)
        await anyio.sleep(SHORT.launch + 0.2)
        crowd.gate.set()

    assert (len(live(ledger)), len(sessions(home)), len(adapter.jobs)) == (AT_ONCE, AT_ONCE, AT_ONCE)
    assert late.token not in adapter.asked("submit") + sessions(home)


async def test_a_caller_that_is_cancelled_while_it_waits_its_turn_leaves_nothing(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, ledger: Ledger
) -> None:
    crowd = Crowd(adapter)
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(cluster.submit, a_spec())
        await crowd.full.wait()
        with anyio.move_on_after(0.1):
            await cluster.submit(a_spec())
        assert len(sessions(home)) == AT_ONCE
        crowd.gate.set()

    assert (len(live(ledger)), len(adapter.jobs)) == (AT_ONCE, AT_ONCE)


# ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED])
async def test_a_live_job_is_what_the_scheduler_says(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, state: JobState
) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("1", state, native_state="X", reason="because")
    status = (await cluster.status([job.id]))[job.id]
    assert (status.state, status.native_state, status.reason) == (state, "X", "because")
    assert status.observed_at is not None
    assert status.submitted_at == live(ledger)[0].submitted_at


async def test_many_jobs_are_one_question(cluster: Cluster, adapter: MemoryAdapter) -> None:
    ids = [(await cluster.submit(a_spec())).id for _ in range(3)]
    assert (await cluster.status(ids)).keys() == set(ids)
    assert adapter.asked("status") == [frozenset(ids)]


async def test_an_end_is_recorded_and_answered_from_the_ledger_from_then_on(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    job = await cluster.submit(a_spec(secrets={"KEY": Secret("hunter2")}))
    adapter.put("1", JobState.ENDED, cause=EndCause.WALLTIME, exit_code=9)
    first = await cluster.status([job.id])
    assert (session(home, job.token) / "command").exists()  # it is answered first, and tidied up after that
    await cluster.tidying.tidy()
    adapter.jobs.clear()
    assert await cluster.status([job.id]) == first
    assert first[job.id].cause is EndCause.WALLTIME
    assert (len(adapter.asked("status")), live(ledger)) == (1, [])
    assert list(session(home, job.token).iterdir()) == []


async def test_only_the_jobs_that_have_not_ended_are_asked_about(cluster: Cluster, adapter: MemoryAdapter) -> None:
    ids = [(await cluster.submit(a_spec())).id for _ in range(2)]
    adapter.put("1", JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status(ids)
    await cluster.status(ids)
    assert adapter.asked("status") == [frozenset(["1", "2"]), frozenset(["2"])]


async def test_what_the_scheduler_does_not_say_of_an_end_the_job_says(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", ended=f"3 {GONE_LONG_AGO}")
    adapter.put("1", JobState.ENDED, cause=EndCause.FAILED)
    status = (await cluster.status([job.id]))[job.id]
    assert (status.exit_code, status.started_at) == (3, datetime(2026, 3, 1, tzinfo=UTC))


async def test_the_scheduler_s_own_exit_code_counts_before_the_job_s(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    report(home, job.token, ended=f"3 {GONE_LONG_AGO}")
    adapter.put("1", JobState.ENDED, cause=EndCause.FAILED, exit_code=9)
    assert (await cluster.status([job.id]))[job.id].exit_code == 9


@pytest.mark.parametrize(("code", "cause"), [(0, EndCause.COMPLETED), (3, EndCause.FAILED)])
async def test_a_forgotten_job_that_left_its_end_marker_has_ended(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, code: int, cause: EndCause
) -> None:
    job = await cluster.submit(a_spec())
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", ended=f"{code} {GONE_LONG_AGO + 60}")
    adapter.jobs.clear()
    status = (await cluster.status([job.id]))[job.id]
    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, cause, code)
    assert (status.nodes, status.source, status.reason) == (("n1",), "session", "")
    assert (status.started_at, status.ended_at) == (
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 0, 1, tzinfo=UTC),
    )


async def test_one_answer_that_a_job_is_gone_ends_nothing(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    for _ in range(2):
        assert (await patient.status([job.id], max_age=0))[job.id].state is JobState.GONE
        clock(PATIENT.poll_interval / 2 - 1)
    assert len(adapter.asked("status")) == 2
    assert [entry.job for entry in live(ledger)] == [job.id]


async def test_an_answer_that_a_job_is_gone_is_not_a_second_one_when_it_is_told_again(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    for _ in range(3):
        assert (await patient.status([job.id], max_age=100))[job.id].state is JobState.GONE
        clock(PATIENT.poll_interval)
    assert (len(adapter.asked("status")), len(live(ledger))) == (1, 1)


async def test_two_answers_some_time_apart_that_a_job_is_gone_are_an_end(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    await patient.status([job.id], max_age=0)
    clock(PATIENT.poll_interval)
    status = (await patient.status([job.id], max_age=0))[job.id]
    assert (status.state, status.cause, status.source) == (JobState.ENDED, EndCause.UNKNOWN, "ledger")
    assert "has forgotten the job" in status.reason
    assert live(ledger) == []


async def test_a_job_that_comes_back_was_never_gone(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    for standing in ("gone", "queued", "gone"):
        adapter.jobs.clear()
        if standing == "queued":
            adapter.put("1", JobState.QUEUED)
        assert (await patient.status([job.id], max_age=0))[job.id].state == standing
        clock(PATIENT.poll_interval)
    assert [entry.job for entry in live(ledger)] == [job.id]


async def test_evidence_out_of_reach_is_no_evidence(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", ended=f"3 {GONE_LONG_AGO}")
    adapter.jobs.clear()
    place, aside = session(home, job.token), home / "aside"
    place.rename(aside)
    place.symlink_to(place)  # neither there nor not there
    for _ in range(2):
        assert (await patient.status([job.id], max_age=0))[job.id].state is JobState.GONE
        clock(PATIENT.poll_interval)
    assert len(live(ledger)) == 1

    place.unlink()
    aside.rename(place)
    status = (await patient.status([job.id], max_age=0))[job.id]
    assert (status.state, status.cause, status.exit_code) == (JobState.ENDED, EndCause.FAILED, 3)


async def test_a_scheduler_that_cannot_be_asked_changes_nothing(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    before = live(ledger)
    for _ in range(3):
        adapter.plan("status", DOWN)
        with pytest.raises(SchedulerUnavailable, match=r"cluster 'hpc': slurmctld is down\. Try again later"):
            await patient.status([job.id], max_age=0)
        clock(PATIENT.poll_interval)
    assert (live(ledger), len(adapter.asked("status"))) == (before, 3)


async def test_a_scheduler_that_could_not_be_asked_is_left_alone_for_a_while(
    patient: Cluster, adapter: MemoryAdapter, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    await patient.status([job.id])
    clock(PATIENT.poll_interval)
    adapter.plan("status", DOWN)
    for _ in range(3):
        with pytest.raises(SchedulerUnavailable, match="cluster 'hpc': slurmctld is down"):
            await patient.status([job.id])
    assert len(adapter.asked("status")) == 2
    assert patient.last_known([job.id])[job.id].state is JobState.QUEUED
    clock(PATIENT.poll_interval)
    assert (await patient.status([job.id]))[job.id].state is JobState.QUEUED
    assert len(adapter.asked("status")) == 3


async def test_one_answer_serves_everybody_until_it_is_old(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    other = Cluster("hpc", adapter, ledger, timing=PATIENT)
    first = await patient.status([job.id])
    clock(PATIENT.poll_interval - 1)
    assert await other.status([job.id]) == await patient.status([job.id]) == first
    assert len(adapter.asked("status")) == 1
    clock(1)
    assert (await other.status([job.id]))[job.id].observed_at != first[job.id].observed_at
    await other.status([job.id], max_age=0)
    assert len(adapter.asked("status")) == 3


async def test_a_job_that_the_ledger_does_not_know_is_what_the_scheduler_says(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    adapter.put("7", JobState.ENDED, cause=EndCause.COMPLETED)
    statuses = await cluster.status([JobId("7"), JobId("8")])
    assert {id: status.state for id, status in statuses.items()} == {"7": JobState.ENDED, "8": JobState.GONE}


async def test_what_is_left_of_old_sessions_is_removed_on_the_way(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    old, new = [await cluster.submit(a_spec()) for _ in range(2)]
    adapter.put(old.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([old.id])
    age(ledger, old.token, KEEP_ENDED + 60)
    adapter.put(new.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([new.id])
    await cluster.tidying.tidy()
    assert old.token not in sessions(home)
    assert ledger.by_job("hpc", frozenset([old.id])) == {}


async def test_an_old_session_that_cannot_be_removed_is_remembered_until_it_can(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await cluster.submit(a_spec()) for _ in range(4)]
    remove = here.remove

    async def end(job: Job) -> None:
        adapter.put(job.id, JobState.ENDED, cause=EndCause.COMPLETED)
        await cluster.status([job.id])
        await cluster.tidying.tidy()

    def fail(directory: Path) -> None:
        raise OSError(116, "Stale file handle")

    for job in jobs[:2]:
        await end(job)
    for job in jobs[:2]:
        age(ledger, job.token, KEEP_ENDED + 60)
    monkeypatch.setattr(here, "remove", fail)
    await end(jobs[2])
    assert len(sessions(home)) == len(ledger.by_job("hpc", frozenset(job.id for job in jobs))) == 4
    monkeypatch.setattr(here, "remove", remove)
    await end(jobs[3])
    assert set(sessions(home)) == {job.token for job in jobs[2:]}
    assert ledger.by_job("hpc", frozenset(job.id for job in jobs[:2])) == {}


@pytest.mark.parametrize("away", [False, True])
async def test_an_old_session_is_given_up_only_if_its_host_has_been_away_for_long(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    old, new = [await cluster.submit(a_spec()) for _ in range(2)]

    def fail(directory: Path) -> None:
        raise OSError(116, "Stale file handle")

    adapter.put(old.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([old.id])
    await cluster.tidying.tidy()
    age(ledger, old.token, 2 * KEEP_ENDED + 60)
    if away:
        monkeypatch.setattr(here, "remove", fail)
    adapter.put(new.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([new.id])
    await cluster.tidying.tidy()
    assert ledger.by_job("hpc", frozenset([old.id])) == {}
    assert (old.token in sessions(home)) == away


async def test_a_cancel_that_another_process_writes_down_meanwhile_is_the_cause_of_the_end(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())
    ask = adapter.status

    async def asked(ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        answers = await ask(ids)
        (entry,) = Ledger(ledger.state).live("hpc")
        Ledger(ledger.state).write(replace(entry, cancelled_at=now()))
        return answers

    monkeypatch.setattr(adapter, "status", asked)
    del adapter.jobs[job.id]
    await cluster.status([job.id])
    monkeypatch.setattr(adapter, "status", ask)
    status = (await cluster.status([job.id]))[job.id]
    assert (status.state, status.cause) == (JobState.ENDED, EndCause.CANCELLED)


async def test_a_process_that_was_stopped_while_it_asked_holds_up_nobody_for_long(
    cluster: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())
    await cluster.status([job.id])
    monkeypatch.setattr(polling, "LOCK_PATIENCE", 0.3)
    with (ledger.state / "poll" / "hpc.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with anyio.fail_after(10):
            assert (await cluster.status([job.id], max_age=0))[job.id].state is JobState.QUEUED


async def test_the_job_s_own_report_can_be_had(cluster: Cluster, home: Path) -> None:
    job = await cluster.submit(a_spec())
    assert await cluster.report(job.token) == Report()
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}")
    assert (await cluster.report(job.token)).node == "n1"


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_job_is_seen_to_end(cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger) -> None:
    job = await cluster.submit(a_spec())
    done = await cluster.cancel(job.id)
    assert (done.status.state, done.status.cause, done.already) == (JobState.ENDED, EndCause.CANCELLED, False)
    assert (adapter.asked("cancel"), live(ledger)) == ([job.id], [])


async def test_a_job_that_has_ended_is_not_cancelled_again(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec())
    first = await cluster.cancel(job.id)
    assert await cluster.cancel(job.id) == Cancellation(status=first.status, already=True)
    assert adapter.asked("cancel") == [job.id]


async def test_a_cancel_whose_end_is_not_seen_is_not_believed(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec())
    adapter.cancel_works = False
    with pytest.raises(CancelUnverified, match=r"cluster 'hpc': job 1 was cancelled 0\.3 s ago, but it is queued"):
        await cluster.cancel(job.id)
    assert len(adapter.asked("status")) > 1
    assert live(ledger)[0].cancelled_at is not None


async def test_a_cancel_is_not_believed_because_nobody_can_be_asked(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec())
    adapter.plan("status", None, *[DOWN] * 100)
    with pytest.raises(CancelUnverified, match=r"was cancelled 0\.3 s ago, but .*slurmctld is down"):
        await cluster.cancel(job.id)
    assert adapter.asked("cancel")[0] == job.id


async def test_a_job_that_cannot_be_asked_for_is_not_cancelled(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec())
    before = live(ledger)
    adapter.plan("status", DOWN)
    with pytest.raises(SchedulerUnavailable, match="cluster 'hpc': slurmctld is down"):
        await cluster.cancel(job.id)
    assert (adapter.asked("cancel"), live(ledger)) == ([], before)


@pytest.mark.parametrize("error", [CancelRefused("not yours"), DOWN, HostUnreachable("no way")], ids=repr)
async def test_a_cancel_that_is_refused_is_an_error_and_changes_nothing(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, error: Exception
) -> None:
    job = await cluster.submit(a_spec())
    before = live(ledger)
    adapter.plan("cancel", error)
    with pytest.raises(type(error), match=f"cluster 'hpc': {error}"):
        await cluster.cancel(job.id)
    assert (live(ledger), adapter.jobs[job.id].state) == (before, JobState.QUEUED)


async def test_a_job_that_ends_by_itself_after_a_refused_cancel_was_not_cancelled(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    adapter.plan("cancel", CancelRefused("not yours"))
    with pytest.raises(CancelRefused):
        await cluster.cancel(job.id)
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", ended=f"0 {GONE_LONG_AGO}")
    adapter.jobs.clear()
    assert (await cluster.status([job.id]))[job.id].cause is EndCause.COMPLETED


async def test_a_cancel_that_is_not_answered_is_watched_and_repeated(adapter: MemoryAdapter, ledger: Ledger) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=1.0))
    job = await cluster.submit(a_spec())
    adapter.plan("cancel", NO_ANSWER)
    done = await cluster.cancel(job.id)
    assert (done.status.state, done.status.cause, done.already) == (JobState.ENDED, EndCause.CANCELLED, False)
    assert (adapter.asked("cancel"), live(ledger)) == ([job.id, job.id], [])


@pytest.mark.parametrize("error", [CancelRefused("not yours"), DOWN, NO_ANSWER, HostUnreachable("no way")], ids=repr)
async def test_an_accepted_cancel_is_watched_to_the_end_though_harder_means_fail(
    adapter: MemoryAdapter, ledger: Ledger, error: Exception
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=1.0))
    job = await cluster.submit(a_spec())
    adapter.cancel_works = False
    adapter.plan("cancel", None, error)
    with pytest.raises(CancelUnverified, match="cluster 'hpc': job 1 was cancelled 1 s ago, but it is queued"):
        await cluster.cancel(job.id)
    assert adapter.asked("cancel") == [job.id, job.id]
    assert live(ledger)[0].cancelled_at is not None


async def test_a_cancelled_job_that_the_scheduler_forgets_was_cancelled(
    patient: Cluster, adapter: MemoryAdapter, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    cancel = adapter.cancel

    async def forget(id: JobId) -> None:
        await cancel(id)
        adapter.jobs.clear()

    adapter.cancel = forget  # type: ignore[method-assign]
    done = await patient.cancel(job.id)
    assert (done.status.state, done.already) == (JobState.GONE, False)
    clock(PATIENT.poll_interval)
    assert (await patient.status([job.id], max_age=0))[job.id].cause is EndCause.CANCELLED


async def test_a_job_that_was_gone_before_its_cancel_was_not_cancelled(
    patient: Cluster, adapter: MemoryAdapter, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    done = await patient.cancel(job.id)
    assert (done.status.state, done.already, adapter.asked("cancel")) == (JobState.GONE, True, [])
    clock(PATIENT.poll_interval)
    assert (await patient.status([job.id], max_age=0))[job.id].cause is EndCause.UNKNOWN


async def test_one_answer_that_a_job_is_gone_does_not_spare_it_its_cancel(
    patient: Cluster, adapter: MemoryAdapter
) -> None:
    job = await patient.submit(a_spec())
    ask = adapter.status

    async def late(ids: frozenset[JobId]) -> Any:
        known, adapter.jobs = adapter.jobs, {} if not adapter.asked("status") else adapter.jobs
        try:
            return await ask(ids)
        finally:
            adapter.jobs = known

    adapter.status = late  # type: ignore[method-assign]
    done = await patient.cancel(job.id)
    assert (done.status.state, done.already) == (JobState.ENDED, False)
    assert adapter.jobs[job.id].state is JobState.ENDED


# ── the start ─────────────────────────────────────────────────────────────────────────────────────────────────────


def printed(found: Report) -> bool:
    return bool(found.output)


async def test_a_start_is_over_when_the_job_is_ready(cluster: Cluster, adapter: MemoryAdapter, home: Path) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("1", JobState.RUNNING)
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", output="ready")
    with anyio.fail_after(30):
        start = await cluster.wait_for_start(job, 60, ready=printed)
    assert start.status is not None
    assert (start.status.state, start.report.node, start.report.output, start.trouble) == (
        JobState.RUNNING,
        "n1",
        b"ready\n",
        "",
    )


async def test_a_job_becomes_ready_while_it_is_watched(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())
    looks = 0

    def ready(found: Report) -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            report(home, job.token, output="ready")
        return printed(found)

    with anyio.fail_after(30):
        assert (await cluster.wait_for_start(job, 60, ready=ready)).report.output == b"ready\n"
    assert looks == 3


async def test_a_job_that_ends_at_once_is_seen_to_have_ended(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", ended=f"3 {GONE_LONG_AGO}")
    adapter.put("1", JobState.ENDED, cause=EndCause.FAILED)
    with anyio.fail_after(30):
        start = await cluster.wait_for_start(job, 60, ready=printed)
    assert start.status is not None
    assert (start.status.state, start.status.exit_code, start.report.exit_code) == (JobState.ENDED, 3, 3)


async def test_a_scheduler_gets_a_moment_to_notice_an_end(cluster: Cluster, adapter: MemoryAdapter, home: Path) -> None:
    job = await cluster.submit(a_spec())
    report(home, job.token, ended=f"3 {GONE_LONG_AGO}")
    adapter.put("1", JobState.RUNNING)
    ask = adapter.status

    async def notice(ids: frozenset[JobId]) -> Any:
        answer = await ask(ids)
        adapter.put("1", JobState.ENDED, cause=EndCause.FAILED)
        return answer

    adapter.status = notice  # type: ignore[method-assign]
    start = await cluster.wait_for_start(job, 60, ready=printed)
    assert start.status is not None
    assert (start.status.state, len(adapter.asked("status"))) == (JobState.ENDED, 2)


async def test_a_job_that_never_runs_is_seen_to_have_ended(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("1", JobState.ENDED, cause=EndCause.REJECTED)
    with anyio.fail_after(30):
        start = await cluster.wait_for_start(job, 60, ready=printed)
    assert start.status is not None
    assert start.status.cause is EndCause.REJECTED


async def test_a_job_that_waits_is_still_waiting_when_the_time_is_over(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    job = await cluster.submit(a_spec())
    start = await cluster.wait_for_start(job, 0.2, ready=printed)
    assert start.status is not None
    assert (start.status.state, start.report.started, start.trouble) == (JobState.QUEUED, False, "")
    assert len(adapter.asked("status")) == 1


async def test_a_job_that_runs_gets_a_moment_to_become_ready(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("1", JobState.RUNNING)
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}")
    with anyio.fail_after(30):
        start = await cluster.wait_for_start(job, 60, ready=printed)
    assert start.status is not None
    assert (start.status.state, start.report.started, start.report.output) == (JobState.RUNNING, True, b"")


async def test_a_scheduler_that_cannot_be_asked_is_no_end_of_a_start(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec())
    adapter.plan("status", *[DOWN] * 100)
    start = await cluster.wait_for_start(job, 0.2, ready=printed)
    assert start.status is None
    assert start.trouble.startswith("cluster 'hpc': slurmctld is down. Try again later")


async def test_a_ledger_that_cannot_be_read_for_a_moment_is_no_end_of_a_start(
    cluster: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())
    by_job = ledger.by_job
    troubles = [LedgerError("Stale file handle")] * 3

    def sometimes(*arguments: Any) -> dict[JobId, Entry]:
        if troubles:
            raise troubles.pop()
        return by_job(*arguments)

    monkeypatch.setattr(ledger, "by_job", sometimes)
    cluster.timing = replace(SHORT, cancel=20.0, settle_start=20.0)  # the third try must be in time, and may be late
    start = await cluster.wait_for_start(job, 0, ready=printed)
    assert (start.status, start.trouble) == (None, "Stale file handle")
    await cluster.withdraw(job)
    assert (await cluster.status([job.id]))[job.id].cause is EndCause.CANCELLED


async def test_a_home_that_hangs_does_not_hold_up_a_start(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await cluster.submit(a_spec())
    hung = threading.Event()
    monkeypatch.setattr(here, "read", lambda _: hung.wait(20))
    with anyio.fail_after(10):
        start = await cluster.wait_for_start(job, 0.2, ready=printed)
    hung.set()
    assert (start.report, start.status and start.status.state) == (Report(), JobState.QUEUED)


async def test_a_scheduler_that_does_not_answer_does_not_hold_up_a_start(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    job = await cluster.submit(a_spec())

    async def hang(ids: frozenset[JobId]) -> Any:
        await anyio.sleep_forever()

    adapter.status = hang  # type: ignore[method-assign]
    with anyio.fail_after(30):
        start = await cluster.wait_for_start(job, 0, ready=printed)
    assert (start.status, start.trouble) == (None, "Memory has not answered yet")


async def test_the_question_about_a_new_job_settles_others_too(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    other = await cluster.submit(a_spec())
    job = await cluster.submit(a_spec())
    adapter.put(other.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.wait_for_start(job, 0, ready=printed)
    assert adapter.asked("status") == [frozenset([job.id, other.id])]
    assert [entry.job for entry in live(ledger)] == [job.id]


# ── opening one ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cluster_is_opened_by_its_adapter_s_name(tmp_path: Path, home: Path) -> None:
    async with open_cluster("here", state=tmp_path, options={"grace": 2}) as opened:
        assert (opened.name, type(opened.adapter).__name__, opened.adapter.options.grace) == (
            "here",
            "ProcessAdapter",
            2,
        )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"adapter": "slrum"}, "there is no adapter 'slrum'; did you mean 'slurm'?"),
        ({"options": {"grase": 2}}, "clusters.here.options.grase is not a setting; did you mean 'grace'?"),
        ({"options": {"grace": "2"}}, "clusters.here.options.grace: expected `int`, got `str`"),
        ({"host": "login1"}, "clusters.here: 'login1' is no SSH host: write ssh://[user@]host[:port]"),
        ({"host": HostSettings(hosts=("ssh://a", "ssh://a:22", "ssh://b@a"))}, "clusters.here: hosts are login nodes"),
        ({"host": HostSettings(hosts=("ssh://a", "ssh://a"))}, "clusters.here: hosts names a twice"),
        ({"host": HostSettings(hosts=())}, "clusters.here: hosts is empty"),
        ({"host": HostSettings(account="ada")}, "clusters.here: as ada on this machine: that needs become"),
        ({"host": HostSettings(channels=0)}, "clusters.here: channels is 0, but must be at least 1"),
        ({"host": HostSettings(connect_timeout=0)}, "clusters.here: connect_timeout is 0, but must be more than 0"),
    ],
)
async def test_a_cluster_that_cannot_be_opened_is_a_wrong_configuration(
    tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_cluster("here", state=tmp_path, **arguments):
            pass
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("far", [False, True])
async def test_a_launch_that_is_cancelled_while_its_entry_is_written_leaves_none(
    host: LocalHost, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, far: bool
) -> None:
    begun, create = threading.Event(), Ledger.create

    def slow(self: Ledger, entries: Sequence[Entry]) -> list[InvalidRequest | None]:
        begun.set()
        time.sleep(0.2)
        return create(self, entries)

    monkeypatch.setattr(Ledger, "create", slow)
    adapter = MemoryAdapter(ScriptedHost(lambda _: CommandResult(0, b"/far", b"")) if far else host)
    cluster = Cluster("hpc", adapter, ledger, timing=SHORT)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cluster.submit, JobSpec(token=new_token(), command=("true",)))
        while not begun.is_set():
            await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    time.sleep(0.3)  # for a thread that nobody waits for any more

    assert ledger.live("hpc") == []
    assert (adapter.asked("submit"), sessions(home)) == ([], [])
