"""A cancel is verified: it returns once the job's end has been seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cancellation, Cluster
from fxsched.errors import CancelRefused, CancelUnverified, FxschedError, HostUnreachable, SchedulerUnavailable
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token, new_token
from fxsched.records.ledger import Ledger

from .common import DOWN, GONE_LONG_AGO, NO_ANSWER, PATIENT, SHORT, a_spec, live, report
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


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

    async def forget(id: JobId, token: Token | None = None) -> None:
        await cancel(id)
        adapter.jobs.clear()

    adapter.cancel = forget  # type: ignore[method-assign]
    done = await patient.cancel(job.id)
    assert (done.status.state, done.status.cause, done.already) == (JobState.ENDED, EndCause.CANCELLED, False)


async def test_a_job_that_was_gone_before_its_cancel_was_not_cancelled(
    patient: Cluster, adapter: MemoryAdapter, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.put("1", JobState.RUNNING, name=f"mine.{job.token}", submitted_at=MARCH)
    await patient.status([job.id], max_age=0)
    adapter.jobs.clear()
    done = await patient.cancel(job.id)
    assert (done.status.state, done.already, adapter.asked("cancel")) == (JobState.GONE, True, [])
    clock(PATIENT.gone_after)
    assert (await patient.status([job.id], max_age=0))[job.id].cause is EndCause.UNKNOWN


async def test_a_job_that_was_never_seen_is_cancelled_all_the_same(patient: Cluster, adapter: MemoryAdapter) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()  # a list that lags behind
    done = await patient.cancel(job.id)
    assert (done.status.cause, done.already, adapter.asked("cancel")) == (EndCause.CANCELLED, False, [job.id])


async def test_a_list_that_lags_behind_is_given_its_time_before_a_cancel(
    adapter: MemoryAdapter, ledger: Ledger
) -> None:
    adapter.lag = 0.2
    cluster = Cluster("hpc", adapter, ledger, timing=SHORT)
    job = await cluster.submit(a_spec())
    late = adapter.jobs.pop(job.id)

    async def appear() -> None:
        await anyio.sleep(0.1)
        adapter.jobs[job.id] = late

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appear)
        done = await cluster.cancel(job.id)
    assert (done.status.cause, adapter.jobs[job.id].state) == (EndCause.CANCELLED, JobState.ENDED)


# ── whose job it is ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_of_the_user_that_is_none_of_ours_is_not_cancelled(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    adapter.put("7", JobState.RUNNING, name="thesis")
    with pytest.raises(CancelRefused, match="job 7 is none of fxsched's"):
        await cluster.cancel(JobId("7"))
    assert adapter.asked("cancel") == []


async def test_a_job_that_the_ledger_has_lost_is_cancelled_by_the_token_in_its_name(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    adapter.put("7", JobState.RUNNING, name=f"mine.{new_token()}")
    assert (await cluster.cancel(JobId("7"))).status.cause is EndCause.CANCELLED


@pytest.mark.parametrize("name", ["", "thesis"])
async def test_an_id_that_came_again_is_not_cancelled(cluster: Cluster, adapter: MemoryAdapter, name: str) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("1", JobState.RUNNING, name=f"mine.{job.token}", submitted_at=MARCH)
    await cluster.status([job.id])
    adapter.put("1", JobState.RUNNING, name=name, submitted_at=MARCH + timedelta(seconds=5))
    done = await cluster.cancel(job.id)
    assert (done.already, adapter.asked("cancel")) == (True, [])


async def test_a_job_without_its_name_is_cancelled_only_if_something_else_proves_whose_it_is(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("1", JobState.RUNNING, name="thesis")
    adapter.tokens.clear()
    with pytest.raises(CancelRefused, match="may be another one than was submitted: it is called 'thesis'"):
        await cluster.cancel(job.id)
    assert adapter.asked("cancel") == []

    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}")
    assert (await cluster.cancel(job.id)).status.cause is EndCause.CANCELLED


async def test_a_job_without_a_name_is_cancelled_if_the_scheduler_finds_it_by_its_token(
    cluster: Cluster, adapter: MemoryAdapter
) -> None:
    job = await cluster.submit(a_spec())
    assert (await cluster.cancel(job.id)).status.cause is EndCause.CANCELLED
    assert (adapter.asked("find"), adapter.asked("cancel")) == ([job.token], [job.id])


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


async def test_a_cancel_believes_no_old_answer_that_the_job_lives(patient: Cluster, adapter: MemoryAdapter) -> None:
    job = await patient.submit(a_spec())
    assert (await patient.status([job.id]))[job.id].state is JobState.QUEUED
    adapter.put(job.id, JobState.ENDED, cause=EndCause.COMPLETED)
    done = await patient.cancel(job.id)
    assert (done.status.cause, done.already, adapter.asked("cancel")) == (EndCause.COMPLETED, True, [])


async def test_a_cancel_believes_no_old_answer_that_the_job_is_gone(patient: Cluster, adapter: MemoryAdapter) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    assert (await patient.status([job.id]))[job.id].state is JobState.GONE
    adapter.put(job.id, JobState.RUNNING)
    done = await patient.cancel(job.id)
    assert (done.status.cause, done.already, adapter.asked("cancel")) == (EndCause.CANCELLED, False, [job.id])


async def test_a_job_that_comes_back_in_the_pause_is_cancelled(
    patient: Cluster, adapter: MemoryAdapter, in_the_pause: Callable[[Callable[[], object]], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    in_the_pause(lambda: adapter.put(job.id, JobState.RUNNING))
    done = await patient.cancel(job.id)
    assert (done.status.cause, done.already, adapter.asked("cancel")) == (EndCause.CANCELLED, False, [job.id])


async def test_a_cancel_is_on_record_before_the_scheduler_hears_of_it(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec())
    cancel = adapter.cancel
    seen: list[bool] = []

    async def look(id: JobId, token: Token | None = None) -> None:
        seen.extend(entry.cancelled_at is not None for entry in live(ledger))
        await cancel(id)

    adapter.cancel = look  # type: ignore[method-assign]
    await cluster.cancel(job.id)
    assert seen == [True]


# ── harder means ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def kills(adapter: MemoryAdapter, monkeypatch: pytest.MonkeyPatch) -> list[JobId]:
    """Which jobs the scheduler was told to kill; a cancel is not enough for it."""
    killed: list[JobId] = []

    async def kill(id: JobId, token: Token | None = None) -> None:
        killed.append(id)
        adapter.put(id, JobState.ENDED, cause=EndCause.CANCELLED)

    adapter.cancel_works = False
    monkeypatch.setattr(adapter, "kill", kill)
    return killed


async def test_a_job_that_a_cancel_does_not_end_is_killed(
    adapter: MemoryAdapter, ledger: Ledger, kills: list[JobId]
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=1.0))
    job = await cluster.submit(a_spec())
    assert (await cluster.cancel(job.id)).status.cause is EndCause.CANCELLED
    assert (adapter.asked("cancel"), kills) == ([job.id], [job.id])


async def test_a_job_that_takes_a_moment_to_end_is_not_killed(
    adapter: MemoryAdapter, ledger: Ledger, kills: list[JobId]
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=60.0))
    job = await cluster.submit(a_spec())
    ask = adapter.status

    async def end_at_the_third(ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        if len(adapter.asked("status")) == 2:
            adapter.put(job.id, JobState.ENDED, cause=EndCause.CANCELLED)
        return await ask(ids)

    adapter.status = end_at_the_third  # type: ignore[method-assign]
    await cluster.cancel(job.id)
    assert (len(adapter.asked("status")), kills) == (3, [])


async def test_a_job_that_cannot_be_asked_for_any_more_is_not_killed(
    cluster: Cluster, adapter: MemoryAdapter, kills: list[JobId]
) -> None:
    job = await cluster.submit(a_spec())
    adapter.plan("status", None, *[DOWN] * 100)
    with pytest.raises(CancelUnverified):
        await cluster.cancel(job.id)
    assert (adapter.asked("cancel"), kills) == ([job.id], [])


# ── the job of a caller who was cancelled ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [DOWN, NO_ANSWER, HostUnreachable("no way")], ids=repr)
async def test_a_withdrawal_does_not_give_up_at_the_first_trouble(
    adapter: MemoryAdapter, ledger: Ledger, error: FxschedError
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=30.0))
    job = await cluster.submit(a_spec())
    adapter.plan("status", error, error)
    await cluster.withdraw(job)
    assert (adapter.asked("cancel"), adapter.jobs[job.id].state) == ([job.id], JobState.ENDED)


async def test_a_withdrawal_that_no_time_is_left_for_says_what_to_do(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec())
    adapter.plan("status", *[DOWN] * 100)
    with pytest.raises(CancelUnverified) as caught:
        await cluster.withdraw(job)
    assert str(caught.value) == (
        "cluster 'hpc': the launch was given up, but its job 1 could not be cancelled, and may start a session: "
        "slurmctld is down. Cancel it later: fxsched cancel 1"
    )
    assert 1 < len(adapter.asked("status")) < 100


async def test_a_withdrawal_that_is_refused_is_told_at_once(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec())
    adapter.plan("cancel", CancelRefused("not yours"))
    with pytest.raises(CancelUnverified, match="could not be cancelled, and may start a session: not yours"):
        await cluster.withdraw(job)
    assert len(adapter.asked("cancel")) == 1
