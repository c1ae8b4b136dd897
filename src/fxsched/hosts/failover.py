"""Several login nodes of one scheduler: commands run on one of them, and on another when it cannot be reached."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from fxsched.errors import CommandNotFound, FxschedError, HostError, HostUnreachable
from fxsched.hosts.base import NOTHING, check_deadline, connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fxsched.hosts.base import CommandResult, Host

_log = logging.getLogger("fxsched.hosts")

HEAD_START: Final = 1.0
"""Seconds that a host has to be connected before the next one is tried too."""
REST: Final = 60.0
"""Seconds for which a host that could not be reached is not tried again, while there is another."""


class FailoverHost:
    """The first of several hosts that answers, for as long as it does.

    They are tried in their order, each with a head start: a host that is down costs that moment, and costs it once. A
    command goes to another host only where it is certain that nothing of it was sent; a command that was sent and not
    answered is ``OutcomeUnknown``, and is never repeated here.
    """

    home = None

    def __init__(self, hosts: Sequence[Host], *, head_start: float = HEAD_START, rest: float = REST) -> None:
        self._hosts = hosts
        self._head_start = head_start
        self._rest = rest
        self._chosen: Host | None = None
        self._resting: dict[int, float] = {}
        self._lock: anyio.Lock | None = None

    @property
    def label(self) -> str:
        """The host that is in use; all of them, where none is."""
        return self._chosen.label if self._chosen else " or ".join(host.label for host in self._hosts)

    async def connect(self) -> None:
        """Choose a host now.

        Raises:
            HostError: none can be reached.
        """
        await self._choose()

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        deadline: float,
    ) -> CommandResult:
        """Run ``argv`` on the host that answers; see ``Host.run``."""
        check_deadline(deadline, argv, self.label)
        end = anyio.current_time() + deadline
        while True:
            host = await self._choose_until(end)
            left = end - anyio.current_time()
            if left <= 0:
                raise HostUnreachable(f"{self.label} did not answer in time; nothing was sent")
            try:
                return await host.run(argv, stdin=stdin, environment=environment, deadline=left)
            except CommandNotFound:
                raise
            except HostError as error:
                self._leave(host, error)
                if len(self._resting_now()) == len(self._hosts) or anyio.current_time() >= end:
                    raise

    async def _choose_until(self, end: float) -> Host:
        with anyio.move_on_after(end - anyio.current_time()):
            return await self._choose()
        raise HostUnreachable(f"{self.label} did not answer in time; nothing was sent")

    async def _choose(self) -> Host:
        if self._chosen:
            return self._chosen
        self._lock = self._lock or anyio.Lock()
        async with self._lock:  # many commands at once are one search
            if self._chosen is None:
                self._chosen = await self._first_that_answers()
            return self._chosen

    async def _first_that_answers(self) -> Host:
        """Connect, one after the other, each with a head start; the first connection counts.

        Raises:
            HostError: what was wrong with each of them.
        """
        resting = self._resting_now()
        candidates = [host for host in self._hosts if id(host) not in resting] or list(self._hosts)
        winner: Host | None = None
        failures: dict[int, HostError] = {}
        wrong: list[FxschedError] = []

        async def attempt(host: Host, failed: anyio.Event) -> None:
            nonlocal winner
            try:
                await connect(host)
            except HostError as error:
                failures[id(host)] = error
                self._leave(host, error)
                failed.set()
                return
            except FxschedError as error:  # kept out of the task group, which would wrap it
                wrong.append(error)
            else:
                winner = winner or host
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for host in candidates:
                failed = anyio.Event()
                tasks.start_soon(attempt, host, failed)
                with anyio.move_on_after(self._head_start):
                    await failed.wait()
        if wrong:
            raise wrong[0]
        if winner is None:
            raise _all_of(list(failures.values()))
        for host in candidates[: candidates.index(winner)]:
            if id(host) not in failures:
                self._leave(host, HostUnreachable(f"{host.label} did not answer within {self._head_start:g} s"))
        return winner

    def _leave(self, host: Host, error: HostError) -> None:
        _log.warning("%s is left alone for %g s: %s", host.label, self._rest, error)
        self._resting[id(host)] = anyio.current_time() + self._rest
        if self._chosen is host:
            self._chosen = None

    def _resting_now(self) -> set[int]:
        return {key for key, until in self._resting.items() if until > anyio.current_time()}


def _all_of(failures: Sequence[HostError]) -> HostError:
    """Return the troubles of all hosts as one, of the kind that they have in common."""
    kinds = set(map(type, failures))
    kind: type[HostError] = kinds.pop() if len(kinds) == 1 else HostUnreachable
    return kind("; ".join(dict.fromkeys(map(str, failures))))
