"""What is known of an end that its scheduler gives no cause for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from fxsched.cluster.evidence import concluded
from fxsched.jobs import EndCause, JobId, JobState, JobStatus, Token
from fxsched.records.ledger import Entry
from fxsched.session.directory import Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = Token("abcdefghij2345672345")


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
    entry = Entry(token=TOKEN, cluster="main", name="x", submitted_at=NOW, cancelled_at=NOW if cancelled else None)

    found = concluded(status, Report(exit_code=exit_code), entry, 10.0)

    assert (found.cause, found.exit_code) == (expected, exit_code)


def test_an_end_that_nobody_gives_a_cause_for_is_asked_for_again_before_it_stays_so() -> None:
    status = JobStatus(id=JobId("1"), state=JobState.ENDED, cause=EndCause.UNKNOWN, reason="exit 7", observed_at=NOW)
    entry = Entry(token=TOKEN, cluster="main", name="x", submitted_at=NOW)

    first = concluded(status, Report(), entry, 10.0)
    later = replace(entry, gone_at=NOW - timedelta(seconds=11))
    second = concluded(status, Report(), later, 10.0)

    assert (first.state, first.cause) == (JobState.GONE, None)
    assert (second.state, second.cause, second.reason) == (JobState.ENDED, EndCause.UNKNOWN, "exit 7")
