"""Several hosts that have jobs of their own, each reached by itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from fxsched.errors import FxschedError
from fxsched.hosts.base import NOTHING, connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.hosts.base import CommandResult, Host


class Pool:
    """What an adapter with ``pools`` gets as its host: the members, by the names that its job ids may tell."""

    home = None

    def __init__(self, members: Mapping[str, Host]) -> None:
        self.members = members
        self.label = ", ".join(members)

    async def connect(self) -> None:
        """Open the ways to all members at the same time. One that cannot be reached will say so when it is used."""

        async def attempt(host: Host) -> None:
            with suppress(FxschedError):
                await connect(host)

        async with anyio.create_task_group() as tasks:
            for host in self.members.values():
                tasks.start_soon(attempt, host)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        deadline: float,
    ) -> CommandResult:
        """Run a command for which any member will do on the first one."""
        first = next(iter(self.members.values()))
        return await first.run(argv, stdin=stdin, environment=environment, deadline=deadline)
