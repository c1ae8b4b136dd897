"""A simulated Grid Engine as a site for the contracts, and what the real one was recorded to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fxsched_sge.adapter import GridEngineAdapter

from ..captures import Captures
from ..contract.sge_words import GridEngineSite
from .fake_site import FakeSite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SGE = Captures("sge")


class FakeGridEngine(FakeSite, GridEngineSite):
    """Two hosts in the queue "debug", two with GPUs in the queue "gpu", and accounts."""

    scheduler = "sge"
    kind = GridEngineAdapter
    commands = ("qsub", "qstat", "qdel", "qacct")
    verbs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "submit": ("qsub",),
        "find": ("qstat",),
        "status": ("qstat",),
        "cancel": ("qdel",),
    }
    everything: ClassVar[dict[str, Any]] = {"native": ("-pe", "mpi", "32")}

    def __init__(self, home: Path, **settings: Any) -> None:
        super().__init__(home, **({"accounting": True} | settings))
