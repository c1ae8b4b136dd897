"""What a crash left is mended, and only that."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from fxsched.adapter import Ability
from fxsched.cluster.cluster import Cluster
from fxsched.cluster.reconcile import Finding, Kind, reconcile, settle_cut_off
from fxsched.errors import SchedulerUnavailable
from fxsched.hosts import LocalHost
from fxsched.jobs import EndCause, JobId, JobState, Token, new_token
from fxsched.records.files import now
from fxsched.records.ledger import Entry, Ledger, Owner

from .common import DOWN, GONE_LONG_AGO, SHORT, a_spec, live, report, session, sessions
from .memory_adapter import MemoryAdapter

pytestmark = pytest.mark.anyio

KILLED = Owner(host=os.uname().nodename, pid=os.getpid(), ticks="of another process with this number")


class ListingAdapter(MemoryAdapter):
    """A scheduler that can list all of its user's sessions."""

    abilities = frozenset({Ability.LIST})

    async def submissions(self) -> Mapping[Token, tuple[JobId, ...]]:
        self._meet("submissions", None)
        found: dict[Token, tuple[JobId, ...]] = {}
        for id, token in self.tokens.items():
            found[token] = (*found.get(token, ()), id)
        return found


@pytest.fixture(params=[MemoryAdapter, ListingAdapter], ids=["finds", "lists"])
def adapter(request: pytest.FixtureRequest, host: LocalHost) -> MemoryAdapter:
    """Each finding comes out the same, whether the scheduler can list jobs or only find those of a token."""
    made: MemoryAdapter = request.param(host)
    return made


@pytest.fixture
def listing(host: LocalHost) -> ListingAdapter:
    return ListingAdapter(host)


@pytest.fixture
def listed(listing: ListingAdapter, ledger: Ledger) -> Cluster:
    """A cluster whose scheduler can list jobs."""
    return Cluster("hpc", listing, ledger, timing=SHORT)


def begun(ledger: Ledger, home: Path, *, owner: Owner | None = KILLED, jobs: int = 0, to: MemoryAdapter) -> Token:
    """Leave a submission as a launch does that is killed (or goes on) when ``jobs`` have been made of it."""
    token = new_token()
    ledger.create([Entry(token=token, cluster="hpc", name="mine", submitted_at=now(), owner=owner)])
    session(home, token).mkdir(parents=True)
    for _ in range(jobs):
        to._make(token)
    return token


def told(findings: list[Finding]) -> list[tuple[Kind, str, JobId | None]]:
    return [(finding.kind, finding.token, finding.job) for finding in findings]


# ── a submit that was cut off ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_submit_that_was_cut_off_before_its_job_is_taken_back(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    token = begun(ledger, home, to=adapter)
    findings = await reconcile(cluster, fix=True)
    assert told(findings) == [(Kind.GHOST, token, None)]
    assert findings[0].text == 'the submit of "mine" was cut off, and no job came of it'
    assert (live(ledger), sessions(home)) == ([], [])


