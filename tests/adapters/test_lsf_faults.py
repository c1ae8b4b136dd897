"""Every fault of the simulated LSF, in either of its dialects."""

from __future__ import annotations

from ..contract.faults import ENDED, FaultContract
from .lsf_site import FakeLsf

LSF = {("cancel", "bjobs"): {"forget": ENDED}}  # bhist remembers what bjobs has forgotten


class TestFakeLsf(FaultContract):
    kind = FakeLsf
    exceptions = LSF
    settings = {"dialect": "volclava"}


class TestModernFakeLsf(FaultContract):
    kind = FakeLsf
    exceptions = LSF
    settings = {"dialect": "modern"}
