"""What is known of a job: what the scheduler says, held against the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.errors import HostUnreachable, PartlyUnavailable, SchedulerUnavailable
from fxsched.hosts import Host, LocalHost
from fxsched.hosts.scripted import Command, ScriptedHost
from fxsched.jobs import EndCause, JobId, JobState, Token, new_token
from fxsched.records.files import now
from fxsched.records.ledger import Entry, Ledger
from fxsched.session.directory import Report

from .common import DOWN, GONE_LONG_AGO, PATIENT, SHORT, a_spec, live, report, session
from .memory_adapter import MemoryAdapter, PartsAdapter

pytestmark = pytest.mark.anyio


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


async def test_only_the_jobs_that_have_not_ended_are_asked_about(cluster: Cluster, adapter: MemoryAdapter) -> None:
    ids = [(await cluster.submit(a_spec())).id for _ in range(2)]
    adapter.put("1", JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status(ids)
    await cluster.status(ids)
    assert adapter.asked("status") == [frozenset(["1", "2"]), frozenset(["2"])]


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


async def test_a_job_that_the_ledger_does_not_know_is_what_the_scheduler_says(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    adapter.put("7", JobState.ENDED, cause=EndCause.COMPLETED)
    statuses = await cluster.status([JobId("7"), JobId("8")])
    assert {id: status.state for id, status in statuses.items()} == {"7": JobState.ENDED, "8": JobState.GONE}


async def test_the_job_s_own_report_can_be_had(cluster: Cluster, home: Path) -> None:
    job = await cluster.submit(a_spec())
    assert await cluster.report(job.token) == Report()
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}")
    assert (await cluster.report(job.token)).node == "n1"


async def test_sessions_are_looked_for_where_their_jobs_are(ledger: Ledger, host: LocalHost, home: Path) -> None:
    def nobody(command: Command) -> NoReturn:
        raise HostUnreachable(f"{command.argv[0]} must not run here")

    sought: list[tuple[Token, JobId | None]] = []

    class Elsewhere(MemoryAdapter):
        async def host_for(self, token: Token) -> Host:
            return host

        async def host_of(self, token: Token, job: JobId | None = None) -> Host:
            sought.append((token, job))
            return host

    adapter = Elsewhere(ScriptedHost(nobody))
    cluster = Cluster("hpc", adapter, ledger, timing=SHORT)
    job = await cluster.submit(a_spec())
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}", ended=f"3 {GONE_LONG_AGO}")
    assert (await cluster.report(job.token)).node == "n1"
    adapter.jobs.clear()
    start = await cluster.wait_for_start(job, 0, ready=lambda _: True)
    assert (start.report.node, start.status and start.status.exit_code) == ("n1", 3)
    await cluster.tidying.tidy()
    assert not (session(home, job.token) / "command").exists()
    assert set(sought[1:]) == {(job.token, job.id)}  # who knows the job says which: it need not be looked for


async def test_of_two_jobs_with_one_id_the_later_one_has_it_and_the_former_ends(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    former = await cluster.submit(a_spec())
    adapter.jobs.clear()  # a crash: the scheduler gives its ids again
    later = await cluster.submit(a_spec())
    assert later.id == former.id
    adapter.put(later.id, JobState.RUNNING, name=f"mine.{later.token}")
    for _ in range(2):
        assert (await cluster.status([later.id], max_age=0))[later.id].state is JobState.RUNNING
    assert [entry.token for entry in live(ledger)] == [later.token]


async def test_what_was_last_known_of_a_job_is_its_end_where_one_is_on_record(
    patient: Cluster, adapter: MemoryAdapter, home: Path, clock: Callable[[float], None]
) -> None:
    ended, living = [await patient.submit(a_spec()) for _ in range(2)]
    report(home, ended.token, ended=f"3 {GONE_LONG_AGO}")
    del adapter.jobs[ended.id]
    for _ in range(2):  # while the scheduler's own answer, that the job is gone, is remembered; and afterwards
        await patient.status([ended.id, living.id], max_age=0)
        known = patient.last_known([ended.id, living.id, JobId("9")])
        assert {id: (status.state, status.cause) for id, status in known.items()} == {
            ended.id: (JobState.ENDED, EndCause.FAILED),
            living.id: (JobState.QUEUED, None),
        }
        clock(7200)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────


class OddError(SchedulerUnavailable):
    """An adapter's own error, made in its own way."""

    def __init__(self, code: int, *, daemon: str) -> None:
        super().__init__(f"{daemon} said {code}.")
        self.code = code


async def test_an_adapter_s_own_error_comes_out_as_itself_and_names_the_cluster_once(
    cluster: Cluster, adapter: MemoryAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OddError(13, daemon="odd")

    async def fail(_: frozenset[JobId]) -> NoReturn:
        raise error

    monkeypatch.setattr(adapter, "status", fail)
    for verb in (cluster.status([JobId("1")]), cluster.cancel(JobId("1")), cluster.status([JobId("1")], max_age=0)):
        with pytest.raises(OddError) as caught:
            await verb
        assert caught.value is error
        assert str(error) == f"cluster 'hpc': odd said 13. {SchedulerUnavailable.advice}"
        assert (error.code, error.what) == (13, "odd said 13.")


def test_an_error_is_the_cluster_s_that_it_left_first(cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger) -> None:
    outer = Cluster("outer", adapter, ledger)
    told = r"^cluster 'hpc': down\. Try again later"
    with pytest.raises(SchedulerUnavailable, match=told), outer.explained(), cluster.explained():
        raise SchedulerUnavailable("down")


async def test_an_answer_about_some_jobs_only_is_held_against_the_ledger_too(
    host: LocalHost, ledger: Ledger, home: Path
) -> None:
    adapter = PartsAdapter(host)
    cluster = Cluster("hpc", adapter, ledger, timing=SHORT)
    live_one, forgotten, ended, away = map(JobId, ("a.1", "a.2", "b.1", "b.2"))
    for id in (live_one, ended, away):
        adapter.put(id, JobState.RUNNING)
    for id in (forgotten, ended):
        entry = Entry(token=new_token(), cluster="hpc", name="mine", submitted_at=now(), job=id)
        ledger.create([entry])
        session(home, entry.token).mkdir(parents=True)
        report(home, entry.token, ended=f"3 {GONE_LONG_AGO}")
    adapter.put(ended, JobState.ENDED, cause=EndCause.WALLTIME)
    await cluster.status([ended])

    adapter.down = frozenset("b")
    with pytest.raises(PartlyUnavailable) as caught:
        await cluster.status([live_one, forgotten, ended, away])
    assert str(caught.value) == f"cluster 'hpc': no route to b. {PartlyUnavailable.advice}"
    assert {id: (status.state, status.cause) for id, status in caught.value.answers.items()} == {
        live_one: (JobState.RUNNING, None),
        forgotten: (JobState.ENDED, EndCause.FAILED),
        ended: (JobState.ENDED, EndCause.WALLTIME),
    }
    assert live(ledger) == []
