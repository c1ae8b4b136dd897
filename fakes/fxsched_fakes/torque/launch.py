"""How a job is started on its node."""

from __future__ import annotations

from ..pbs_family.launching import prepare

__all__ = ["prepare"]
