"""A profile's Jinja2 template → the body of the job. Imported only where a profile has one: jinja2 takes its time.

Whatever ``{{ … }}`` gives is one word of the shell, quoted for the place where it stands; a list is several. The filter
``unquoted`` is the administrator's way to say otherwise, and ``command`` is already the start command's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import join
from typing import TYPE_CHECKING, Any, Final

import jinja2

from fxsched.errors import ConfigurationError
from fxsched.settings import shelltext

if TYPE_CHECKING:
    from collections.abc import Sequence


_DATA: Final = (Mapping, str, int, float, list)


class _Unquoted(str):
    """Text that goes into the script as it is."""

    __slots__ = ()


class _Environment(jinja2.Environment):
    """Of a request's values, ``x.y`` and ``x["y"]`` are members only: a param may be called as a method of Python's."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``."""
        return self._member(obj, attribute) if isinstance(obj, _DATA) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]``."""
        return self._member(obj, argument) if isinstance(obj, _DATA) else super().getitem(obj, argument)

    def _member(self, obj: Any, name: Any) -> Any:
        try:
            return obj[name]
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=name)


def render(template: str, values: Mapping[str, Any], command: Sequence[str]) -> str:
    """Return the job's body.

    Args:
        template: the administrator's.
        values: what it may use: ``start``, ``request``, ``fields``, ``token``.
        command: the start script and its arguments, which it may use as ``command``.

    Raises:
        ConfigurationError: the template is wrong, uses what the request does not have, or puts a value where it
            cannot be quoted.
    """
    words: list[str] = []

    def keep(value: object) -> str:
        if isinstance(value, _Unquoted):
            return value
        if isinstance(value, jinja2.Undefined):
            return str(value)  # raises: StrictUndefined
        if isinstance(value, list | tuple):
            return " ".join(map(keep, value))
        words.append("" if value is None else _unmarked(value))
        return shelltext.mark(len(words) - 1)

    if shelltext.OPEN in template:
        raise ConfigurationError("the template holds the private character U+E000")
    environment = _Environment(
        undefined=jinja2.StrictUndefined, finalize=keep, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["unquoted"] = _unquoted
    try:
        text = environment.from_string(template).render(values, command=_unquoted(join(command)))
        return shelltext.fill(text, words)
    except jinja2.UndefinedError as error:
        raise ConfigurationError(f"the template needs something that the request does not have: {error}") from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(f"the template is wrong: {error}") from None


def _unquoted(value: object) -> _Unquoted:
    return _Unquoted(_unmarked(value))


def _unmarked(value: object) -> str:
    text = str(value)
    if shelltext.OPEN in text:  # a place-holder, or a character that looks like one
        raise ConfigurationError(
            "a value is text that was put together by a macro or a {% set %} block, which is not quoted as a value, "
            "or it holds the private character U+E000"
        )
    return text
