"""An end is recognised by its evidence, put on record, and stays so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster
from fxsched.errors import LedgerError
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Secret
from fxsched.records.files import now
from fxsched.records.ledger import Entry, Ledger

from .common import GONE_LONG_AGO, PATIENT, a_spec, live, report, session
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


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


async def test_a_first_gone_from_before_the_clock_was_set_back_neither_ends_a_job_nor_keeps_it_for_ever(
    patient: Cluster, adapter: MemoryAdapter, ledger: Ledger, clock: Callable[[float], None]
) -> None:
    job = await patient.submit(a_spec())
    adapter.jobs.clear()
    await patient.status([job.id], max_age=0)
    clock(-3600)
    assert (await patient.status([job.id], max_age=0))[job.id].state is JobState.GONE
    clock(PATIENT.gone_after - 1)
    assert (await patient.status([job.id], max_age=0))[job.id].state is JobState.GONE
    clock(1)
    assert (await patient.status([job.id], max_age=0))[job.id].state is JobState.ENDED
    assert live(ledger) == []


async def test_an_end_that_another_process_writes_down_meanwhile_is_the_answer(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())
    ask = adapter.status
    end = JobStatus(id=job.id, state=JobState.ENDED, cause=EndCause.MEMORY)

    async def asked(ids: frozenset[JobId]) -> Mapping[JobId, JobStatus]:
        answers = await ask(ids)
        (entry,) = Ledger(ledger.state).live("hpc")
        Ledger(ledger.state).end(replace(entry, status=end))
        return answers

    monkeypatch.setattr(adapter, "status", asked)
    del adapter.jobs[job.id]
    assert (await cluster.status([job.id]))[job.id] == end
    assert ledger.by_job("hpc", frozenset([job.id]))[job.id].status == end


async def test_an_end_that_cannot_be_written_down_is_told_all_the_same_and_found_again(
    cluster: Cluster,
    adapter: MemoryAdapter,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = await cluster.submit(a_spec())
    adapter.put(job.id, JobState.ENDED, cause=EndCause.WALLTIME)

    def fail(_: Entry) -> NoReturn:
        raise LedgerError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr(ledger, "end", fail)
        assert (await cluster.status([job.id]))[job.id].cause is EndCause.WALLTIME
    assert f"{job.token}: job 1: No space left on device" in caplog.text
    assert [entry.job for entry in live(ledger)] == [job.id]
    assert (await cluster.status([job.id]))[job.id].cause is EndCause.WALLTIME
    assert live(ledger) == []
