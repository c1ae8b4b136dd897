"""What differs between the two dialects, said once for all commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..frame import CommandError
from ..model import Job, Settings


class Dialect:
    """One of the two, as its commands need to know it. A number is PBS's own; the exit code is it modulo 256."""

    def __init__(
        self,
        *,
        name: str,
        letters: Mapping[str, str],
        usage: Mapping[str, str],
        numbers: Mapping[str, int],
        describe: Callable[[Job, Iterable[str], Settings], None],
        state: Callable[[Job], str],
        exit_status: Callable[[Job], int | None],
    ) -> None:
        self.name = name
        self.letters = letters  # each command's options, as getopt has them
        self.usage = usage
        self.numbers = numbers
        self.describe = describe  # fills a job with what its -l options say
        self.state = state  # the letter
        self.exit_status = exit_status

    @property
    def torque(self) -> bool:
        return self.name == "torque"

    def refusal(self, kind: str, text: str) -> CommandError:
        """What qsub leaves behind when the server refuses."""
        words = f"submit error ({text})" if self.torque else text
        return CommandError(f"qsub: {words}\n", self.numbers[kind] % 256)

    def misuse(self, command: str, text: str = "") -> CommandError:
        """What a command leaves behind that was called wrongly."""
        usage = self.usage[command]
        if text and self.torque and command == "qsub":
            text = f"[{text}]\n\n" if "invalid option" not in text else f"{text}\n[exiting]\n\n"
        elif text:
            text += "\n"
        return CommandError(text + usage, 2)
