"""Answers are shared, and a scheduler in trouble is left alone."""

from __future__ import annotations

import fcntl
from collections.abc import Callable

import anyio
import pytest

from fxsched.cluster import polling
from fxsched.cluster.cluster import Cluster
from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import JobState
from fxsched.records.ledger import Ledger

from .common import DOWN, PATIENT, a_spec
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


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
