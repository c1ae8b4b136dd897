"""What the contracts must say to a container engine, real or simulated."""

from __future__ import annotations

import secrets

from fxsched.jobs import JobId

from .site import Site


class ContainerSite(Site):
    """An engine, which starts each container at once."""

    def unused_ids(self, count: int) -> list[JobId]:
        return [JobId(secrets.token_hex(32)) for _ in range(count)]
