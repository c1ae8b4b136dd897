"""Every fault of the simulated container engines."""

from __future__ import annotations

from ..contract.faults import FaultContract
from .docker_site import FakeDocker, FakePodman


class TestFakeDocker(FaultContract):
    kind = FakeDocker


class TestFakePodman(FaultContract):
    kind = FakePodman
