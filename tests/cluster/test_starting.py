"""A new job is watched until its session has started, or it is known that it will not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster
from fxsched.cluster.starting import Watch
from fxsched.errors import LedgerError
from fxsched.jobs import EndCause, JobId, JobState, JobStatus
from fxsched.records.ledger import Entry, Ledger
from fxsched.session import here
from fxsched.session.directory import Report

from .common import DOWN, GONE_LONG_AGO, SHORT, a_spec, live, report
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


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


async def test_a_job_that_runs_by_its_own_report_is_not_asked_for_on_the_way(
    adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, settle_start=0.8))
    job = await cluster.submit(a_spec())
    adapter.put("1", JobState.RUNNING)
    report(home, job.token, started=f"1 n1 {GONE_LONG_AGO}")
    await cluster.wait_for_start(job, 60, ready=printed)
    assert len(adapter.asked("status")) == 1


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
    start = await cluster.wait_for_start(job, 0, ready=printed)
    assert (start.status, start.trouble) == (None, "Stale file handle")
    await cluster.withdraw(job)
    assert (await cluster.status([job.id]))[job.id].cause is EndCause.CANCELLED


async def test_a_home_that_cannot_be_read_is_no_end_of_a_start(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await cluster.submit(a_spec())

    def fail(_: Path) -> NoReturn:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(here, "read", fail)
    start = await cluster.wait_for_start(job, 0.2, ready=printed)
    assert (start.report, start.status and start.status.state, start.trouble) == (Report(), JobState.QUEUED, "")


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


# ── the two that tell ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_the_job_says_while_its_scheduler_is_asked_for_the_last_time_is_told_too() -> None:
    said = Report()

    async def read() -> Report:
        return said

    async def ask() -> tuple[JobStatus | None, str]:
        nonlocal said
        said = Report(output=b"ready")
        return JobStatus(id=JobId("1"), state=JobState.RUNNING), ""

    start = await Watch("Memory", read, ask, settle=10.0).until(0, ready=printed)
    assert start.report.output == b"ready"


@pytest.mark.parametrize(
    ("state", "asked"), [(JobState.RUNNING, 3), (JobState.ENDED, 1), (JobState.GONE, 1), (None, 1)]
)
async def test_a_scheduler_is_asked_again_after_the_end_marker_only_while_it_says_that_the_job_lives(
    state: JobState | None, asked: int
) -> None:
    answers = [JobStatus(id=JobId("1"), state=each) if each else None for each in (state, state, JobState.ENDED)]
    given: list[JobStatus | None] = []

    async def read() -> Report:
        return Report(exit_code=3)

    async def ask() -> tuple[JobStatus | None, str]:
        given.append(answers[len(given)])
        return given[-1], "" if given[-1] else "it is down"

    start = await Watch("Memory", read, ask, settle=10.0).until(60, ready=printed)
    assert (start.status, start.trouble, len(given)) == (given[-1], "" if state else "it is down", asked)
