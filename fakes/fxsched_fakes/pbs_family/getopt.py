"""Options as the C library's getopt reads them: letters, those with a colon behind them take an argument."""

from __future__ import annotations


class BadOptionError(Exception):
    """A letter that is none, or one without its argument; the text is getopt's."""


def parse(letters: str, words: list[str], *, permute: bool = False) -> tuple[list[tuple[str, str]], list[str]]:
    """The options in order, and the other words. Without `permute`, the first other word ends the options."""
    found: list[tuple[str, str]] = []
    rest: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            return found, [*rest, "--", *words] if not permute else rest + words
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if not permute:
                return found, rest + words
            continue
        letter_and_more = word[1:]
        while letter_and_more:
            letter, letter_and_more = letter_and_more[0], letter_and_more[1:]
            place = letters.find(letter)
            if place < 0 or letter == ":":
                raise BadOptionError(f"invalid option -- '{letter}'")
            if letters[place + 1 : place + 2] != ":":
                found.append((letter, ""))
                continue
            if not letter_and_more and not words:
                raise BadOptionError(f"option requires an argument -- '{letter}'")
            found.append((letter, letter_and_more or words.pop(0)))
            break
    return found, rest
