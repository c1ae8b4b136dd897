"""Every fault of the simulated OpenPBS and of the simulated Torque."""

from __future__ import annotations

import pytest

from fxsched.errors import SchedulerUnavailable

from ..contract.faults import SILENCE, FaultContract
from .pbs_site import FakePbs, FakeTorque

# Where there is no such job, qselect ends well and prints nothing.
PBS = {("find", "qselect"): {SILENCE: None}}


class TestFakePbs(FaultContract):
    kind = FakePbs
    exceptions = PBS


class TestFakeTorque(FaultContract):
    kind = FakeTorque
    exceptions = PBS

    async def test_a_document_without_the_job_that_was_asked_for_is_no_answer(self, site: FakeTorque) -> None:
        id = await site.submit()
        silent = {"command": "qstat", "fault": "garbage", "text": "<Data></Data>\n"}

        with site.faults(silent), pytest.raises(SchedulerUnavailable, match="says nothing of job"):
            await site.status(id)


@pytest.mark.thorough
class TestFakePbsInProcesses(TestFakePbs):
    in_processes = True
