"""A host without a machine: the public test double for adapters and everything above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from fxsched.hosts.base import NOTHING, CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Command(Struct, frozen=True):
    """A command that was asked for."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    environment: Mapping[str, str] = NOTHING
    deadline: float = 0.0


class ScriptedHost:
    """Answers every command by calling ``answer``, which returns the result or raises; ``commands`` keeps them all."""

    label = "a scripted host"
    home = None

    def __init__(self, answer: Callable[[Command], CommandResult]) -> None:
        self.answer = answer
        self.commands: list[Command] = []

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] = NOTHING,
        deadline: float,
    ) -> CommandResult:
        """Record the command and return what ``answer`` makes of it."""
        command = Command(tuple(argv), stdin, environment, deadline)
        self.commands.append(command)
        return self.answer(command)
