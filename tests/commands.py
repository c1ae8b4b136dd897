"""The server in which the commands of the tests' simulated schedulers run: one for each process of pytest, at most."""

from __future__ import annotations

from functools import cache

from fxsched_fakes import CommandServer


@cache
def command_server() -> CommandServer:
    """Return the server, which ends with this process; it starts when the first test wants one."""
    return CommandServer()
