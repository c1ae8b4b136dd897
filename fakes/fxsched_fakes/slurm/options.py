"""Option parsing as the C library's getopt_long does it for Slurm's commands, with its messages.

A table is one string: "name" for a flag, "name=" with an argument, "name?" with an optional one ("--name=value" only);
"/x" behind it gives the short option.
"""

from __future__ import annotations

from ..frame import CommandError

NONE, REQUIRED, OPTIONAL = "", "=", "?"


class Table:
    """The options of one command."""

    def __init__(self, command: str, words: str, *, rc: int = 1, hint: bool = True) -> None:
        self.command, self.rc, self.hint = command, rc, hint
        self.long: dict[str, str] = {}
        self.short: dict[str, str] = {}
        for word in words.split():
            name, _, letter = word.partition("/")
            kind = name[-1] if name[-1] in "=?" else NONE
            name = name.rstrip("=?")
            if name:
                self.long[name] = kind
            if letter:
                self.short[letter] = name

    def parse(self, words: list[str], *, permute: bool = True) -> tuple[list[tuple[str, str | None]], list[str]]:
        """The options in order, by long name, and the other words; without `permute` the first of those is the last."""
        found: list[tuple[str, str | None]] = []
        rest: list[str] = []
        words = list(words)
        while words:
            word = words.pop(0)
            if word == "--":
                rest += words
                break
            if word.startswith("--"):
                found.append(self._long(word[2:], words))
            elif word.startswith("-") and len(word) > 1:
                found += self._cluster(word[1:], words)
            else:
                rest.append(word)
                if not permute:
                    rest += words
                    break
        return found, rest

    def _long(self, word: str, words: list[str]) -> tuple[str, str | None]:
        given, equals, value = word.partition("=")
        matches = [given] if given in self.long else sorted(name for name in self.long if name.startswith(given))
        if not matches:
            raise self._error(f"unrecognized option '--{given}'")
        if len(matches) > 1:
            names = " ".join(f"'--{name}'" for name in matches)
            raise self._error(f"option '--{given}' is ambiguous; possibilities: {names}")
        name = matches[0]
        kind = self.long[name]
        if equals:
            if kind == NONE:
                raise self._error(f"option '--{name}' doesn't allow an argument")
            return name, value
        if kind != REQUIRED:
            return name, None
        if not words:
            raise self._error(f"option '--{name}' requires an argument")
        return name, words.pop(0)

    def _cluster(self, letters: str, words: list[str]) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        while letters:
            letter, letters = letters[0], letters[1:]
            name = self.short.get(letter)
            if name is None:
                raise self._error(f"invalid option -- '{letter}'")
            kind = self.long[name]
            if kind == NONE:
                found.append((name, None))
                continue
            if letters or kind == OPTIONAL:
                found.append((name, letters or None))
            elif words:
                found.append((name, words.pop(0)))
            else:
                raise self._error(f"option requires an argument -- '{letter}'")
            break
        return found

    def _error(self, message: str) -> CommandError:
        hint = f'Try "{self.command} --help" for more information\n' if self.hint else ""
        return CommandError(f"{self.command}: {message}\n{hint}", self.rc)
