"""Group commit: blocking work of many tasks in one thread, where what it costs to make it durable is paid once for all.

A task that comes while the thread is at work takes part in a later turn, together with others that came. One task at a
time has a thread to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

MOST: Final = 32
"""Tasks that take part in one turn, at most: none waits long for the others, and what they share stays small."""


class _Part(Generic[T]):
    """What one task wants done in a turn."""

    def __init__(self, item: T, follow: Callable[[], None]) -> None:
        self.item = item
        self.follow = follow
        self.error: BaseException | None = None
        self.done = False


class GroupCommit(Generic[T]):
    """Does what many tasks want done. ``commit`` makes their items durable, and returns for each why not, or None."""

    def __init__(self, commit: Callable[[Sequence[T]], Sequence[Exception | None]]) -> None:
        self._commit = commit
        self._waiting: list[_Part[T]] = []
        self._lock: anyio.Lock | None = None

    async def run(self, item: T, follow: Callable[[], None]) -> None:
        """Commit ``item`` in a thread, and if it was, call ``follow`` there.

        Of a caller that is cancelled before its turn, nothing is done; in its turn, it may be done all the same.

        Raises:
            BaseException: why the item was not committed, or what ``follow`` raised.
            TimeoutError: the caller in whose turn it was to be done has given up.
        """
        part = _Part(item, follow)
        self._waiting.append(part)
        self._lock = self._lock or anyio.Lock(fast_acquire=True)
        try:
            async with self._lock:
                if part in self._waiting:
                    turn, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                    await to_thread.run_sync(self._take, turn, abandon_on_cancel=True)
        finally:
            if part in self._waiting:
                self._waiting.remove(part)
        if part.error is not None:
            raise part.error
        if not part.done:
            raise TimeoutError

    def _take(self, turn: Sequence[_Part[T]]) -> None:
        errors: Sequence[BaseException | None]
        try:
            errors = self._commit([part.item for part in turn])
        except BaseException as trouble:
            errors = [trouble] * len(turn)
        for part, error in zip(turn, errors, strict=True):
            part.error = error
            if error is None:
                try:
                    part.follow()
                except BaseException as trouble:
                    part.error = trouble
            part.done = True
