"""Every fault of the simulated Slurm."""

from __future__ import annotations

import pytest

from fxsched.errors import SchedulerUnavailable
from fxsched.jobs import new_token

from ..contract.faults import FaultContract
from ..contract.site import processes_with
from .slurm_site import FakeSlurm


class TestFakeSlurm(FaultContract):
    kind = FakeSlurm


@pytest.mark.thorough
class TestFakeSlurmInProcesses(TestFakeSlurm):
    in_processes = True


@pytest.mark.anyio
async def test_a_process_that_hangs_is_ended_at_its_deadline(slurm: FakeSlurm) -> None:
    with slurm.faults({"command": "squeue", "fault": "hang"}), pytest.raises(SchedulerUnavailable, match="within 1 s"):
        await slurm.patient(1.0).find(new_token())

    assert processes_with(f"HOME={slurm.home}") == []
