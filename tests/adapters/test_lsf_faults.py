"""Every fault of the simulated LSF, in either of its dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..contract.faults import FaultContract
from .lsf_site import FakeLsf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fxsched.adapter import Adapter


class KnownLsf(FakeLsf):
    """The adapter knows its dialect, so that no submit asks for it first."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.modern = settings["dialect"] == "modern"
        super().__init__(home, **settings)

    def connect(self, **options: Any) -> Adapter:
        return super().connect(modern=self.modern, **options)


class TestFakeLsf(FaultContract):
    kind = KnownLsf
    settings: ClassVar[Mapping[str, Any]] = {"dialect": "volclava"}


class TestModernFakeLsf(FaultContract):
    kind = KnownLsf
    settings: ClassVar[Mapping[str, Any]] = {"dialect": "modern"}
