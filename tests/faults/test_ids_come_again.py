"""A controller that crashed forgets jobs and gives their ids again; a job may come twice, or come back."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from fxsched.jobs import Token

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Site


@pytest.fixture
def lost(site: Site) -> str:
    """The id of a session that was seen, whose job the controller has lost, and which it has given to another one."""
    with site.fake as fake:
        fake.next_id = 4217
    id = site.launched()
    site.fxsched("status", id)
    shutil.rmtree(site.state / "poll")  # that answer is old
    with site.fake as fake:
        fake.lose(fake.jobs[int(id)])
        fake.next_id = int(id)
        fake.set_clock(fake.clock_offset + 5)  # no controller is back within the second
    assert site.sbatch("other") == id
    return id


def test_the_other_job_is_not_taken_for_the_lost_one(site: Site, lost: str) -> None:
    first = json.loads(site.fxsched("status", "--json", lost, code=3))

    assert (first["state"], first["reason"]) == ("gone", "The scheduler has given the job's id to another job.")


def test_after_two_answers_the_lost_job_has_ended_and_nobody_knows_why(site: Site, lost: str) -> None:
    def ended() -> bool:
        return "has ended: nobody can say why" in site.run("status", lost).stdout

    until(ended)

    assert site.live_entries() == {}
    assert site.live_jobs() == {lost: "other"}


def test_a_cancel_never_cancels_the_other_job(site: Site, lost: str) -> None:
    site.fxsched("cancel", lost)
    until(lambda: "has ended" in site.run("status", lost).stdout)
    site.fxsched("cancel", lost)

    assert (site.live_jobs(), site.calls("scancel")) == ({lost: "other"}, 0)


@pytest.mark.parametrize("fault", ["down", "garbage", "half-line"])
def test_a_cancel_whose_job_cannot_be_identified_is_not_even_tried(site: Site, lost: str, fault: str) -> None:
    site.plan("squeue", fault)

    said = site.fxsched("cancel", lost, code=75)

    assert "cluster 'main'" in said
    assert "again" in said
    assert (site.live_jobs(), site.calls("scancel")) == ({lost: "other"}, 0)


def test_reconcile_does_not_adopt_the_other_job(site: Site, lost: str) -> None:
    assert site.fxsched("reconcile", "--fix") == ""

    assert [entry.job for entry in site.live_entries().values()] == [lost]
    assert site.live_jobs() == {lost: "other"}


def test_of_two_sessions_with_one_id_the_later_one_has_it_and_the_former_ends(site: Site) -> None:
    site.plan("sbatch", "lose", calls=[1])
    id = site.launched()
    former = set(site.live_entries())
    assert site.launched() == id

    until(lambda: site.run("status", id).stdout and former == site.ended_tokens())

    assert json.loads(site.fxsched("status", "--json", id))["state"] == "queued"
    site.assert_exactly_once()
    assert site.fxsched("cancel", id) == f"{id} has ended: it was cancelled.\n"
    assert (site.live_jobs(), site.live_entries()) == ({}, {})


def twin_of(site: Site, id: str) -> str:
    """Submit a session's job once more, as a repeated submit would, and return the twin's id."""
    with site.fake as fake:
        job = fake.jobs[int(id)]
        script = f"{fake.directory_of(job)}/script"
    return site.sbatch(job.name, f"sh {script}", f"--output={site.home}/twin.log")


def test_a_twin_ends_at_once_and_says_so_in_its_output(site: Site) -> None:
    site.undrain()
    id = site.launched()
    report = site.state / "sessions" / next(iter(site.live_entries())) / "started"
    until(report.exists)

    twin = twin_of(site, id)
    until(lambda: twin not in site.live_jobs())

    assert "already has this session, so this one" in (site.home / "twin.log").read_text()
    assert list(site.live_jobs()) == [id]


def test_a_twin_is_found_and_cancelled_by_reconcile_and_the_job_that_the_ledger_has_is_kept(site: Site) -> None:
    id = site.launched()
    twin = twin_of(site, id)

    assert site.fxsched("reconcile", code=1).startswith(f"twin: main, job {twin}, ")
    assert sorted(site.live_jobs()) == [id, twin]
    site.fxsched("reconcile", "--fix")

    site.assert_exactly_once()
    assert list(site.live_jobs()) == [id]
    assert site.fxsched("reconcile") == ""


def test_of_twins_whose_submit_was_cut_off_the_one_that_runs_is_kept(site: Site) -> None:
    first = site.launched()
    token, entry = next(iter(site.live_entries().items()))
    second = twin_of(site, first)
    (site.state / "ledger" / "live" / f"{token}.json").write_text(
        json.dumps({"token": token, "cluster": "main", "name": entry.name, "submitted_at": str(entry.submitted_at)})
    )
    (site.state / "sessions" / token / "started").write_text(f"{second} n1 1700000000\n")

    site.fxsched("reconcile", "--fix")

    site.assert_exactly_once()
    assert list(site.live_jobs()) == [second]


def test_a_job_that_the_ledger_has_lost_is_found(site: Site) -> None:
    id = site.launched()
    token = Token(next(iter(site.live_entries())))
    site.ledger.forget(token)

    assert site.fxsched("reconcile", code=1).startswith(f"orphaned: main, job {id}, {token}: ")
    site.fxsched("reconcile", "--fix")

    site.assert_exactly_once()
    assert site.fxsched("reconcile") == ""


def test_a_requeued_job_goes_on_with_its_session(site: Site) -> None:
    site.configure("requeue = true\n")
    site.start_script(f"echo x >>{site.home}/starts; exec sleep 60")
    with site.fake as fake:
        fake.settings.requeue_delay = 0
        fake.save_settings()
    site.undrain()
    id = site.launched()
    starts = site.home / "starts"
    until(starts.exists)

    with site.fake as fake:
        fake.requeue(fake.jobs[int(id)])
    until(lambda: starts.read_text() == "x\nx\n", "the requeued job did not start its session again")

    assert json.loads(site.fxsched("status", "--json", id))["state"] == "running"
    site.assert_exactly_once()
