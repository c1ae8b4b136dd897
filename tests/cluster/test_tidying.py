"""What ended sessions leave behind goes, but nobody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxsched.cluster.cluster import Cluster, Job
from fxsched.jobs import EndCause, JobState
from fxsched.records.ledger import KEEP_ENDED, Ledger
from fxsched.session import here

from .common import a_spec, age, sessions
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


async def test_what_is_left_of_old_sessions_is_removed_on_the_way(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    old, new = [await cluster.submit(a_spec()) for _ in range(2)]
    adapter.put(old.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([old.id])
    age(ledger, old.token, KEEP_ENDED + 60)
    adapter.put(new.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([new.id])
    await cluster.tidying.tidy()
    assert old.token not in sessions(home)
    assert ledger.by_job("hpc", frozenset([old.id])) == {}


async def test_an_old_session_that_cannot_be_removed_is_remembered_until_it_can(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await cluster.submit(a_spec()) for _ in range(4)]
    remove = here.remove

    async def end(job: Job) -> None:
        adapter.put(job.id, JobState.ENDED, cause=EndCause.COMPLETED)
        await cluster.status([job.id])
        await cluster.tidying.tidy()

    def fail(directory: Path) -> None:
        raise OSError(116, "Stale file handle")

    for job in jobs[:2]:
        await end(job)
    for job in jobs[:2]:
        age(ledger, job.token, KEEP_ENDED + 60)
    monkeypatch.setattr(here, "remove", fail)
    await end(jobs[2])
    assert len(sessions(home)) == len(ledger.by_job("hpc", frozenset(job.id for job in jobs))) == 4
    monkeypatch.setattr(here, "remove", remove)
    await end(jobs[3])
    assert set(sessions(home)) == {job.token for job in jobs[2:]}
    assert ledger.by_job("hpc", frozenset(job.id for job in jobs[:2])) == {}


@pytest.mark.parametrize("away", [False, True])
async def test_an_old_session_is_given_up_only_if_its_host_has_been_away_for_long(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    old, new = [await cluster.submit(a_spec()) for _ in range(2)]

    def fail(directory: Path) -> None:
        raise OSError(116, "Stale file handle")

    adapter.put(old.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([old.id])
    await cluster.tidying.tidy()
    age(ledger, old.token, 2 * KEEP_ENDED + 60)
    if away:
        monkeypatch.setattr(here, "remove", fail)
    adapter.put(new.id, JobState.ENDED, cause=EndCause.COMPLETED)
    await cluster.status([new.id])
    await cluster.tidying.tidy()
    assert ledger.by_job("hpc", frozenset([old.id])) == {}
    assert (old.token in sessions(home)) == away
