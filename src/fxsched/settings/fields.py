"""A profile's fields: which of a user's params feeds which resource, and within what limits. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from fxsched.errors import ConfigurationError, InvalidRequest, nearest
from fxsched.jobs import check_word
from fxsched.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from fxsched.settings.config import FieldSettings, ProfileSettings

Value = str | int

TYPES: Final = {
    "nodes": "integer",
    "cores": "integer",
    "gpus": "integer",
    "memory": "size",
    "walltime": "duration",
    "queue": "text",
    "account": "text",
    "qos": "text",
    "reservation": "text",
    "constraint": "text",
}
"""What a field of that name feeds → the type that it must be of."""
_ORDERED: Final = ("integer", "size", "duration")
_FORMATS: Final[dict[str, Callable[[Any], str]]] = {"size": format_size, "duration": format_duration}


def field_values(
    params: Mapping[str, Any], profile_name: str, profile: ProfileSettings, used: Collection[str] = ()
) -> dict[str, Value]:
    """Return what a profile's fields make of the params that the user sent, each checked and within its limits.

    Args:
        params: what was sent.
        profile_name: the profile's, for messages.
        profile: the profile.
        used: params that the profile's submit_line uses: a field may limit them and feed nothing else.

    Raises:
        InvalidRequest: a param is of the wrong kind or outside its limits.
        ConfigurationError: a field feeds nothing, or is at odds with itself.
    """
    values: dict[str, Value] = {}
    for name, settings in profile.fields.items():
        where = f"profiles.{profile_name}.fields.{name}"
        kind = _kind(name, settings, where)
        if name not in TYPES and not profile.template and settings.param not in used:
            why = f"the profile has no template{nearest(name, TYPES)}"
            if used:
                why = f"the profile's submit_line does not use {settings.param!r}{nearest(settings.param, used)}"
            raise ConfigurationError(f"{where} feeds nothing: {why}")
        given = params.get(settings.param)
        if given in (None, "", []):
            if settings.default is not None:
                values[name] = configured(_parser(kind, settings), settings.default, f"{where}.default")
            continue
        values[name] = _checked(given, kind, settings, where)
    return values


def _kind(name: str, settings: FieldSettings, where: str) -> str:
    """Return a field's type: what it feeds demands one, or it is given, or told by what its limits are."""
    kind = settings.type or TYPES.get(name)
    if kind != TYPES.get(name, kind):
        raise ConfigurationError(f"{where}.type is {kind!r}, but {name} is of type {TYPES[name]!r}")
    limits = [limit for limit in (settings.min, settings.max) if limit is not None]
    if not limits:
        return kind or "text"
    if kind is None:
        fitting = [each for each in _ORDERED if all(_is_of(each, limit, settings) for limit in limits)]
        kind = fitting[0] if len(fitting) == 1 else "text"
    if kind == "text":
        raise ConfigurationError(
            f"{where} has min or max, which do not limit text: give it a type, {', '.join(map(repr, _ORDERED))}, or "
            "choices in their place"
        )
    return kind


def _is_of(kind: str, value: Value, settings: FieldSettings) -> bool:
    try:
        _parser(kind, settings)(value)
    except InvalidRequest:
        return False
    return True


def _checked(given: object, kind: str, settings: FieldSettings, where: str) -> Value:
    """Return a param's value if it is of its kind and within its limits."""
    param, values = settings.param, texts(given)
    if len(values) != 1:
        raise InvalidRequest(f"{param} must be one value, not {len(values)}")
    parse = _parser(kind, settings)
    try:
        value = parse(values[0])
        if isinstance(value, str):
            check_word(value, param)
    except InvalidRequest as error:
        raise InvalidRequest(f"{param}: {error}") from None
    shown = _FORMATS.get(kind, str)
    if settings.choices and value not in [configured(parse, c, f"{where}.choices") for c in settings.choices]:
        raise InvalidRequest(f"{param} is {values[0]!r}, but must be one of {', '.join(map(str, settings.choices))}")
    if not isinstance(value, str):
        for limit, word in ((settings.min, "least"), (settings.max, "most")):
            if limit is None:
                continue
            bound = configured(parse, limit, f"{where}.{'min' if word == 'least' else 'max'}")
            if isinstance(bound, int) and (value < bound if word == "least" else value > bound):
                raise InvalidRequest(f"{param} is {shown(value)}, but must be at {word} {shown(bound)}")
    return value


def _parser(kind: str, settings: FieldSettings) -> Callable[[Any], Value]:
    def parse(value: object) -> Value:
        text = str(value).strip()
        if kind == "text":
            return str(value)
        if kind == "integer":
            if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19):
                raise InvalidRequest(f"{text!r} is not a whole number")
            return int(text)
        if settings.unit and text.replace(".", "", 1).isdigit():
            text += settings.unit
        return parse_size(text) if kind == "size" else parse_duration(text)

    return parse


def configured(parse: Callable[[Any], Value], value: Value, where: str) -> Value:
    """Parse a value of the administrator's.

    Raises:
        ConfigurationError: it is wrong, and so the configuration is, at ``where``.
    """
    try:
        return parse(value)
    except InvalidRequest as error:
        raise ConfigurationError(f"{where}: {error}") from None


def texts(value: object) -> list[str]:
    """Return a param as texts: FastX sends strings, and a list for a multi-select."""
    values = value if isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, dict | list):
            raise InvalidRequest(f"a param must be text, not {item!r}")
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]


def matches(wanted: str | list[str], values: Iterable[str]) -> bool:
    """Whether one of the values has one of the wanted patterns (``fnmatch``)."""
    patterns = [wanted] if isinstance(wanted, str) else wanted
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)