async def test_a_submit_that_was_cut_off_after_its_job_gets_it(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    token = begun(ledger, home, to=adapter, jobs=1)
    assert told(await reconcile(cluster, fix=True)) == [(Kind.UNRECORDED, token, "1")]
    assert [(entry.token, entry.job, entry.owner) for entry in live(ledger)] == [(token, "1", None)]
    assert (sessions(home), adapter.asked("cancel")) == ([token], [])


@pytest.mark.parametrize("settle", [lambda cluster: reconcile(cluster, fix=True), settle_cut_off])
async def test_a_job_that_its_scheduler_shows_only_after_the_pause_is_found(
    cluster: Cluster,
    adapter: MemoryAdapter,
    ledger: Ledger,
    home: Path,
    in_the_pause: Callable[[Callable[[], object]], None],
    settle: Callable[[Cluster], Awaitable[list[Finding]]],
) -> None:
    token = begun(ledger, home, to=adapter)
    in_the_pause(lambda: adapter._make(token))
    assert told(await settle(cluster)) == [(Kind.UNRECORDED, token, "1")]
    assert [(entry.token, entry.job) for entry in live(ledger)] == [(token, "1")]


@pytest.mark.parametrize("settled", ["job", "none"])
async def test_what_another_launch_settles_meanwhile_is_left_as_that_has_settled_it(
    cluster: Cluster,
    adapter: MemoryAdapter,
    ledger: Ledger,
    home: Path,
    in_the_pause: Callable[[Callable[[], object]], None],
    settled: str,
) -> None:
    token = begun(ledger, home, to=adapter)
    (entry,) = live(ledger)
    other = Ledger(ledger.state)

    def settle() -> None:
        if settled == "job":
            other.write(replace(entry, owner=None, job=JobId("7")))
        else:
            other.forget(token)

    in_the_pause(settle)
    assert await settle_cut_off(cluster) == []
    assert [entry.job for entry in live(ledger)] == (["7"] if settled == "job" else [])
    assert sessions(home) == [token]


async def test_a_job_that_says_it_has_begun_exists_whatever_the_scheduler_says(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    token = begun(ledger, home, to=adapter)
    report(home, token, started=f"7 n1 {GONE_LONG_AGO}")
    assert told(await settle_cut_off(cluster)) == [(Kind.UNRECORDED, token, "7")]
    assert [(entry.token, entry.job) for entry in live(ledger)] == [(token, "7")]
    assert sessions(home) == [token]


async def test_of_the_jobs_of_a_submit_that_was_cut_off_one_is_kept(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    token = begun(ledger, home, to=adapter, jobs=3)
    adapter.put("1", JobState.ENDED, cause=EndCause.FAILED)
    report(home, token, started=f"3 n1 {GONE_LONG_AGO}")
    found = told(await reconcile(cluster, fix=True))
    assert sorted(found) == [(Kind.TWIN, token, "1"), (Kind.TWIN, token, "2"), (Kind.UNRECORDED, token, "3")]
    assert [entry.job for entry in live(ledger)] == ["3"]
    assert adapter.jobs[JobId("3")].state is JobState.QUEUED


async def test_a_scheduler_that_cannot_be_asked_the_second_time_settles_nothing(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    token = begun(ledger, home, to=adapter)
    adapter.plan("submissions" if Ability.LIST in adapter.abilities else "find", None, DOWN)
    with pytest.raises(SchedulerUnavailable, match="cluster 'hpc': slurmctld is down"):
        await reconcile(cluster, fix=True)
    assert ([entry.token for entry in live(ledger)], sessions(home)) == ([token], [token])


# ── a submit that goes on ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("jobs", [0, 2])
async def test_a_submit_that_goes_on_is_nobody_else_s_business(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path, jobs: int
) -> None:
    token = begun(ledger, home, owner=Owner.me(), to=adapter, jobs=jobs)
    before = live(ledger)
    assert await settle_cut_off(cluster) == []
    assert adapter.calls == []
    assert await reconcile(cluster, fix=True) == []
    assert (live(ledger), sessions(home)) == (before, [token])
    assert (adapter.asked("find"), adapter.asked("cancel")) == ([], [])


async def test_a_submit_that_goes_on_beside_one_that_was_cut_off_is_left_alone(
    cluster: Cluster, adapter: MemoryAdapter, ledger: Ledger, home: Path
) -> None:
    going_on = begun(ledger, home, owner=Owner.me(), to=adapter, jobs=1)
    cut_off = begun(ledger, home, to=adapter)
    assert told(await settle_cut_off(cluster)) == [(Kind.GHOST, cut_off, None)]
    assert [(entry.token, entry.job) for entry in live(ledger)] == [(going_on, None)]
    assert sessions(home) == [going_on]


@pytest.mark.parametrize("its_clock", [-3600, 0, 3600])
async def test_a_submission_on_another_host_is_nobody_s_business_while_it_may_go_on_whatever_that_host_s_clock_says(
    cluster: Cluster, ledger: Ledger, its_clock: float
) -> None:
    token = new_token()
    owner = Owner(host="other", pid=1, ticks="1")
    then = now() + timedelta(seconds=its_clock)
    ledger.write(Entry(token=token, cluster="hpc", name="x", submitted_at=then, owner=owner))
    for seconds, settled in ((cluster.timing.launch * 2 + 30, 0), (cluster.timing.over + 1, 1)):
        written = time.time() - seconds
        os.utime(ledger.state / "ledger" / "live" / f"{token}.json", (written, written))
        assert len(await settle_cut_off(cluster)) == settled


async def test_a_submission_that_begins_while_the_scheduler_lists_its_jobs_is_no_orphan(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger, home: Path
) -> None:
    ask = listing.submissions

    async def late() -> Mapping[Token, tuple[JobId, ...]]:
        begun(ledger, home, owner=Owner.me(), to=listing, jobs=1)
        return await ask()

    listing.submissions = late  # type: ignore[method-assign]
    assert await reconcile(listed, fix=True) == []
    assert [entry.job for entry in live(ledger)] == [None]


# ── what the scheduler has ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_of_ours_that_the_ledger_does_not_have_gets_an_entry(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger
) -> None:
    job = await listed.submit(a_spec())
    since = datetime(2026, 3, 1, tzinfo=UTC)
    listing.put("1", JobState.RUNNING, name=f"mine.{job.token}", submitted_at=since)
    ledger.forget(job.token)
    assert told(await reconcile(listed, fix=True)) == [(Kind.ORPHANED, job.token, "1")]
    assert live(ledger) == [Entry(token=job.token, cluster="hpc", name="mine", submitted_at=since, job=job.id)]
    assert await reconcile(listed, fix=True) == []


@pytest.mark.parametrize("state", [JobState.ENDED, JobState.GONE])
async def test_a_job_that_lives_no_more_is_no_orphan(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger, state: JobState
) -> None:
    job = await listed.submit(a_spec())
    listing.put("1", state)
    ledger.forget(job.token)
    assert (await reconcile(listed, fix=True), live(ledger)) == ([], [])


async def test_a_session_that_has_ended_is_no_orphan_though_the_scheduler_still_shows_its_job(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger
) -> None:
    job = await listed.submit(a_spec())
    (entry,) = live(ledger)
    listing.put("1", JobState.ENDED, cause=EndCause.COMPLETED)
    await listed.status([job.id])
    listing.put("1", JobState.RUNNING)
    assert (await reconcile(listed, fix=True), live(ledger)) == ([], [])
    assert ledger.by_job("hpc", frozenset([job.id]))[job.id].submitted_at == entry.submitted_at


async def test_the_job_that_the_ledger_has_is_kept_and_its_living_twin_cancelled(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger
) -> None:
    job = await listed.submit(a_spec())
    for _ in range(2):
        listing._make(job.token)
    listing.put("2", JobState.ENDED, cause=EndCause.FAILED)
    assert told(await reconcile(listed, fix=True)) == [(Kind.TWIN, job.token, "3")]
    assert (listing.asked("cancel"), [entry.job for entry in live(ledger)]) == (["3"], ["1"])


async def test_a_living_job_takes_the_place_of_the_one_that_the_ledger_has_and_that_lives_no_more(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger
) -> None:
    job = await listed.submit(a_spec())
    listing._make(job.token)
    listing.put("1", JobState.ENDED, cause=EndCause.FAILED)
    assert told(await reconcile(listed, fix=True)) == [(Kind.UNRECORDED, job.token, "2")]
    assert (listing.asked("cancel"), [entry.job for entry in live(ledger)]) == ([], ["2"])


async def test_a_look_tells_all_and_changes_nothing_and_the_mending_mends_it(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger, home: Path, tmp_path: Path
) -> None:
    ghost = begun(ledger, home, to=listing)
    unrecorded = begun(ledger, home, to=listing, jobs=2)
    orphan = begun(ledger, home, to=listing, jobs=2)
    ledger.forget(orphan)
    replaced, doubled = [(await listed.submit(a_spec())) for _ in range(2)]
    for job in (replaced, doubled):
        listing._make(job.token)
    listing.put(replaced.id, JobState.ENDED, cause=EndCause.FAILED)
    everything = {
        (Kind.GHOST, ghost, None),
        (Kind.UNRECORDED, unrecorded, "1"),
        (Kind.TWIN, unrecorded, "2"),
        (Kind.ORPHANED, orphan, "3"),
        (Kind.TWIN, orphan, "4"),
        (Kind.UNRECORDED, replaced.token, "7"),
        (Kind.TWIN, doubled.token, "8"),
    }

    before = contents(tmp_path)
    looked = await reconcile(listed, fix=False)
    assert (set(told(looked)), {finding.mended for finding in looked}) == (everything, {False})
    assert (contents(tmp_path), listing.asked("cancel")) == (before, [])

    mended = await reconcile(listed, fix=True)
    assert (set(told(mended)), {finding.mended for finding in mended}) == (everything, {True})
    assert sorted(listing.asked("cancel")) == ["2", "4", "8"]
    assert await reconcile(listed, fix=False) == []


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in a folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


async def test_of_twins_the_one_that_runs_the_session_is_kept_whatever_the_ledger_has(
    listed: Cluster, listing: ListingAdapter, ledger: Ledger, home: Path
) -> None:
    job = await listed.submit(a_spec())
    late = listing._make(job.token)
    for id in (job.id, late):
        listing.put(id, JobState.RUNNING, name=f"mine.{job.token}")
    report(home, job.token, started=f"{late} n1 {GONE_LONG_AGO}")

    await reconcile(listed, fix=True)

    assert [entry.job for entry in live(ledger)] == [late]
    assert (listing.jobs[late].state, listing.jobs[job.id].state) == (JobState.RUNNING, JobState.ENDED)


async def test_of_twins_none_is_ended_while_it_cannot_be_read_which_has_the_session(
    listed: Cluster, listing: ListingAdapter, home: Path
) -> None:
    job = await listed.submit(a_spec())
    late = listing._make(job.token)
    for id in (job.id, late):
        listing.put(id, JobState.RUNNING, name=f"mine.{job.token}")
    (session(home, job.token) / "started").mkdir()

    [found] = await reconcile(listed, fix=True)

    assert (found.kind, found.mended, listing.asked("cancel")) == (Kind.UNCLEAR, False, [])
