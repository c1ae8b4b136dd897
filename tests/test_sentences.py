"""A job's status becomes a sentence for its owner."""

from __future__ import annotations

import pytest

from fxsched import reasons
from fxsched.jobs import JobId, JobState, JobStatus
from fxsched.sentences import wait_sentence


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (reasons.RESOURCES, "is queued: waiting for free nodes."),
        (reasons.said("PBS", "The phase of the moon"), "is queued: PBS says: The phase of the moon."),
        (reasons.said("Grid Engine", "no suitable queues"), "is queued: Grid Engine says: no suitable queues."),
        ("It was put off. Maui says: RMFailure.", "is queued: it was put off. Maui says: RMFailure."),
        ("", "is queued."),
    ],
)
def test_a_reason_goes_on_in_the_sentence_and_a_name_keeps_its_capital(reason: str, sentence: str) -> None:
    assert wait_sentence(JobStatus(id=JobId("7"), state=JobState.QUEUED, reason=reason)) == sentence
