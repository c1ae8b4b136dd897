"""Options and words of a command line as both engines read it: options end at the first word."""

from __future__ import annotations

from collections.abc import Mapping

from . import words as engine_words

Given = dict[str, list[str]]


def parse(
    engine: str, verb: str, arguments: list[str], options: Mapping[str, bool], *, anywhere: bool = True
) -> tuple[Given, list[str]]:
    """Options by name, with all their values, and the words.

    `options` says of each whether it takes a value. `anywhere`: options may stand after words, too.
    """
    given: Given = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            words.append(argument)
            if not anywhere:
                return given, words + rest
            continue
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
        else:
            name, value = argument[:2], argument[2:]
            equals = value
        if name not in options:
            raise engine_words.error(engine, "flag", flag=name, verb=verb)
        if options[name] and not equals:
            value = rest.pop(0) if rest else ""
        given.setdefault(name, []).append(value)
    return given, words


def last(given: Given, name: str, default: str = "") -> str:
    return given[name][-1] if given.get(name) else default
