"""Values put into the text of an sh script so that each stays one word, wherever the script's author put it.

Quoting a value blindly is safe only where the text around it is not quoted itself: inside ``"…"``, the single quotes
that should protect a value are ordinary characters, and ``$(…)`` within it runs. So the text is read as sh reads it,
and each value is quoted for its place. Where no quoting can help (here-documents, backquotes, arithmetic), the text is
refused. Source: POSIX.1-2017, Shell Command Language, 2.2 and 2.3.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Final

from fxsched.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

OPEN: Final = "\ue000"
CLOSE: Final = "\ue001"

_PIECE: Final = re.compile(
    rf"{OPEN}(?P<value>\d+){CLOSE}|\\[^{OPEN}]|\$\(\(|\$\(|\$\{{|\$'|<<|(?<![\w-])case(?![\w-])|.", re.DOTALL
)
_BEFORE_COMMENT: Final = frozenset(" \t\n;&|()")
_CLOSERS: Final = {"(": ")", "{": "}", "`": "`", '"': '"'}
_NO_PLACE: Final = frozenset("{`A")


def mark(index: int) -> str:
    """Return the place-holder for value number ``index``."""
    return f"{OPEN}{index}{CLOSE}"


def fill(text: str, values: Sequence[str]) -> str:
    """Return ``text`` with each place-holder replaced by its value, quoted for the place where it stands.

    Raises:
        ConfigurationError: a value stands where it cannot be quoted.
    """
    reader = _Reader()
    result = []
    for piece in _PIECE.finditer(text):
        if piece["value"] is None:
            reader.read(piece.group())
            result.append(piece.group())
        else:
            result.append(_quoted(values[int(piece["value"])], reader.place()))
            reader.before = "x"
    return "".join(result)


class _Reader:
    """Where in an sh text we are."""

    def __init__(self) -> None:
        self.before = "\n"
        self._nesting: list[str] = []  # of (, {, `, ", and A for arithmetic
        self._single = False
        self._comment = False
        self._lost = ""  # what makes all that follows uncertain

    def place(self) -> str:
        """Return the quoting in force: one of ``#``, ``'``, ``"`` or nothing.

        Raises:
            ConfigurationError: no quoting helps here.
        """
        if self._comment:
            return "#"
        if self._single:
            return "'"
        joined = self.before if self.before in ("\\", "$") else ""
        refused = (_SHOWN.get(kind, kind) for kind in self._nesting if kind in _NO_PLACE)
        trouble = joined or self._lost or next(refused, "")
        if trouble:
            raise ConfigurationError(
                f"a value stands behind {trouble!r}, where nothing keeps it one word. Assign it to a variable on a "
                "line of its own before, and use that variable"
            )
        return '"' if self._in_double_quotes() else ""

    def read(self, piece: str) -> None:
        """Go on over a piece of the text."""
        inside = self._nesting[-1] if self._nesting else ""
        if self._comment:
            self._comment = piece[-1] != "\n"
        elif self._single:
            self._single = "'" not in piece
        elif piece == _CLOSERS.get(inside) or (piece == ")" and inside == "A"):
            self._nesting.pop()
        elif piece == "$((":
            self._nesting += "A("
        elif piece in ("$(", "${", "`", '"'):
            self._nesting.append(piece[-1])
        elif not self._in_double_quotes():
            self._read_plain(piece)
        self.before = "x" if piece[0] == "\\" and len(piece) > 1 else piece[-1]

    def _read_plain(self, piece: str) -> None:
        if piece == "'":
            self._single = True
        elif piece == "#":
            self._comment = self.before in _BEFORE_COMMENT
        elif piece == "(":
            self._nesting.append("(")
        elif piece in ("<<", "$'") or (piece == "case" and "(" in self._nesting):
            self._lost = self._lost or piece

    def _in_double_quotes(self) -> bool:
        innermost = next((kind for kind in reversed(self._nesting) if kind != "{"), "")
        return innermost == '"'


_SHOWN: Final = {"{": "${", "A": "$(("}


def _quoted(value: str, place: str) -> str:
    if "\0" in value:
        raise ConfigurationError("a value holds a NUL character, which no command line can carry")
    match place:
        case '"':
            return re.sub(r'([\\"$`])', r"\\\1", value)
        case "'":
            return value.replace("'", "'\\''")
        case "#":
            return re.sub(r"\s+", " ", value)
        case _:
            return quote(value)
