"""What ended sessions leave behind goes, but nobody waits for it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from fxsched.cluster.cluster import Cluster, Job
from fxsched.jobs import EndCause, JobState
from fxsched.records.ledger import KEEP_ENDED, Ledger
from fxsched.session import here

from .common import SHORT, Gated, a_spec, age, end_one, private, session, sessions
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio


async def test_a_status_waits_for_no_tidying_up(cluster: Cluster, home: Path) -> None:
    jobs = [await end_one(cluster) for _ in range(2)]
    assert [private(home, job.token) for job in jobs] == [True, True]
    await cluster.tidying.tidy()
    assert [private(home, job.token) for job in jobs] == [False, False]
    assert set(sessions(home)) == {job.token for job in jobs}  # what is not private stays for a while


async def test_a_cancel_waits_for_no_tidying_up(cluster: Cluster, home: Path) -> None:
    job = await cluster.submit(a_spec())
    await cluster.cancel(job.id)
    assert private(home, job.token)
    await cluster.tidying.tidy()
    assert not private(home, job.token)


async def test_what_a_cancelled_tidying_did_not_do_stays_due(
    cluster: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard = Gated(here.discard)
    monkeypatch.setattr(here, "discard", discard)
    jobs = [await end_one(cluster) for _ in range(2)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cluster.tidying.tidy)
        await discard.is_hanging()
        tasks.cancel_scope.cancel()
    assert [private(home, job.token) for job in jobs] == [True, True]
    await cluster.tidying.tidy()
    discard.gate.set()
    assert [private(home, job.token) for job in jobs] == [False, False]


async def test_old_sessions_are_looked_for_once_for_all_that_have_ended_and_not_where_none_has(
    cluster: Cluster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await end_one(cluster)
    read: list[str] = []
    monkeypatch.setattr(ledger, "old", lambda cluster, _: read.append(cluster) or [])
    await cluster.tidying.tidy()
    await cluster.tidying.tidy()
    assert read == ["hpc"]


async def test_a_home_out_of_reach_is_no_trouble_and_is_not_tried_for_ever(
    cluster: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def fail(directory: Path) -> None:
        tried.append(directory)
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(here, "discard", fail)
    job = await end_one(cluster)
    await cluster.tidying.tidy()
    await cluster.tidying.tidy()
    assert tried == [session(home, job.token)]


async def test_a_ledger_that_cannot_be_read_stops_no_tidying_up(
    cluster: Cluster, ledger: Ledger, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = await end_one(cluster)
    await cluster.tidying.tidy()
    age(ledger, old.token, KEEP_ENDED + 60)
    job = await end_one(cluster)
    ledger.state.chmod(0o777)
    await cluster.tidying.tidy()
    assert not private(home, job.token)
    assert "what is left of old sessions stays: the ledger in" in caplog.text
    assert old.token in sessions(home)

    ledger.state.chmod(0o700)
    await end_one(cluster)
    await cluster.tidying.tidy()
    assert old.token not in sessions(home)


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

    tried: list[Path] = []

    def fail(directory: Path) -> None:
        tried.append(directory)
        raise OSError(116, "Stale file handle")

    for job in jobs[:2]:
        await end(job)
    for job in jobs[:2]:
        age(ledger, job.token, KEEP_ENDED + 60)
    monkeypatch.setattr(here, "remove", fail)
    await end(jobs[2])
    assert len(tried) == 1  # a host that is down is not tried again for each of its sessions
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


async def test_a_host_that_is_down_costs_one_try_and_nobody_is_for_ever_behind_it(
    cluster: Cluster, ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [await end_one(cluster) for _ in range(3)]
    await cluster.tidying.tidy()
    for job in old:
        age(ledger, job.token, KEEP_ENDED + 60)
    down = session(home, min(job.token for job in old))  # what is first in the folder
    tried: list[Path] = []
    remove = here.remove

    def remove_unless_down(directory: Path) -> None:
        tried.append(directory)
        if directory == down:
            raise OSError(116, "Stale file handle")
        remove(directory)

    monkeypatch.setattr(here, "remove", remove_unless_down)
    for _ in range(100):  # by chance; that it takes so many has one chance in 2**100
        await end_one(cluster)
        tried.clear()
        await cluster.tidying.tidy()
        assert tried[-1] == down or down not in tried
        if not {job.token for job in old} & {*sessions(home)} - {down.name}:
            break
    assert {job.token for job in old} & {*sessions(home)} == {down.name}


async def test_another_cluster_s_old_sessions_are_left_to_it(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    old = await end_one(Cluster("other", adapter, ledger, timing=SHORT))
    age(ledger, old.token, KEEP_ENDED + 60)
    await end_one(cluster)
    await cluster.tidying.tidy()
    assert old.token in sessions(home)
    assert ledger.knows(old.token)
