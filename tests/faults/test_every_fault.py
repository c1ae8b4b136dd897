"""Every fault of the fake Slurm, in every verb: one job or none, one clear error, and never a lie about a job."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from fxsched.cluster.reconcile import reconcile
from fxsched.errors import CancelUnverified, FxschedError, SchedulerUnavailable, SubmitUnsettled
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, new_token
from fxsched.records.ledger import Entry
from fxsched_fakes.faults import KINDS

from ..contract.faults import assert_clear

if TYPE_CHECKING:
    from fxsched.cluster.cluster import Cluster, Job
    from fxsched.jobs import JobSpec

    from .conftest import Site

FAULTS = sorted(KINDS)
HANGING = ("hang", "accept-then-hang")
SILENT = ("fail", "garbage", "half-line", "down", "munge", "accept-then-time-out", *HANGING)
"""Faults of squeue after which nothing is known."""


def options(kind: str) -> dict[str, object]:
    return {"delay": 0.05} if kind == "slow" else {"delay": 0.0}


def submit(cluster: Cluster, spec: JobSpec) -> Job | FxschedError:
    """Submit; return the job or the error."""
    try:
        return anyio.run(cluster.submit, spec)
    except FxschedError as error:
        return error


# ── submit ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", FAULTS)
def test_a_submit_that_goes_wrong_makes_one_job_or_none_and_says_which(site: Site, kind: str) -> None:
    with site.fake as fake:
        fake.next_id = 4217  # an id that can be cut in half
    site.plan("sbatch", kind, **options(kind))
    spec = site.spec()

    outcome = submit(site.open(), spec)

    jobs = site.live_jobs_by_token().get(spec.token, [])
    if isinstance(outcome, FxschedError):
        assert_clear(outcome)
        assert kind in ("fail", "hang", "garbage", "down", "munge")
        assert jobs == []
    elif kind != "lose":
        assert jobs == [outcome.id]
    if kind != "lose":
        site.assert_exactly_once()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lost_answer_and_a_lookup_that_goes_wrong_never_make_two_jobs(site: Site, kind: str) -> None:
    site.plan_all(
        [
            {"command": "sbatch", "fault": "accept-then-time-out", "delay": 0.0},
            {"command": "squeue", "fault": kind, **options(kind)},
        ]
    )
    cluster = site.open(launch=2.0 if kind in SILENT else 20.0)

    outcome = submit(cluster, site.spec())

    lost = kind == "lose"  # here it takes the job itself, after it has been listed
    assert len(site.live_jobs()) == (0 if lost else 1)
    if isinstance(outcome, FxschedError):
        assert isinstance(outcome, SubmitUnsettled)
        assert kind in SILENT
        assert_clear(outcome)
        assert len(site.live_entries()) == 1
        site.plan()
        anyio.run(partial(reconcile, cluster, fix=True))
    if not lost:
        site.assert_exactly_once()


@pytest.mark.parametrize("kind", HANGING)
def test_a_launch_ends_in_its_time_even_if_no_command_ever_returns(site: Site, kind: str) -> None:
    site.configure(launch_timeout=1.5, wait_for_start=1.0, deadline=600.0, submit_deadline=600.0)
    site.plan_all([{"command": command, "fault": kind} for command in ("sbatch", "squeue", "scancel", "sacct")])

    done = site.launch()  # or it would take as long as a command may

    assert done.returncode == 1
    assert_clear(done.stdout)
    assert "fxsched reconcile --fix" in done.stdout
    assert site.clients() == []
    assert len(site.live_entries()) == 1


def test_a_launch_whose_job_cannot_be_watched_says_so_in_its_time(site: Site) -> None:
    site.configure(wait_for_start=0.2, deadline=600.0)
    site.timing["settle_start"] = 0.2
    site.plan("squeue", "hang")

    done = site.launch()  # or it would take as long as a command may

    assert (done.returncode, site.clients()) == (0, [])
    assert "has been submitted. How it stands cannot be told" in done.stdout
    site.assert_exactly_once()


@pytest.mark.parametrize("kind", ["fail", "down", "munge"])
def test_a_launch_that_fails_exits_with_1_and_tells_the_user_why(site: Site, kind: str) -> None:
    site.plan("sbatch", kind, **(options(kind) | ({"rc": 1, "stderr": "sbatch: error: No"} if kind == "fail" else {})))

    done = site.launch()

    assert done.returncode == 1
    assert done.stdout.startswith("The session could not be started: ")
    assert_clear(done.stdout)
    site.assert_exactly_once()


# ── status ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", FAULTS)
def test_a_status_never_reports_a_live_job_as_ended(site: Site, kind: str) -> None:
    cluster = site.open()
    job = anyio.run(cluster.submit, site.spec())
    known = anyio.run(cluster.status, [job.id])[job.id]
    site.plan("squeue", kind, **options(kind))

    for _ in range(3):
        try:
            status = anyio.run(partial(cluster.status, [job.id], max_age=0))[job.id]
        except SchedulerUnavailable as error:
            assert_clear(error)
            assert kind in SILENT
            assert cluster.last_known([job.id]) == {job.id: known}
        else:
            assert kind not in SILENT
            assert status.state is JobState.QUEUED
        if kind == "lose":
            break  # what it answered next would be true

    assert len(site.live_entries()) == 1


@pytest.mark.parametrize("kind", [kind for kind in SILENT if kind not in HANGING])
def test_the_command_line_shows_the_last_known_status_and_the_trouble(site: Site, kind: str) -> None:
    id = site.launched()
    site.fxsched("status", id)
    site.configure(poll_interval=0.001)
    site.plan("squeue", kind, **options(kind))

    shown = json.loads(site.fxsched("status", "--json", id, code=75))

    assert (shown["id"], shown["state"]) == (id, "queued")
    assert shown["observed_at"]
    assert_clear(shown["unavailable"])


@pytest.mark.parametrize("kind", sorted(KINDS - {"hang", "accept-then-hang", "lose", "forget", "banner", "slow"}))
def test_a_job_that_has_ended_is_known_to_have_as_soon_as_it_can_be_asked_for(site: Site, kind: str) -> None:
    cluster = site.open()
    job = anyio.run(cluster.submit, site.spec())
    site.plan("squeue", kind, **options(kind))
    with site.fake as fake:
        fake.cancel(fake.jobs[int(job.id)], by=0)
    with pytest.raises(SchedulerUnavailable):
        anyio.run(cluster.status, [job.id])

    site.plan()

    assert anyio.run(partial(cluster.status, [job.id], max_age=0))[job.id].state is JobState.ENDED


# ── cancel ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["scancel", "squeue"])
@pytest.mark.parametrize("kind", sorted(KINDS - {"lose", "forget"}))
def test_a_cancel_is_true_or_says_what_is_left_to_do(site: Site, command: str, kind: str) -> None:
    cluster = site.open(cancel=0.1)
    job = anyio.run(cluster.submit, site.spec())
    site.plan(command, kind, **options(kind))

    try:
        done = anyio.run(cluster.cancel, job.id)
    except (SchedulerUnavailable, CancelUnverified) as error:
        assert_clear(error)
        assert list(site.live_jobs()) == [job.id]
        site.plan()
        done = anyio.run(site.open().cancel, job.id)

    assert done.status.state is JobState.ENDED
    assert (site.live_jobs(), site.live_entries()) == ({}, {})


def test_a_cancelled_job_that_is_forgotten_at_once_ended_by_the_cancel(site: Site) -> None:
    cluster = site.open()
    job = anyio.run(cluster.submit, site.spec())
    site.plan("squeue", "forget")

    ended = anyio.run(cluster.cancel, job.id).status

    assert (ended.state, ended.cause) == (JobState.ENDED, EndCause.CANCELLED)
    assert site.live_entries() == {}


@pytest.mark.parametrize("kind", ["down", "munge"])
def test_a_cancel_that_cannot_be_asked_for_exits_with_75(site: Site, kind: str) -> None:
    id = site.launched()
    site.plan("scancel", kind, delay=0.0)

    assert_clear(site.fxsched("cancel", id, code=75))
    assert list(site.live_jobs()) == [id]


def test_a_cancel_that_is_refused_exits_with_1(site: Site) -> None:
    id = site.launched()
    site.plan("scancel", "fail", rc=210, stderr=f"scancel: error: Kill job error on job id {id}: Access denied\n")

    said = site.fxsched("cancel", id, code=1)

    assert "Access denied" in said
    assert_clear(said)


# ── reconcile ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", sorted(KINDS - {"lose"}))
def test_a_reconcile_that_cannot_ask_mends_nothing(site: Site, kind: str) -> None:
    cluster = site.open()
    settled = anyio.run(cluster.submit, site.spec())
    cut_off = new_token()
    site.ledger.write(Entry(token=cut_off, cluster="main", name="x", submitted_at=datetime.now(UTC)))
    adopted = site.sbatch(f"x.{cut_off}")
    site.plan("squeue", kind, **options(kind))
    before = site.live_jobs()

    try:
        anyio.run(partial(reconcile, cluster, fix=True))
    except SchedulerUnavailable as error:
        assert_clear(error)
        assert kind in SILENT
    else:
        assert kind not in SILENT

    assert site.live_jobs() == before
    site.plan()
    anyio.run(partial(reconcile, cluster, fix=True))
    assert {token: entry.job for token, entry in site.live_entries().items()} == {
        settled.token: settled.id,
        cut_off: adopted,
    }


def test_a_reconcile_that_cannot_ask_exits_with_75(site: Site) -> None:
    site.plan("squeue", "down", delay=0.0)

    assert_clear(site.fxsched("reconcile", "--fix", code=75))


def test_an_answer_about_many_jobs_that_is_cut_short_ends_none_of_them(site: Site) -> None:
    cluster = site.open()
    ids = [JobId(site.sbatch(f"x.{new_token()}", "true", "--hold")) for _ in range(3)]
    site.plan("squeue", "half-line")

    async def ask() -> dict[JobId, JobStatus]:
        return await cluster.status(ids, max_age=0)

    with pytest.raises(SchedulerUnavailable, match="no whole list"):
        anyio.run(ask)
