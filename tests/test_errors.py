"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import re

from fxsched import errors
from fxsched.errors import FxschedError, nearest


def drawn() -> dict[str, str]:
    """Return each error in the module's drawing with the one that it hangs under."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r" {4}([│├└─ ]*)([A-Z]\w+)(?:  .*)?", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else ""
    return parents


def existing() -> dict[str, str]:
    """Return each error of the module with its base class."""
    found = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    return {name: "" if kind is FxschedError else kind.__mro__[1].__name__ for name, kind in found.items()}


def test_the_drawn_tree_is_the_tree_that_exists() -> None:
    assert drawn() == existing()
    assert len(drawn()) > 10


def test_a_mistyped_word_gets_the_nearest_known_one() -> None:
    assert nearest("walltim", ["walltime", "queue"]) == "; did you mean 'walltime'?"


def test_a_word_like_no_other_gets_all_that_are_known() -> None:
    assert nearest("xyz", ["walltime", "queue"]) == " (known: queue, walltime)"
    assert nearest("xyz", []) == " (known: none)"
