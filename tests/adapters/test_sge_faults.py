"""Every fault of the simulated Grid Engine."""

from __future__ import annotations

from ..contract.faults import FaultContract
from .sge_site import FakeGridEngine


class TestFakeGridEngine(FaultContract):
    kind = FakeGridEngine
