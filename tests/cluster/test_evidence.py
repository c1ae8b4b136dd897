"""What is known of an end that its scheduler gives no cause for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fxsched.cluster.evidence import concluded, identified
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.records.ledger import Entry
from fxsched.session.directory import Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = Token("abcdefghij2345672345")


def an_entry(**members: Any) -> Entry:
    return Entry(token=TOKEN, cluster="main", name="x", submitted_at=NOW, **members)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (f"x.{TOKEN}", JobState.RUNNING),
        ("", JobState.RUNNING),
        (f"x.{TOKEN[::-1]}", JobState.GONE),
        (f"{TOKEN}.x", JobState.GONE),
    ],
)
def test_a_job_that_bears_another_token_is_another_job(name: str, state: JobState) -> None:
    status = JobStatus(
        id=JobId("1"), state=JobState.RUNNING, name=name, nodes=("n1",), observed_at=NOW, source="squeue"
    )

    found = identified(status, an_entry())

    assert (found.state, found.observed_at, found.source, found.submitted_at) == (state, NOW, "squeue", NOW)
    assert found.nodes == (("n1",) if state is JobState.RUNNING else ())  # nothing of the other job is told


def test_when_a_job_was_submitted_its_scheduler_knows_best() -> None:
    earlier = NOW - timedelta(seconds=5)
    status = JobStatus(id=JobId("1"), state=JobState.RUNNING, submitted_at=earlier)

    assert identified(status, an_entry()).submitted_at == earlier


def test_what_the_scheduler_tells_of_an_end_counts_before_what_the_job_tells() -> None:
    later = NOW + timedelta(seconds=5)
    status = JobStatus(
        id=JobId("1"), state=JobState.ENDED, cause=EndCause.FAILED, exit_code=9, started_at=NOW, reason="exit 9"
    )

    found = concluded(status, Report(exit_code=3, node="n2", started_at=later, ended_at=later), an_entry(), 10.0)

    assert found == status


def test_a_cancelled_job_that_its_scheduler_knows_no_more_has_ended_only_when_it_was_said_twice() -> None:
    status = JobStatus(id=JobId("1"), state=JobState.GONE, observed_at=NOW)
    entry = an_entry(cancelled_at=NOW)

    first = concluded(status, Report(), entry, 10.0)
    second = concluded(status, Report(), replace(entry, gone_at=NOW - timedelta(seconds=10)), 10.0)

    assert (first.state, second.state, second.cause) == (JobState.GONE, JobState.ENDED, EndCause.CANCELLED)


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
