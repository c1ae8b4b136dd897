"""Every fault of the simulated LSF, in either of its dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..contract.faults import ENDED, FaultContract
from .lsf_site import FakeLsf

if TYPE_CHECKING:
    from collections.abc import Mapping

LSF = {("cancel", "bjobs"): {"forget": ENDED}}  # bhist remembers what bjobs has forgotten


class TestFakeLsf(FaultContract):
    kind = FakeLsf
    exceptions = LSF
    settings: ClassVar[Mapping[str, Any]] = {"dialect": "volclava"}


class TestModernFakeLsf(FaultContract):
    kind = FakeLsf
    exceptions = LSF
    settings: ClassVar[Mapping[str, Any]] = {"dialect": "modern"}
