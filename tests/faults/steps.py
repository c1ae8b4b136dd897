"""Every resumption of a coroutine is a step: what is awaited there may be the last thing that happens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that calls ``step`` before each of its resumptions."""

    def __init__(self, inner: Coroutine[Any, Any, Any] | Generator[Any, Any, Any], step: Callable[[], object]) -> None:
        self._inner = inner
        self._step = step

    def send(self, value: Any) -> Any:
        self._step()
        return self._inner.send(value)

    def throw(self, *arguments: Any) -> Any:
        self._step()
        return self._inner.throw(*arguments)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
