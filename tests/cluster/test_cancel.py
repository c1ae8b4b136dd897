"""A cancel is verified: it returns once the job's end has been seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cancellation, Cluster
from fxsched.errors import CancelRefused, CancelUnverified, HostUnreachable, SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState
from fxsched.records.ledger import Ledger

from .common import DOWN, GONE_LONG_AGO, NO_ANSWER, PATIENT, SHORT, a_spec, live, report
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


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
