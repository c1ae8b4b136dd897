"""A session that somebody awaits: an error that was told, or silence, stays one, and no session comes after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from fxsched.cluster.cluster import Cluster, Job
from fxsched.cluster.reconcile import Kind, reconcile, settle_cut_off
from fxsched.errors import (
    CancelRefused,
    CancelUnverified,
    HostUnreachable,
    LedgerError,
    SchedulerUnavailable,
    SubmitUnsettled,
)
from fxsched.jobs import EndCause, JobId, JobState, Token
from fxsched.records.files import now
from fxsched.records.ledger import Ledger, Owner
from fxsched.session import here
from fxsched.session.directory import Report

from .common import DOWN, GONE_LONG_AGO, NO_ANSWER, SHORT, a_spec, live, report, session
from .memory_adapter import MemoryAdapter, Trouble

pytestmark = pytest.mark.anyio

DEAD = Owner(host=Owner.me().host, pid=1, ticks="0")


def wishes(home: Path, job: Job) -> set[str]:
    """Return what the job finds beside its session's files that keeps it from the session."""
    return {path.name for path in session(home, job.token).iterdir()} & {"unsettled", "unwanted"}


async def unsettled(cluster: Cluster, adapter: MemoryAdapter, *, jobs: int) -> Job:
    """Let an awaited submit stay unsettled, which is told; perhaps it has made jobs all the same."""
    spec = a_spec()
    adapter.plan("submit", Trouble(NO_ANSWER, jobs=jobs))
    adapter.plan("find", *[DOWN] * 200)
    with pytest.raises(SubmitUnsettled):
        await cluster.submit(spec, awaited=True)
    adapter.plans.clear()
    return Job(id=JobId("1"), token=spec.token, cluster=cluster.name)


