"""Options as LSF's commands read them: one hyphen, a letter or a word, and the value behind it or in the next word.

The old commands know letters alone: they read ``-cwd /tmp`` as -c with the value "wd", and a word "/tmp".
"""

from __future__ import annotations

from ..frame import CommandError

Options = dict[str, str]


def parse(command: str, known: str, words: list[str], *, permute: bool) -> tuple[Options, list[str]]:
    """The options, the last of each kind, and the other words; without `permute` the first of those is the last.

    Args:
        command: whose they are.
        known: its options, one a word, with "=" behind those that take a value.
        words: the command line.
        permute: whether options may follow other words.
    """
    kinds = {word.rstrip("="): word.endswith("=") for word in known.split()}
    found: Options = {}
    rest: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if permute:
                continue
            return found, rest + words
        name, value = word[1:], ""
        if name not in kinds:
            name, value = word[1], word[2:]
        if name not in kinds:
            complaint = f"illegal option -- {name}" if command == "bsub" else f"invalid option -- '{name}'"
            raise CommandError(f"{command}: {complaint}\nUsage: {command} [-h] [-V] …\n", 255)
        if kinds[name]:
            if not value and not words:
                raise CommandError(f"{command}: option requires an argument -- {name}\nUsage: {command} …\n", 255)
            value = value or words.pop(0)
        found[name] = value
    return found, rest
