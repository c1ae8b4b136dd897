"""A FastX 3 template, ``bsub … start --command "${ start.command }" …``, as it stands → further options of a submit.

FastX 3 pasted a session's values into such a line and ran it in a shell. Here nothing is run: the line is split into
words as sh splits it, and each ``${ start.… }`` stays inside its one word, whatever it holds. What stands before
FastX's start script are the scheduler's options; they are kept. The start script is replaced by the job script, which
starts FastX with the start object intact, so what says no more than that object (``--command "${ start.command }"``) is
not needed any more. Everything else is refused rather than dropped. Source: StarNet's "Job Scheduling Tutorial".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import ConfigurationError, InvalidRequest, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fxsched.fastx.request import StartObject

_OPEN, _CLOSE = "\ue000", "\ue001"
_VALUE: Final = re.compile(r"\$\{([^{}]*)\}")
_MARK: Final = re.compile(rf"{_OPEN}([^{_CLOSE}]+){_CLOSE}")
_PARAM: Final = "start.params."
_MEMBERS: Final = ("start.command", "start.geometry", "start.name")
_START_OPTIONS: Final = ("--command", "--geometry", "--name", "--param", "--json", "--cli")
_NAMING: Final = {
    "bsub": ("-J",),
    "qsub": ("-N",),
    "msub": ("-N",),
    "sbatch": ("-J", "--job-name"),
    "srun": ("-J", "--job-name"),
}
"""Submit command → the options that would take the job's name, by which the job is found, for their own."""

_TWO_VALUES: Final = ("-pe", "-binding")
"""Options of Grid Engine's qsub that have two; no other scheduler's option has more than one."""

_PIECE: Final = re.compile(
    r"""
    '(?P<single>[^']*)'
    | "(?P<double>(?:[^"\\$`]|\\.)*)"
    | (?P<space>(?:[ \t\r]|\\\n)+)
    | (?P<output>(?<![^\s;])(?:[12]?>>?|&>>?)[ \t]*(?:/dev/null|&[12])(?=[\s;]|\Z))
    | (?P<end>;|\n|&&)
    | \\(?P<escaped>.)
    | (?P<plain>(?:(?<!\s)(?<!\A)[~\#]|[^\s'"\\$`;&|<>()~\#])+)
    """,
    re.DOTALL | re.VERBOSE,
)


def scheduler_options(line: str, start: StartObject, defaults: Mapping[str, object]) -> tuple[str, ...]:
    """Return the scheduler's options in a FastX 3 template.

    Args:
        line: the template.
        start: what the user sent.
        defaults: params → what counts where the user sent none.

    Raises:
        ConfigurationError: the template does more than one submit of FastX's start script.
        InvalidRequest: a param is missing, or would become an option of its own.
    """
    words = _submit(line)
    begin = next((i for i, word in enumerate(words) if i > 1 and _is_start_option(word)), 0) - 1
    if begin < 1:
        raise ConfigurationError(
            "submit_line does not call FastX's start script with --command, so it cannot be told where the scheduler's "
            "options end. Give them as native, and what the session is to run as start_script or template"
        )
    _check_options(words[1:begin])
    _check_start(words[begin + 1 :])
    runner = words[0].rpartition("/")[2]
    naming = _NAMING.get(runner, ())
    for word in words[1:begin]:
        if (word.startswith(naming) and word != "-Jd") or f"{_OPEN}start.name{_CLOSE}" in word:
            raise ConfigurationError(
                f"submit_line gives the job a name of its own ({_shown(word)}). Remove that: fxsched names the job "
                "after the session, and finds it by what it adds to that name"
            )
    return tuple(_filled(word, start, defaults) for word in words[1:begin])


def used_params(line: str) -> frozenset[str]:
    """Return the names of the params that a FastX 3 template uses."""
    names = (found[1].strip() for found in _VALUE.finditer(line))
    return frozenset(name.removeprefix(_PARAM) for name in names if name.startswith(_PARAM))