async def test_no_job_may_start_the_session_before_its_submit_is_settled(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    spec = a_spec()
    seen: list[int] = []

    async def look() -> None:
        seen.append(int((session(home, spec.token) / "unsettled").read_text()))

    adapter.during_submit = look
    job = await cluster.submit(spec, awaited=True)

    assert seen[0] > 1_700_000_000  # until then, the job waits
    assert wishes(home, job) == set()


async def test_a_session_that_nobody_awaits_may_start_at_once(
    cluster: Cluster, adapter: MemoryAdapter, home: Path
) -> None:
    spec = a_spec()

    async def look() -> None:
        assert not (session(home, spec.token) / "unsettled").exists()

    adapter.during_submit = look
    await cluster.submit(spec)


async def test_an_error_that_was_told_stands_beside_the_session_s_files_and_on_record(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    job = await unsettled(cluster, adapter, jobs=1)

    assert wishes(home, job) == {"unsettled", "unwanted"}
    [entry] = live(ledger)
    assert (entry.token, entry.awaited, entry.owner, entry.job) == (job.token, True, None, None)


@pytest.mark.parametrize("mend", [settle_cut_off, lambda cluster: reconcile(cluster, fix=True)])
async def test_a_job_that_turns_up_after_an_error_was_told_is_cancelled_not_adopted(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, mend: object
) -> None:
    job = await unsettled(cluster, adapter, jobs=2)

    findings = await mend(cluster)  # type: ignore[operator]

    assert [(found.kind, found.job, found.mended) for found in findings] == [
        (Kind.UNWANTED, "1", True),
        (Kind.TWIN, "2", True),
    ]
    assert {status.state for status in adapter.jobs.values()} == {JobState.ENDED}
    assert (live(ledger), wishes(home, job)) == ([], {"unsettled", "unwanted"})


async def test_a_cancel_that_another_launch_wrote_down_meanwhile_stays_on_record(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await unsettled(cluster, adapter, jobs=1)
    forbid = cluster.submission.forbid

    async def meanwhile(token: Token) -> None:
        await forbid(token)
        [entry] = live(ledger)
        ledger.write(replace(entry, job=job.id, cancelled_at=now()))
        ended = {"state": JobState.ENDED, "cause": EndCause.FAILED, "signal": 15}
        adapter.jobs[job.id] = replace(adapter.jobs[job.id], **ended)

    monkeypatch.setattr(cluster.submission, "forbid", meanwhile)
    [found] = await settle_cut_off(cluster)

    entry = ledger.entry(job.token)
    assert (found.kind, found.mended) == (Kind.UNWANTED, True)
    assert entry
    assert entry.status
    assert (entry.status.cause, entry.cancelled_at is not None) == (EndCause.CANCELLED, True)


async def test_a_dry_run_says_so_and_touches_nothing(cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger) -> None:
    await unsettled(cluster, adapter, jobs=1)
    before = live(ledger)

    [found] = await reconcile(cluster, fix=False)

    assert (found.kind, found.mended, adapter.asked("cancel"), live(ledger)) == (Kind.UNWANTED, False, [], before)


async def test_an_unwanted_job_that_cannot_be_cancelled_is_not_called_mended(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    await unsettled(cluster, adapter, jobs=1)
    adapter.plan("cancel", CancelRefused("not yours"))

    [found] = await reconcile(cluster, fix=True)

    assert (found.kind, found.mended) == (Kind.UNWANTED, False)
    assert "could not be cancelled: not yours" in found.text
    assert [entry.awaited for entry in live(ledger)] == [True]  # and another time will come


async def test_an_error_whose_submit_made_no_job_leaves_nothing(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    job = await unsettled(cluster, adapter, jobs=0)

    [found] = await settle_cut_off(cluster)

    assert (found.kind, live(ledger), session(home, job.token).exists()) == (Kind.GHOST, [], False)


async def test_a_launch_that_was_killed_before_it_told_of_its_session_is_not_adopted(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    [entry] = live(ledger)
    assert (await settle_cut_off(cluster), entry.owner) == ([], Owner.me())  # it still waits for the start

    ledger.write(replace(entry, owner=DEAD))
    [found] = await settle_cut_off(cluster)

    assert (found.kind, found.job, found.mended) == (Kind.UNWANTED, job.id, True)
    assert adapter.jobs[job.id].state is JobState.ENDED


async def test_a_session_that_was_heard_of_is_nobody_s_to_cancel(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    await cluster.heard(job)

    assert (await settle_cut_off(cluster), await reconcile(cluster, fix=True)) == ([], [])
    [entry] = live(ledger)
    assert (entry.owner, entry.awaited, entry.job, adapter.asked("cancel")) == (None, False, job.id, [])


async def test_a_session_whose_directory_is_out_of_reach_once_it_is_settled_is_withdrawn(
    cluster: Cluster, adapter: MemoryAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: Path) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(here, "settle", fail)
    with pytest.raises(HostUnreachable, match="Stale file handle"):
        await cluster.submit(a_spec(), awaited=True)
    assert [status.cause for status in adapter.jobs.values()] == [EndCause.CANCELLED]


async def test_a_withdrawn_session_is_forbidden_also_where_the_scheduler_cannot_be_asked(
    adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=0.1))
    job = await cluster.submit(a_spec())
    adapter.plan("status", *[DOWN] * 200)
    with pytest.raises(Exception, match="could not be cancelled"):
        await cluster.withdraw(job)
    assert wishes(home, job) == {"unwanted"}


@pytest.mark.parametrize("trouble", ["full", "unreadable"])
async def test_a_session_that_cannot_be_noted_as_heard_of_is_not_told_of(
    cluster: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)

    def fail(*_: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(ledger, *(("write", fail) if trouble == "full" else ("entry", lambda _: None)))
    with pytest.raises(LedgerError):
        await cluster.heard(job)


async def test_what_was_heard_of_stays_so_whoever_adds_to_the_entry_what_they_read_before(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    [before] = live(ledger)
    await cluster.heard(job)
    ledger.write(replace(before, owner=DEAD, gone_at=before.submitted_at))

    assert await settle_cut_off(cluster) == []
    [entry] = live(ledger)
    assert (entry.awaited, entry.owner, entry.gone_at, adapter.asked("cancel")) == (
        False,
        None,
        before.submitted_at,
        [],
    )


async def test_a_withdrawal_that_failed_is_made_good_by_whoever_comes_next(
    adapter: MemoryAdapter, ledger: Ledger
) -> None:
    cluster = Cluster("hpc", adapter, ledger, timing=replace(SHORT, cancel=0.1))
    job = await cluster.submit(a_spec(), awaited=True)
    await cluster.heard(job)  # and then it could not be told
    adapter.plan("status", *[DOWN] * 200)
    with pytest.raises(CancelUnverified):
        await cluster.withdraw(job)
    adapter.plans.clear()

    [found] = await settle_cut_off(cluster)

    assert (found.kind, found.mended, adapter.jobs[job.id].state) == (Kind.UNWANTED, True, JobState.ENDED)


async def test_a_withdrawal_ends_the_job_that_has_the_session_by_now(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    late = adapter._make(job.token)
    [entry] = live(ledger)
    ledger.write(replace(entry, job=late))

    await cluster.withdraw(job)

    assert adapter.jobs[late].state is JobState.ENDED


async def test_an_unwanted_session_is_forbidden_before_anybody_is_asked(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    [entry] = live(ledger)
    ledger.write(replace(entry, owner=DEAD))
    adapter.plan("find", *[DOWN] * 200)

    with pytest.raises(SchedulerUnavailable):
        await settle_cut_off(cluster)

    assert wishes(home, job) == {"unwanted"}


async def test_one_entry_that_cannot_be_looked_at_stands_in_the_way_of_no_other(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    jobs = [await cluster.submit(a_spec(), awaited=True) for _ in range(2)]
    for entry in live(ledger):
        ledger.write(replace(entry, owner=DEAD))
    adapter.tokens.clear()
    first = min(jobs, key=lambda job: job.token)
    (session(home, first.token) / "started").mkdir()  # no report, and not none

    kinds = {found.token: (found.kind, found.mended) for found in await settle_cut_off(cluster)}

    assert kinds[first.token] == (Kind.UNCLEAR, False)
    assert [token for token in kinds if token != first.token] == [job.token for job in jobs if job != first]


async def test_a_launch_that_watches_for_long_is_not_taken_for_a_dead_one_on_another_host(
    cluster: Cluster, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    [entry] = live(ledger)
    ledger.write(replace(entry, owner=replace(DEAD, host="other")))
    path = ledger.state / "ledger" / "live" / f"{job.token}.json"
    long_ago = path.stat().st_mtime - cluster.timing.over - 60
    os.utime(path, (long_ago, long_ago))

    await cluster.wait_for_start(job, 0.05, ready=started)

    assert await settle_cut_off(cluster) == []


# ── a job that was taken, and then was not there ──────────────────────────────────────────────────────────────────


def started(report: Report) -> bool:
    return report.started


async def test_a_job_that_was_taken_and_is_not_there_is_an_error(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    adapter.jobs.clear()
    adapter.tokens.clear()

    with pytest.raises(SchedulerUnavailable, match="Memory took job 1, and then had no such job: no session was"):
        await cluster.wait_for_start(job, 0.05, ready=started)

    assert len(adapter.asked("find")) == 2  # it was said twice


async def test_whether_a_job_that_was_taken_is_there_may_stay_unknown(cluster: Cluster, adapter: MemoryAdapter) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    adapter.jobs.clear()
    adapter.plan("find", *[DOWN] * 200)

    with pytest.raises(SubmitUnsettled, match="Memory took job 1, but whether it still has it is not known"):
        await cluster.wait_for_start(job, 0.05, ready=started)


async def test_a_job_that_was_taken_under_another_id_is_found(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger
) -> None:
    job = await cluster.submit(a_spec(), awaited=True)
    del adapter.jobs[job.id]
    del adapter.tokens[job.id]
    adapter.put("8", JobState.QUEUED)
    adapter.tokens[JobId("8")] = job.token

    start = await cluster.wait_for_start(job, 0.05, ready=started)

    assert start.status is not None
    assert (start.status.id, start.status.state, [entry.job for entry in live(ledger)]) == ("8", JobState.QUEUED, ["8"])


# ── a twin that came late ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [JobState.ENDED, JobState.GONE])
async def test_where_another_job_has_the_session_that_one_is_it(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, state: JobState
) -> None:
    job = await cluster.submit(a_spec())
    late = adapter._make(job.token)
    adapter.put(late, JobState.RUNNING, name=f"mine.{job.token}")
    report(home, job.token, started=f"{late} n1 {GONE_LONG_AGO}")
    adapter.put("1", state, **({"cause": EndCause.FAILED, "exit_code": 75} if state is JobState.ENDED else {}))

    status = (await cluster.status([job.id]))[job.id]

    assert (status.id, status.state) == (late, JobState.RUNNING)
    [entry] = live(ledger)
    assert (entry.job, (await cluster.status([late]))[late].state) == (late, JobState.RUNNING)


async def test_a_stranger_that_bears_the_session_s_id_is_not_it(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    job = await cluster.submit(a_spec())
    adapter.put("9", JobState.RUNNING, name="thesis")
    report(home, job.token, started=f"9 n1 {GONE_LONG_AGO}")
    adapter.put("1", JobState.ENDED, cause=EndCause.FAILED, exit_code=75)

    assert (await cluster.status([job.id]))[job.id].state is JobState.ENDED
