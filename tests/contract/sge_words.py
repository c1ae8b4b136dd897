"""What the contracts must say to Grid Engine, real or simulated."""

from __future__ import annotations

from typing import Any, ClassVar

from fxsched.jobs import EndCause

from .site import Site


class GridEngineSite(Site):
    """Grid Engine with the parallel environment "smp"."""

    refusal = ({"queue": "nosuch.q"}, 'job requests unknown queue "nosuch.q"')
    held: ClassVar[dict[str, Any]] = {"native": ("-h",)}
    deleted_while_waiting = EndCause.UNKNOWN  # such a job is in no account
    caller: ClassVar[dict[str, str]] = {
        "SGE_LONG_JOB_NAMES": "5",
        "SGE_LONG_QNAMES": "5",
        "SGE_SINGLE_LINE": "1",
        "SGE_DEBUG_LEVEL": "2 2 2 2 2 2 2 2",
    }
