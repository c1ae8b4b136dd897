"""The fake Slurm without its processes: a host that runs its commands in the test's own, a hundred times as fast."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from fxsched.errors import OutcomeUnknown
from fxsched.hosts import CommandResult
from fxsched.hosts.base import NOTHING
from fxsched_fakes import Cluster, faults, frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class KilledError(BaseException):
    """The process that ran the command has been killed."""


class InProcessHost:
    """A machine whose only commands are the fake Slurm's, and on which a caller can be killed at a command."""

    label = "a machine in the test"

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.cluster = cluster
        self.home = home
        self._moments: int | None = None

    def kill_after(self, moments: int | None) -> None:
        """Kill the caller at its next command, before that has any effect (1) or after (2), or at the next but one, …

        None lets it live.
        """
        self._moments = moments

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        deadline: float,
    ) -> CommandResult:
        """Run one of the fake's commands. One that hangs is given up at once."""
        self._live_on()
        try:
            reply = self._reply(argv, stdin, environment)
        except _HangError:
            raise OutcomeUnknown(f"{argv[0]} did not answer within {deadline:g} s on {self.label}") from None
        finally:
            self._live_on()
        return CommandResult(reply.rc, reply.out, reply.err)

    def _live_on(self) -> None:
        if self._moments is not None:
            self._moments -= 1
            if self._moments <= 0:
                raise KilledError

    def _reply(self, argv: Sequence[str], stdin: bytes, environment: Mapping[str, str]) -> Any:
        command, *arguments = argv
        fault = faults.next_call(self.cluster.directory, command)
        kept = os.dup(0)
        try:
            with open(os.memfd_create("stdin"), "w+b", buffering=0) as file:
                file.write(stdin)
                file.seek(0)
                os.dup2(file.fileno(), 0)
            with mock.patch.dict(os.environ, environment), mock.patch("time.sleep", _sleep):
                reply = frame._with_fault(  # main() would end the process
                    Cluster(self.cluster.directory), "slurm", command, command, arguments, fault
                )
            faults.log(self.cluster.directory, command, arguments, reply.rc)
            return reply
        finally:
            os.dup2(kept, 0)
            os.close(kept)


class _HangError(Exception):
    """The command would sleep for ever."""


def _sleep(seconds: float) -> None:
    if seconds > 60:
        raise _HangError
