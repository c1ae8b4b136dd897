"""One submission is exactly one job, or one clear error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster, Job
from fxsched.cluster.reconcile import settle_cut_off
from fxsched.cluster.submission import AT_ONCE
from fxsched.errors import (
    CancelRefused,
    CommandNotFound,
    HostUnreachable,
    InvalidRequest,
    LedgerError,
    SchedulerUnavailable,
    SubmitRejected,
    SubmitUnsettled,
)
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.scripted import ScriptedHost
from fxsched.jobs import EndCause, JobId, JobSpec, JobState, Secret, SessionWait, Token, new_token
from fxsched.records.ledger import Entry, Ledger, Owner
from fxsched.session import here

from .common import DOWN, GONE_LONG_AGO, NO_ANSWER, SHORT, a_spec, live, report, session, sessions
from .memory_adapter import MemoryAdapter, Trouble

pytestmark = pytest.mark.anyio


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


async def test_a_refused_submit_whose_files_cannot_be_removed_leaves_no_entry(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> NoReturn:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(here, "remove", fail)
    adapter.plan("submit", SubmitRejected("no such queue"))
    with pytest.raises(SubmitRejected, match="no such queue"):
        await cluster.submit(a_spec())
    assert live(ledger) == []


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


async def test_a_home_that_takes_all_of_the_time_leaves_none_for_a_submit(
    adapter: MemoryAdapter, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = here.stage

    def slowly(directory: Path, command: bytes, stdin: bytes, until: int | None) -> None:
        time.sleep(0.3)
        stage(directory, command, stdin, until)

    monkeypatch.setattr(here, "stage", slowly)
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, launch=0.2))
    with pytest.raises(SchedulerUnavailable, match=r"the session's files took all of the 0\.2 s"):
        await cluster.submit(a_spec())
    assert (adapter.asked("submit"), live(ledger), sessions(home)) == ([], [], [])


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


async def test_of_twins_one_that_has_ended_is_not_adopted(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=2))
    find = adapter.find

    async def find_ended(token: Token) -> tuple[JobId, ...]:
        adapter.put("1", JobState.ENDED, cause=EndCause.FAILED)
        return await find(token)

    adapter.find = find_ended  # type: ignore[method-assign]
    assert (await cluster.submit(a_spec())).id == "2"
    assert (adapter.jobs[JobId("2")].state, [entry.job for entry in live(ledger)]) == (JobState.QUEUED, ["2"])


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


async def test_a_job_that_its_scheduler_shows_only_after_the_pause_is_adopted(
    cluster: Cluster, adapter: MemoryAdapter, in_the_pause: Callable[[Callable[[], object]], None]
) -> None:
    adapter.plan("submit", NO_ANSWER)
    spec = a_spec()
    in_the_pause(lambda: adapter._make(spec.token))
    assert (await cluster.submit(spec)).id == "1"
    assert (len(adapter.asked("submit")), len(adapter.jobs)) == (1, 1)


async def test_a_job_that_says_it_has_begun_is_adopted_though_its_scheduler_has_none(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    spec = a_spec()

    async def begin() -> None:
        report(home, spec.token, started=f"7 n1 {GONE_LONG_AGO}")

    adapter.during_submit = begin
    adapter.plan("submit", NO_ANSWER)
    assert (await cluster.submit(spec)).id == "7"
    assert (len(adapter.asked("submit")), [entry.job for entry in live(ledger)]) == (1, ["7"])


async def test_where_jobs_do_not_know_their_ids_none_is_adopted_by_what_it_says(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    spec = a_spec()

    async def begin() -> None:
        report(home, spec.token, started=f"unknown n1 {GONE_LONG_AGO}")

    adapter.job_id_variable = ""
    adapter.during_submit = begin
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=0), None)
    assert (await cluster.submit(spec)).id == "1"


async def test_a_home_that_cannot_be_read_for_a_moment_does_not_settle_a_submit(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    read, troubles = here.read, [OSError(116, "Stale file handle")] * 2

    def sometimes(directory: Path) -> bytes:
        if troubles:
            raise troubles.pop()
        return read(directory)

    async def begin() -> None:
        report(home, spec.token, started=f"7 n1 {GONE_LONG_AGO}")

    monkeypatch.setattr(here, "read", sometimes)
    adapter.during_submit = begin
    adapter.plan("submit", NO_ANSWER)
    assert (await cluster.submit(spec)).id == "7"
    assert len(adapter.asked("submit")) == 1


@pytest.mark.parametrize(
    ("states", "owner", "kept"),
    [
        ([JobState.QUEUED, JobState.QUEUED], None, "1"),
        ([JobState.ENDED, JobState.QUEUED, JobState.RUNNING], None, "2"),
        ([JobState.GONE, JobState.HELD], None, "2"),
        ([JobState.QUEUED, JobState.RUNNING], "2", "2"),
        ([JobState.ENDED, JobState.QUEUED, JobState.RUNNING], "3", "3"),
        ([JobState.ENDED, JobState.QUEUED], "1", "2"),
        ([JobState.ENDED, JobState.ENDED], None, "1"),
        ([JobState.ENDED, JobState.ENDED], "2", "2"),
        ([JobState.QUEUED, JobState.RUNNING], "another's", "1"),
    ],
)
async def test_of_a_session_s_jobs_the_living_one_has_it_that_says_so_or_was_first(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, states: list[JobState], owner: str | None, kept: str
) -> None:
    token = new_token()
    session(home, token).mkdir(parents=True)
    if owner:
        report(home, token, started=f"{owner} n1 {GONE_LONG_AGO}")
    found = [adapter._make(token) for _ in states]
    for id, state in zip(found, states, strict=True):
        adapter.put(id, state)
    assert await cluster.submission.choose(token, found) == kept


async def test_a_job_may_call_itself_otherwise_than_its_scheduler_does(
    cluster: Cluster, adapter: MemoryAdapter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = new_token()
    session(home, token).mkdir(parents=True)
    report(home, token, started=f"job-2 n1 {GONE_LONG_AGO}")
    monkeypatch.setattr(adapter, "is_same", lambda id, reported: reported == f"job-{id}")
    assert await cluster.submission.choose(token, [adapter._make(token) for _ in range(2)]) == "2"


async def test_which_of_a_session_s_jobs_has_it_is_said_though_nobody_can_be_asked(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    token = new_token()
    session(home, token).mkdir(parents=True)
    report(home, token, started=f"2 n1 {GONE_LONG_AGO}")
    found = [adapter._make(token) for _ in range(2)]
    adapter.plan("status", DOWN)
    assert await cluster.submission.choose(token, found) == "2"

    (session(home, token) / "started").unlink()
    (session(home, token) / "started").symlink_to("started")  # neither there nor not there
    with pytest.raises(HostUnreachable):  # on a guess, none may be ended as a twin
        await cluster.submission.choose(token, found)


@pytest.mark.parametrize("error", [DOWN, NO_ANSWER, HostUnreachable("no way")], ids=repr)
async def test_a_scheduler_that_cannot_be_asked_for_a_while_is_asked_again(
    cluster: Cluster, adapter: MemoryAdapter, error: Exception
) -> None:
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=1))
    adapter.plan("find", error)
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

    def slowly(directory: Path, command: bytes, stdin: bytes, until: int | None) -> None:
        anyio.from_thread.run_sync(begun.set)
        time.sleep(0.1)
        stage(directory, command, stdin, until)

    monkeypatch.setattr(here, "stage", slowly)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cluster.submit, a_spec())
        await begun.wait()
        assert len(live(ledger)) == 1
        tasks.cancel_scope.cancel()
    await anyio.sleep(0.2)  # a thread that nobody waited for would have written by now
    assert (live(ledger), sessions(home), adapter.calls) == ([], [], [])


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


# ── submit, many at once ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unhurried(adapter: MemoryAdapter, ledger: Ledger) -> Cluster:
    """A cluster whose submits may stay at the scheduler for a while."""
    return Cluster("hpc", adapter, ledger, timing=replace(SHORT, launch=30.0))


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
    unhurried: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    crowd = Crowd(adapter)
    jobs: dict[Token, JobId] = {}

    async def submit() -> None:
        job = await unhurried.submit(a_spec())
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
    unhurried: Cluster, adapter: MemoryAdapter, home: Path, ledger: Ledger
) -> None:
    crowd = Crowd(adapter)
    late = [a_spec() for _ in range(2)]

    async def come_late(spec: JobSpec) -> None:
        with pytest.raises(
            SchedulerUnavailable, match=r"Memory did not take .+ No job was submitted\. Try again later"
        ):
            await unhurried.submit(spec)

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(unhurried.submit, a_spec())
        await crowd.full.wait()
        unhurried.submission._timing = SHORT
        for spec in late:
            tasks.start_soon(come_late, spec)
        await anyio.sleep(SHORT.launch + 0.2)
        crowd.gate.set()

    assert (len(live(ledger)), len(sessions(home)), len(adapter.jobs)) == (AT_ONCE, AT_ONCE, AT_ONCE)
    assert not {spec.token for spec in late} & {*adapter.asked("submit"), *sessions(home)}

    unhurried.submission._timing = unhurried.timing
    again = Crowd(adapter)
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(unhurried.submit, a_spec())
        with anyio.move_on_after(10):
            await again.full.wait()
        again.gate.set()
    assert again.most == AT_ONCE  # nobody has kept a turn


async def test_a_caller_that_is_cancelled_while_it_waits_its_turn_leaves_nothing(
    unhurried: Cluster, adapter: MemoryAdapter, home: Path, ledger: Ledger
) -> None:
    crowd = Crowd(adapter)
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(unhurried.submit, a_spec())
        await crowd.full.wait()
        with anyio.move_on_after(0.1):
            await unhurried.submit(a_spec())
        assert len(sessions(home)) == AT_ONCE
        crowd.gate.set()

    assert (len(live(ledger)), len(adapter.jobs)) == (AT_ONCE, AT_ONCE)
