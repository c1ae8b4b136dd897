"""Every fault of the simulated LSF, in either of its dialects."""

from __future__ import annotations

from ..contract.faults import FaultContract
from .lsf_site import FakeLsf


class TestFakeLsf(FaultContract):
    kind = FakeLsf
    settings = {"dialect": "volclava"}


class TestModernFakeLsf(FaultContract):
    kind = FakeLsf
    settings = {"dialect": "modern"}
