"""The contract, held against the local adapter and against the simulated Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..contract.adapter import AdapterContract, QueueContract

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fxsched.adapter import Adapter

    from .process_site import ThisMachine
    from .slurm_site import FakeSlurm


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestThisMachine(AdapterContract):
    @pytest.fixture
    def site(self, machine: ThisMachine) -> ThisMachine:
        return machine


@pytest.mark.usefixtures("either_way")
class TestFakeSlurm(QueueContract):
    @pytest.fixture
    def site(self, slurm: FakeSlurm) -> FakeSlurm:
        return slurm

    @pytest.fixture
    def down(self, slurm: FakeSlurm) -> Callable[[], AbstractContextManager[Adapter]]:
        return slurm.down
