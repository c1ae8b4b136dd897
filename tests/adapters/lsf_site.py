"""A simulated LSF as a site for the contracts, in either of its dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fxsched.jobs import Resources
from fxsched_lsf.adapter import LsfAdapter

from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeLsf(FakeSite):
    """Two nodes in queue "debug", two with GPUs in queue "gpu". Its log of events is never rotated away."""

    scheduler = "lsf"
    kind = LsfAdapter
    commands = ("bsub", "bjobs", "bkill", "bhist")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("bsub",),
        "find": ("bjobs",),
        "status": ("bjobs",),
        "cancel": ("bkill",),
    }

    refusal = ({"queue": "nosuch"}, "nosuch: No such queue")
    held: ClassVar[dict[str, Any]] = {"native": ("-H",)}
    everything: ClassVar[dict[str, Any]] = {"exclusive": True, "resources": Resources(nodes=2)}
    caller: ClassVar[dict[str, str]] = {
        "LSB_DEFAULTQUEUE": "nosuch",
        "LSB_DISPLAY_YEAR": "N",
        "LSB_BJOBS_FORMAT": "jobid",
        "LSB_NTRIES": "1000000",
        "BSUB_QUIET": "1",
    }

    def __init__(self, home: Any, **settings: Any) -> None:
        super().__init__(home, **{"accounting": True} | settings)