def _submit(line: str) -> list[str]:
    """Return the words of the one command in the line; messages with echo before and behind it do not count."""
    if _OPEN in line or _CLOSE in line:
        raise ConfigurationError("submit_line holds a private character, U+E000 or U+E001")
    commands = [words for words in _commands(_VALUE.sub(_marked, line)) if words[0] != "echo"]
    if len(commands) != 1:
        raise ConfigurationError(f"submit_line must be one submit command, but has {len(commands)} commands")
    [words] = commands
    if "=" in words[0] or _OPEN in words[0]:
        raise ConfigurationError(
            f"submit_line begins with {_shown(words[0])}, not with the submit command. Variables for it belong into "
            "the cluster's options"
        )
    return words


def _marked(found: re.Match[str]) -> str:
    name = found[1].strip()
    if name in _MEMBERS or re.fullmatch(rf"{re.escape(_PARAM)}[\w-]+", name):
        return f"{_OPEN}{name}{_CLOSE}"
    raise ConfigurationError(
        f"submit_line needs {found[0]}, which is nothing that FastX 3 has{nearest(name, _MEMBERS)}. Params are "
        f"${{ {_PARAM}NAME }}; the shell's variables are not there, because no shell reads the line"
    )


def _commands(text: str) -> Iterator[list[str]]:
    words: list[str] = []
    word: str | None = None
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None or not piece.group():
            raise ConfigurationError(
                f"submit_line has {_shown(text[at : at + 20])} where one plain command is expected: no shell reads it. "
                "Quote it if it is meant as it stands; what needs a shell belongs into a script of the site's own"
            )
        at = piece.end()
        kind, value = piece.lastgroup, piece.group(piece.lastgroup or 0)
        if kind in ("space", "output", "end"):
            if word is not None:
                words.append(word)
                word = None
            if kind == "end" and words:
                yield words
                words = []
            continue
        if kind == "double":
            value = re.sub(r'\\(["\\$`])', r"\1", value)
        word = (word or "") + value
    if word is not None:
        words.append(word)
    if words:
        yield words


def _is_start_option(word: str) -> bool:
    return word.partition("=")[0] in _START_OPTIONS


def _check_options(words: list[str]) -> None:
    """Refuse a program before the start script: the scheduler would run it in place of the job script."""
    values = 0
    for word in words:
        if word.startswith("-"):
            takes_none = word == "--" or (word.startswith("--") and "=" in word)
            values = 0 if takes_none else 2 if word in _TWO_VALUES else 1
        elif values:
            values -= 1
        else:
            raise ConfigurationError(
                f"submit_line has {_shown(word)} before FastX's start script, which is neither an option nor the value "
                "of one. What runs before the start script belongs into start_script or a template of the profile"
            )


def _check_start(words: list[str]) -> None:
    """Refuse what says more than the start object, which the start script gets as a whole."""
    text = " ".join(words)
    for name in ("command", "geometry", "name"):
        text = re.sub(rf"(?:^|(?<= ))--{name}[ =]{_OPEN}start\.{name}{_CLOSE}(?= |$)", "", text)
    text = re.sub(rf"(?:^|(?<= ))--param[ =]([\w-]+)={_OPEN}start\.params\.\1{_CLOSE}(?= |$)", "", text)
    text = re.sub(r"(?:^|(?<= ))--(?:cli|json(?:=\S*)?)(?= |$)", "", text).strip()
    if text:
        raise ConfigurationError(
            f"submit_line gives FastX's start script {_shown(text)}, which the start object does not. Put it into "
            "start_args or a template of the profile, and remove it from the line"
        )


def _filled(word: str, start: StartObject, defaults: Mapping[str, object]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in _MEMBERS:
            given: object = getattr(start, name.removeprefix("start."))
        else:
            param = name.removeprefix(_PARAM)
            given = start.params.get(param)
            given = defaults.get(param) if given in (None, "", []) else given
            if isinstance(given, list) and len(given) == 1:
                given = given[0]
            if given is None or isinstance(given, list | dict):
                trouble = "is missing" if given is None else "must be one value"
                raise InvalidRequest(f"{param} {trouble}: the profile's submit_line needs it")
        text = str(given).lower() if isinstance(given, bool) else str(given)
        if found.start() == 0 and text.startswith("-"):
            raise InvalidRequest(f"{name} is {text!r}, which the scheduler would take for an option")
        return text

    return _MARK.sub(value, word)


def _shown(text: str) -> str:
    return repr(_MARK.sub(r"${ \1 }", text))
