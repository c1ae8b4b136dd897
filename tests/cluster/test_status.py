"""What is known of a job: what the scheduler says, held against the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fxsched.cluster.cluster import Cluster
from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState
from fxsched.records.ledger import Ledger
from fxsched.session.directory import Report

from .common import DOWN, GONE_LONG_AGO, PATIENT, a_spec, live, report
from .memory_adapter import MemoryAdapter

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
