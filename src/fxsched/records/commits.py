"""Group commit: blocking work of many tasks in one thread, where what it costs to make it durable is paid once for all.

A task that comes while the thread is at work takes part in a later turn, together with others that came. One task at a
time has a thread to itself.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
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

    def __init__(self, item: T, follow: Callable[[], None], undo: Callable[[], None]) -> None:
        self.item = item
        self.follow = follow
        self.undo = undo
        self.error: BaseException | None = None
        self._lock = Lock()
        self._done = self._left = False

    def end(self) -> bool:
        """Note that all is done; return whether the task still waits for it."""
        with self._lock:
            self._done = True
            return not self._left

    def leave(self) -> bool:
        """Note that the task no longer waits; return whether all was done before."""
        with self._lock:
            self._left = True
            return self._done


class GroupCommit(Generic[T]):
    """Does what many tasks want done.

    Args:
        commit: makes their items durable, and returns for each why not, or None.
        revoke: takes an item back.
    """

    def __init__(
        self, commit: Callable[[Sequence[T]], Sequence[Exception | None]], revoke: Callable[[T], None]
    ) -> None:
        self._commit = commit
        self._revoke = revoke
        self._waiting: list[_Part[T]] = []
        self._lock: anyio.Lock | None = None

    async def run(self, item: T, follow: Callable[[], None], undo: Callable[[], None]) -> None:
        """Commit ``item`` in a thread, and if it was, call ``follow`` there. Either all of it is done or nothing.

        Where ``follow`` fails, it has left nothing, and the item is revoked. Where the caller is cancelled, the thread
        goes on, and takes back what it has done: it calls ``undo`` and revokes the item.

        Raises:
            BaseException: why the item was not committed, or what ``follow`` raised.
            TimeoutError: the caller in whose turn it was to be done has given up.
        """
        part = _Part(item, follow, undo)
        self._waiting.append(part)
        self._lock = self._lock or anyio.Lock(fast_acquire=True)
        try:
            async with self._lock:
                if part in self._waiting:
                    turn, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                    await to_thread.run_sync(self._take, turn, abandon_on_cancel=True)
        except BaseException:
            if part in self._waiting:
                self._waiting.remove(part)
            elif part.leave():
                self._take_back(part)
            raise
        if part.error is not None:
            raise part.error
        if not part.leave():
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
                self._follow(part)

    def _follow(self, part: _Part[T]) -> None:
        try:
            part.follow()
        except BaseException as trouble:
            part.error = trouble
            self._revoke(part.item)
        else:
            if not part.end():
                self._take_back(part)

    def _take_back(self, part: _Part[T]) -> None:
        with suppress(OSError):
            part.undo()
        self._revoke(part.item)
