"""Group commit: blocking work of many tasks in one thread, where what it costs to make it durable is paid once for all.

A task that comes while the thread is at work takes part in the next turn, together with all others that came. One task
at a time has a thread to itself.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class _Part:
    """What one task wants done in a turn."""

    def __init__(self, prepare: Callable[[], None], follow: Callable[[], None]) -> None:
        self.prepare = prepare
        self.follow = follow
        self.error: BaseException | None = None
        self.done = False


class GroupCommit:
    """Does what many tasks want done. ``sync`` makes durable what all parts of a turn have prepared."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._waiting: list[_Part] = []
        self._lock: anyio.Lock | None = None

    async def run(self, prepare: Callable[[], None], follow: Callable[[], None]) -> None:
        """Call ``prepare``, ``sync`` and ``follow`` in a thread, each if the one before did not fail.

        Of a caller that is cancelled before its turn, none is called; in its turn, they may be called all the same.

        Raises:
            BaseException: what the first that failed raised.
            TimeoutError: the caller in whose turn they were to be called has given up.
        """
        part = _Part(prepare, follow)
        self._waiting.append(part)
        self._lock = self._lock or anyio.Lock(fast_acquire=True)
        try:
            async with self._lock:
                if part in self._waiting:
                    turn, self._waiting = self._waiting, []
                    await to_thread.run_sync(self._take, turn, abandon_on_cancel=True)
        finally:
            if part in self._waiting:
                self._waiting.remove(part)
        if part.error is not None:
            raise part.error
        if not part.done:
            raise TimeoutError

    def _take(self, turn: Sequence[_Part]) -> None:
        prepared = []
        for part in turn:
            with _kept(part):
                part.prepare()
                prepared.append(part)
        with _kept(*prepared):
            self._sync()
            for part in prepared:
                with _kept(part):
                    part.follow()
        for part in turn:
            part.done = True


@contextmanager
def _kept(*parts: _Part) -> Iterator[None]:
    """Keep an error for the tasks that it concerns."""
    try:
        yield
    except BaseException as error:
        for part in parts:
            part.error = error
