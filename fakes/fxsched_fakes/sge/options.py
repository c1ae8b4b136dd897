"""Option parsing as Grid Engine's commands do it: "-name", then the option's words, whatever they begin with."""

from __future__ import annotations

from ..frame import CommandError


class Table:
    """The options of one command: "name" for a flag, "name=" with one word behind it, "name==" with two."""

    def __init__(self, command: str, words: str) -> None:
        self.command = command
        self.words = {word.rstrip("="): word.count("=") for word in words.split()}

    def parse(self, words: list[str], *, script: bool = False) -> tuple[list[tuple[str, list[str]]], list[str]]:
        """The options in order, and the other words; with `script`, the first of those is the last."""
        found: list[tuple[str, list[str]]] = []
        rest: list[str] = []
        words = list(words)
        while words:
            word = words.pop(0)
            if not word.startswith("-") or word == "-":
                rest.append(word)
                if script:
                    rest += words
                    break
                continue
            name = word[1:]
            if name not in self.words:
                raise CommandError(f'{self.command}: invalid option argument "{word}"\n', 2)
            count = self.words[name]
            if len(words) < count:
                raise CommandError(f"{self.command}: ERROR! {word} option must have argument\n", 2)
            found.append((name, [words.pop(0) for _ in range(count)]))
        return found, rest
