"""Values put into the text of an sh script so that each stays one word, wherever the script's author put it.

Quoting a value blindly is safe only where the text around it is not quoted itself: inside ``"…"``, the single quotes
that should protect a value are ordinary characters, and ``$(…)`` within it runs. So the text is read as sh reads it,
and each value is quoted for its place. Where no quoting can help (here-documents, backquotes, arithmetic), or where
shells read the text differently, the text is refused. Source: POSIX.1-2017, Shell Command Language, 2.2 and 2.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fxsched.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

OPEN: Final = "\ue000"
CLOSE: Final = "\ue001"

_PIECE: Final = re.compile(
    rf"""
    {OPEN}(?P<value>\d+){CLOSE}
    | \\[^{OPEN}]
    | \$\(\( | \(\( | \$\( | \$\{{ | \$' | \$\[
    | \$\$[(\{{]                       # bash 5.2 looks for its end as if it were "$(" or "${{"
    | \$[$\#?!@*-]                    # whole parameters: what follows them begins anew
    | [$<]\\\n                         # a line is continued within an operator
    | <<
    | [<>]&(?![ \t]*(?:\d+-?|-|\$\w+|"\$\w+")(?:[\s;&|()<>`]|\Z))  # bash 5.2 expands twice what follows
    | [?*+@!]\(                        # bash's patterns
    | (?<![\w-])case(?![\w-])
    | .
    """,
    re.DOTALL | re.VERBOSE,
)
_PARAMETERS: Final = frozenset({"$$", "$#", "$?", "$!", "$@", "$*", "$-"})
_TRAPS: Final = frozenset({"$$(", "$${", "$\\\n", "<\\\n"})
_BEFORE_COMMENT: Final = frozenset(" \t\n;&")
# C is a command substitution, A arithmetic.
_OPENERS: Final = {"$(": "C", "$((": "A(", "${": "{", "`": "`", '"': '"'}
_CLOSERS: Final = {"(": ")", "C": ")", "A": ")", "{": "}", "[": "]", "`": "`", '"': '"'}
_NO_PLACE: Final = frozenset("{`A[")


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
        self._nesting: list[str] = []  # of (, {, [, `, ", C and A
        self._single = False
        self._comment = False
        self._lost = ""  # what makes all that follows uncertain

    def place(self) -> str:
        """Return the quoting in force: one of ``#``, ``'``, ``"`` or nothing.

        Raises:
            ConfigurationError: no quoting helps here.
        """
        refused = (_SHOWN.get(kind, kind) for kind in self._nesting if kind in _NO_PLACE)
        trouble = self._lost or next(refused, "")
        plain = not (self._comment or self._single)
        if plain and self.before in ("\\", "$"):
            trouble = trouble or self.before
        if trouble:
            raise ConfigurationError(
                f"a value stands behind {trouble!r}, where nothing keeps it one word. Assign it to a variable on a "
                "line of its own before, and use that variable"
            )
        if plain:
            return '"' if self._in_double_quotes() else ""
        return "#" if self._comment else "'"

    def read(self, piece: str) -> None:
        """Go on over a piece of the text."""
        inside = self._nesting[-1] if self._nesting else ""
        before = piece[-1]
        if self._comment:
            self._comment = before != "\n"
        elif self._single:
            self._single = "'" not in piece
        elif piece == "\\\n":
            before = self.before  # a continued line is one line
        elif piece[0] == "\\" and len(piece) > 1:
            before = "x"
        elif piece in _TRAPS:
            self._lost = self._lost or piece.rstrip()
        elif piece == _CLOSERS.get(inside):
            self._nesting.pop()
            before = "x" if inside == "C" else before
        elif piece in _PARAMETERS:
            before = "x"
        elif "'" in piece and (self._nesting[-2:] == ['"', "{"] or "A" in self._nesting):
            self._lost = self._lost or piece  # some shells take it for a quote here, some do not
        elif piece in _OPENERS:
            self._nesting += _OPENERS[piece]
        elif not self._in_double_quotes():
            self._read_plain(piece, inside)
        self.before = before

    def _read_plain(self, piece: str, inside: str) -> None:
        if piece == "'":
            self._single = True
        elif piece == "#" and inside != "{":
            if self.before in _BEFORE_COMMENT or (self.before == "(" and inside == "C"):
                self._comment = True
            elif self.before in "()|<>":  # a comment, or part of a bash pattern
                self._lost = self._lost or piece
        elif piece == "((":
            self._nesting += "A("
        elif piece in ("$[", "["):
            if piece == "$[" or self.before.isalnum() or self.before == "_":
                self._nesting.append("[")
        elif piece[-1] == "(":
            self._nesting.append("(")
            if len(piece) > 1 and "A" not in self._nesting:
                self._lost = self._lost or piece
        elif piece in ("<<", "$'", ">&", "<&") or (piece == "case" and not {"(", "C"}.isdisjoint(self._nesting)):
            self._lost = self._lost or piece

    def _in_double_quotes(self) -> bool:
        innermost = next((kind for kind in reversed(self._nesting) if kind != "{"), "")
        return innermost == '"'


_SHOWN: Final = {"{": "${", "A": "(("}


def _quoted(value: str, place: str) -> str:
    if "\0" in value:
        raise ConfigurationError("a value holds a NUL character, which no command line can carry")
    if place == "#":
        return re.sub(r"[^\w@%+=:,./-]+", "_", value, flags=re.ASCII)
    # Quoted even where it need not be: a bare 2 before ">" is a file descriptor, a bare a=b an assignment. And not with
    # backslashes in double quotes: behind "$x" a letter would make another variable's name.
    word = value.replace("'", "'\\''")
    match place:
        case "'":
            return word
        case '"':
            return f"\"'{word}'\""
        case _:
            return f"'{word}'"
