"""Answers are shared, and a scheduler in trouble is left alone."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest

from fxsched.cluster import polling
from fxsched.cluster.cluster import Cluster
from fxsched.cluster.polling import Poller
from fxsched.errors import InvalidRequest, SchedulerUnavailable
from fxsched.jobs import JobId, JobState, JobStatus, new_token
from fxsched.records.files import now
from fxsched.records.ledger import Entry, Ledger

from .common import DOWN, PATIENT, a_spec
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


@pytest.fixture
def poller(adapter: MemoryAdapter, tmp_path: Path) -> Poller:
    return Poller(adapter, tmp_path / "poll", "hpc", interval=10.0)


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


async def test_who_asks_at_the_same_time_shares_one_question(patient: Cluster, adapter: MemoryAdapter) -> None:
    job = await patient.submit(a_spec())
    answers: list[dict[JobId, JobStatus]] = []

    async def ask() -> None:
        answers.append(await patient.status([job.id]))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert adapter.asked("status") == [frozenset([job.id])]
    assert answers == [answers[0]] * 5


async def test_only_what_is_not_known_yet_is_asked_for(poller: Poller, adapter: MemoryAdapter) -> None:
    first, second = JobId("1"), JobId("2")
    await poller.status([first])
    assert (await poller.status([first, second])).keys() == {first, second}
    assert adapter.asked("status") == [frozenset([first]), frozenset([second])]
    assert poller.last_known([first, second]).keys() == {first, second}


async def test_an_answer_that_nobody_renews_is_forgotten_after_a_while(
    poller: Poller, clock: Callable[[float], None]
) -> None:
    first, second = JobId("1"), JobId("2")
    await poller.status([first])
    clock(polling.FORGET.total_seconds() - 1)
    await poller.status([second])
    assert poller.last_known([first, second]).keys() == {first, second}
    clock(1)
    await poller.status([second], max_age=0)
    assert poller.last_known([first, second]).keys() == {second}


async def test_an_answer_of_the_future_is_asked_for_again(
    poller: Poller, adapter: MemoryAdapter, clock: Callable[[float], None]
) -> None:
    await poller.status([JobId("1")])
    clock(-3600)
    await poller.status([JobId("1")])
    assert len(adapter.asked("status")) == 2


async def test_an_id_that_its_scheduler_cannot_read_stands_in_nobody_else_s_way(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())
    strange = JobId("of another scheduler")  # the cluster had another adapter once
    ledger.create([Entry(token=new_token(), cluster="hpc", name="mine", submitted_at=now(), job=strange)])
    ask = adapter.status

    async def read_and_ask(ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        if strange in ids:
            raise InvalidRequest(f"{strange!r} is no job id")
        return await ask(ids)

    monkeypatch.setattr(adapter, "status", read_and_ask)
    assert (await cluster.status([job.id]))[job.id].state is JobState.QUEUED
    with pytest.raises(InvalidRequest, match="'of another scheduler' is no job id"):
        await cluster.status([strange])


async def test_a_wrong_request_is_made_once(poller: Poller, adapter: MemoryAdapter) -> None:
    adapter.plan("status", InvalidRequest("no id"))
    with pytest.raises(InvalidRequest):
        await poller.status([JobId("x")], company=lambda: [JobId("x")])
    assert len(adapter.asked("status")) == 1


async def test_a_scheduler_that_is_left_alone_is_asked_by_who_must_know(
    patient: Cluster, adapter: MemoryAdapter
) -> None:
    job = await patient.submit(a_spec())
    adapter.plan("status", DOWN)
    for _ in range(2):
        with pytest.raises(SchedulerUnavailable):
            await patient.status([job.id])
    assert (await patient.status([job.id], max_age=0))[job.id].state is JobState.QUEUED
    assert len(adapter.asked("status")) == 2
