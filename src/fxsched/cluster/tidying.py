"""What ended sessions leave behind, and that it goes: after whoever asked has been answered, never before.

a session has just ended       what is private of it goes; its reports and output stay for a while
one ended long ago             its directory goes, and then its entry in the ledger
"""

from __future__ import annotations

import logging
import random
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from fxsched.errors import HostError, LedgerError
from fxsched.records.ledger import KEEP_ENDED
from fxsched.session import directory

if TYPE_CHECKING:
    from fxsched.cluster.scheduler import Scheduler
    from fxsched.jobs import Token
    from fxsched.records.ledger import Entry, Ledger

_log = logging.getLogger("fxsched.cluster.tidying")


class Tidying:
    """Tidies up after the sessions of one cluster."""

    def __init__(self, cluster: str, scheduler: Scheduler, ledger: Ledger) -> None:
        self._cluster = cluster
        self._scheduler = scheduler
        self._ledger = ledger
        self._due: deque[Entry] = deque()
        self._wanted = anyio.Event()

    def ended(self, entry: Entry) -> None:
        """Note that a session has ended. Does nothing yet."""
        self._due.append(entry)
        self._wanted.set()

    async def run(self) -> None:
        """Tidy up, now and whenever a session has ended, until cancelled: what is not done then stays noted."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            await self.tidy()

    async def tidy(self) -> None:
        """Tidy up after the sessions that have ended since the last time, and with them after those of long ago."""
        while self._due:
            await self._discard(self._due[0])
            if len(self._due) == 1:
                await self._remove_old()
            self._due.popleft()  # only now: what is cut off is done once more

    async def _discard(self, entry: Entry) -> None:
        with suppress(HostError):  # what stays is unreachable for us, and so for now for everybody
            await directory.discard(await self._scheduler.host_of(entry.token, entry.job), entry.token)

    async def _remove_old(self) -> None:
        try:
            await self._remove(await self._old(KEEP_ENDED))
        except LedgerError as error:
            _log.warning("what is left of old sessions stays: %s", error)

    async def _remove(self, old: list[Token]) -> None:
        random.shuffle(old)  # none is for ever behind one whose host is down
        for token in old:
            try:
                await directory.remove(await self._scheduler.host_of(token), token)
            except HostError:
                if token in await self._old(2 * KEEP_ENDED):  # its host has been away for long enough
                    self._ledger.purge(token)
                break
            self._ledger.purge(token)

    async def _old(self, seconds: float) -> list[Token]:
        read = partial(self._ledger.old, self._cluster, seconds)
        return await to_thread.run_sync(read, abandon_on_cancel=True)
