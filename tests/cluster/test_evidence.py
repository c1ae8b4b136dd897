"""What is known of an end that its scheduler gives no cause for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fxsched.cluster.evidence import Identity, another, concluded, identity
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.records.ledger import Entry
from fxsched.session.directory import Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = Token("abcdefghij2345672345")


def an_entry(**members: Any) -> Entry:
    return Entry(token=TOKEN, cluster="main", name="x", submitted_at=NOW, **members)


def running(**members: Any) -> JobStatus:
    return JobStatus(id=JobId("1"), state=JobState.RUNNING, **members)


def gone() -> JobStatus:
    return JobStatus(id=JobId("1"), state=JobState.GONE, observed_at=NOW)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"x.{TOKEN}", Identity.SAME),
        (f"x.{TOKEN[::-1]}", Identity.OTHER),
        ("", Identity.UNCLEAR),
        ("thesis", Identity.UNCLEAR),
        (f"{TOKEN}.x", Identity.UNCLEAR),
    ],
)
def test_a_token_tells_whose_job_it_is_and_a_name_without_one_nothing(name: str, expected: Identity) -> None:
    assert identity(running(name=name), an_entry()) is expected


def test_a_token_that_the_scheduler_has_elsewhere_counts_before_the_name() -> None:
    assert identity(running(name="thesis", token=TOKEN), an_entry()) is Identity.SAME
    assert identity(running(name=f"x.{TOKEN}", token=Token(TOKEN[::-1])), an_entry()) is Identity.OTHER


@pytest.mark.parametrize(
    ("submitted_at", "expected"), [(NOW, Identity.SAME), (NOW + timedelta(seconds=3), Identity.OTHER)]
)
def test_a_renamed_job_has_the_time_of_its_submission_still_and_an_id_that_came_again_another(
    submitted_at: datetime, expected: Identity
) -> None:
    status = running(name="thesis", submitted_at=submitted_at)

    assert identity(status, an_entry(accepted_at=NOW)) is expected
    assert identity(status, an_entry()) is Identity.UNCLEAR  # our own clock is no proof
    assert identity(running(name=f"x.{TOKEN}", submitted_at=submitted_at), an_entry(accepted_at=NOW)) is Identity.SAME


@pytest.mark.parametrize(
    ("report", "same", "expected"),
    [
        (Report(job=JobId("1"), started_at=NOW), True, Identity.SAME),
        (Report(job=JobId("2"), started_at=NOW), False, Identity.UNCLEAR),
        (Report(job=JobId("1"), started_at=NOW, exit_code=0), True, Identity.UNCLEAR),
        (Report(), False, Identity.UNCLEAR),
    ],
)
def test_a_renamed_job_that_runs_the_session_says_so_itself(report: Report, same: bool, expected: Identity) -> None:
    assert identity(running(name="thesis"), an_entry(), report, same=same) is expected


def test_nothing_of_another_job_is_told() -> None:
    status = running(name=f"x.{TOKEN[::-1]}", nodes=("n1",), observed_at=NOW, source="squeue")

    found = another(status)

    assert (found.id, found.state, found.observed_at, found.source) == ("1", JobState.GONE, NOW, "squeue")
    assert (found.name, found.nodes) == ("", ())


def test_what_the_scheduler_tells_of_an_end_counts_before_what_the_job_tells() -> None:
    later = NOW + timedelta(seconds=5)
    status = JobStatus(
        id=JobId("1"), state=JobState.ENDED, cause=EndCause.FAILED, exit_code=9, started_at=NOW, reason="exit 9"
    )

    found = concluded(status, Report(exit_code=3, node="n2", started_at=later, ended_at=later), an_entry(), 10.0)

    assert found == status


def test_a_cancelled_job_that_its_scheduler_knows_no_more_has_ended_by_that() -> None:
    found = concluded(gone(), Report(), an_entry(cancelled_at=NOW), 10.0)

    assert (found.state, found.cause) == (JobState.ENDED, EndCause.CANCELLED)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ({"cause": EndCause.FAILED, "exit_code": 143}, EndCause.CANCELLED),
        ({"cause": EndCause.FAILED, "signal": 15}, EndCause.CANCELLED),
        ({"cause": EndCause.FAILED, "exit_code": 3}, EndCause.FAILED),
        ({"cause": EndCause.WALLTIME, "exit_code": 143}, EndCause.WALLTIME),
        ({"cause": EndCause.COMPLETED, "exit_code": 0}, EndCause.COMPLETED),
    ],
)
def test_what_was_cancelled_did_not_fail_by_the_signal_that_ended_it(status: dict[str, Any], cause: EndCause) -> None:
    ended = JobStatus(id=JobId("1"), state=JobState.ENDED, **status)

    assert concluded(ended, Report(), an_entry(cancelled_at=NOW), 10.0).cause is cause
    assert concluded(ended, Report(), an_entry(), 10.0).cause is status["cause"]


@pytest.mark.parametrize(("code", "state"), [(0, JobState.ENDED), (127, JobState.ENDED), (143, JobState.GONE)])
def test_a_marker_of_an_end_by_a_signal_proves_nothing_because_the_job_may_run_again(
    code: int, state: JobState
) -> None:
    report = Report(job=JobId("1"), started_at=NOW, exit_code=code, ended_at=NOW)

    assert concluded(gone(), report, an_entry(), 10.0).state is state

    twice = concluded(gone(), report, an_entry(gone_at=NOW - timedelta(seconds=10)), 10.0)
    assert (twice.state, twice.exit_code) == (JobState.ENDED, code)


STARTED = Report(job=JobId("1"), node="n1", started_at=NOW)


@pytest.mark.parametrize(
    ("hours", "walltime", "state"),
    [
        (1, None, JobState.GONE),
        (23, None, JobState.GONE),
        (24, None, JobState.ENDED),
        (2, 3600, JobState.ENDED),
        (1.9, 3600, JobState.GONE),
        (25, 3600 * 24 * 7, JobState.ENDED),
    ],
)
def test_a_session_that_told_of_its_start_and_of_no_end_outlives_its_scheduler_s_memory(
    hours: float, walltime: int | None, state: JobState
) -> None:
    status = replace(gone(), observed_at=NOW + timedelta(hours=hours))

    assert concluded(status, STARTED, an_entry(gone_at=NOW, walltime=walltime), 10.0).state is state
    assert concluded(status, Report(), an_entry(gone_at=NOW, walltime=walltime), 10.0).state is JobState.ENDED


def test_a_first_gone_that_lies_in_the_future_is_not_the_first_of_two() -> None:
    status = JobStatus(id=JobId("1"), state=JobState.GONE, observed_at=NOW)

    found = concluded(status, Report(), an_entry(gone_at=NOW + timedelta(hours=1)), 10.0)

    assert found.state is JobState.GONE


@pytest.mark.parametrize(
    ("said", "exit_code", "cancelled", "expected"),
    [
        (EndCause.UNKNOWN, 0, False, EndCause.COMPLETED),
        (EndCause.UNKNOWN, 3, False, EndCause.FAILED),
        (EndCause.UNKNOWN, 143, True, EndCause.CANCELLED),
        (EndCause.UNKNOWN, None, True, EndCause.CANCELLED),
        (EndCause.WALLTIME, 0, True, EndCause.WALLTIME),
    ],
)
def test_an_end_without_a_cause_gets_it_from_the_job_s_own_marker_or_from_the_cancel(
    said: EndCause, exit_code: int | None, cancelled: bool, expected: EndCause
) -> None:
    status = JobStatus(id=JobId("1"), state=JobState.ENDED, cause=said)
    entry = an_entry(cancelled_at=NOW if cancelled else None)

    found = concluded(status, Report(exit_code=exit_code), entry, 10.0)

    assert (found.cause, found.exit_code) == (expected, exit_code)


def test_an_end_that_nobody_gives_a_cause_for_is_asked_for_again_before_it_stays_so() -> None:
    status = JobStatus(id=JobId("1"), state=JobState.ENDED, cause=EndCause.UNKNOWN, reason="exit 7", observed_at=NOW)
    entry = an_entry()

    first = concluded(status, Report(), entry, 10.0)
    later = replace(entry, gone_at=NOW - timedelta(seconds=11))
    second = concluded(status, Report(), later, 10.0)

    assert (first.state, first.cause) == (JobState.GONE, None)
    assert (second.state, second.cause, second.reason) == (JobState.ENDED, EndCause.UNKNOWN, "exit 7")
