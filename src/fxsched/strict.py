"""Plain data → a typed Struct, or an error that names the place and the nearest word that would have been right."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from fxsched.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T", bound=Struct)


def convert(data: object, kind: type[T], where: str) -> T:
    """Return ``data``, a table as TOML gives it, as an instance of ``kind``. ``where`` is its name in messages.

    Raises:
        ConfigurationError: it is no table, has a key that ``kind`` has not, or a value of the wrong type.
    """
    table = as_table(data, where)
    for key in table:
        if key not in kind.__struct_fields__:
            raise ConfigurationError(f"{where}.{key} is not a setting{nearest(key, kind.__struct_fields__)}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        place = place.rstrip("`")
        allowed = ", ".join(_choices(kind, place.removeprefix("."))) if "enum" in what else ""
        known = f" (known: {allowed})" if allowed else ""
        raise ConfigurationError(f"{where}{place}: {what[0].lower()}{what[1:]}{known}") from None


def convert_options(data: object, kind: type[T], where: str) -> T:
    """Return an adapter's own settings. Of theirs, every ``float`` is a number of seconds.

    Raises:
        ConfigurationError: as :func:`convert`, or a number of seconds is not more than 0, or without end.
    """
    options = convert(data, kind, where)
    for name in kind.__struct_fields__:
        value = getattr(options, name)
        if isinstance(value, float) and not 0 < value < math.inf:
            raise ConfigurationError(f"{where}.{name} is {value:g}, but must be more than 0 and finite")
    return options


def _choices(kind: type[Struct], name: str) -> Iterator[str]:
    """Return the words that the member ``name`` may be."""
    kinds = [field.type for field in msgspec.structs.fields(kind) if field.name == name]
    for part in kinds:  # which grows, while it is taken apart
        if get_origin(part) is Literal:
            yield from map(str, get_args(part))
        elif isinstance(part, type) and issubclass(part, Enum):
            yield from (str(member.value) for member in part)
        else:
            kinds += get_args(part)


def as_table(data: object, where: str) -> Mapping[str, object]:
    """Return ``data`` if it is a table.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where} must be a table, [{where}], not {data!r}")
    return data
