"""Simulated schedulers without their processes: a host that runs their commands in the test's own, far faster."""

from __future__ import annotations

import io
import os
import time
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING
from unittest import mock

from fxsched.errors import OutcomeUnknown
from fxsched.hosts import CommandResult, LocalHost
from fxsched.hosts.base import NOTHING
from fxsched.hosts.local import DEFAULT_PATH, IDENTITY
from fxsched_fakes import frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fxsched_fakes import Cluster

POLL = 0.1
"""Seconds that a fake may sleep for real: so long, it waits for something that happens. Longer ones only seem to."""


class KilledError(BaseException):
    """The process that ran the command has been killed."""


class InProcessHost:
    """A machine that has the commands of simulated schedulers, and on which a caller can be killed at a command.

    What is not theirs, such as ``/bin/sh``, runs as on this machine.
    """

    label = "a machine in the test"

    def __init__(self, cluster: Cluster, home: Path, *schedulers: str, keep: Iterable[str] = ()) -> None:
        self.cluster = cluster
        self.home: Path | None = home
        self._keep = tuple(keep)
        self._owners = {
            command: scheduler
            for scheduler in schedulers
            for command in import_module(f"fxsched_fakes.{scheduler}").COMMANDS
        }
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
        """Run a command; see ``Host.run``. One of the fakes' that would not end before the deadline is given up at
        once.
        """
        command = os.path.basename(argv[0])
        if command not in self._owners:
            return await LocalHost(self._keep).run(argv, stdin=stdin, environment=environment, deadline=deadline)
        self._live_on()
        try:
            with self._surroundings(stdin, environment), _quick(deadline):
                reply = frame.call(self._owners[command], command, self.cluster.directory, list(argv[1:]))
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

    @contextmanager
    def _surroundings(self, stdin: bytes, environment: Mapping[str, str]) -> Iterator[None]:
        """Give a command its standard input, by either of its names, and a clean environment."""
        base = {name: os.environ[name] for name in (*IDENTITY, *self._keep) if name in os.environ}
        clean = {"PATH": DEFAULT_PATH} | base | {"LC_ALL": "C", "HOME": str(self.home)} | dict(environment)
        with ExitStack() as undo:
            file = undo.enter_context(open(os.memfd_create("stdin"), "w+b", buffering=0))
            file.write(stdin)
            file.seek(0)
            kept = os.dup(0)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, 0)
            os.dup2(file.fileno(), 0)
            undo.enter_context(mock.patch("sys.stdin", io.TextIOWrapper(io.FileIO(0, closefd=False))))
            undo.enter_context(mock.patch.dict(os.environ, clean, clear=True))
            yield


class _HangError(Exception):
    """The command would sleep beyond its deadline."""


@contextmanager
def _quick(deadline: float) -> Iterator[None]:
    """Let long sleeps seem to pass, until they pass the deadline."""
    slept = 0.0
    really_sleep = time.sleep

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        if slept > deadline:
            raise _HangError
        if seconds <= POLL:
            really_sleep(seconds)

    with mock.patch("time.sleep", sleep):
        yield
