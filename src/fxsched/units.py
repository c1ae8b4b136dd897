"""Sizes and durations as people write them. Sizes are bytes, durations are seconds, and rounding is always up."""

from __future__ import annotations

import re
from typing import Final

from fxsched.errors import InvalidRequest

MIB: Final = 1024**2

_NUMBER: Final = r"(\d{1,15}(?:\.\d{1,15})?)"
_SIZE: Final = re.compile(_NUMBER + r"\s*([KMGTP])(?:i?B)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {unit: 1024 ** (power + 1) for power, unit in enumerate("KMGTP")}
_SPANS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN: Final = re.compile(_NUMBER + r"([dhms])", re.ASCII)
_CLOCK: Final = re.compile(r"(?:(\d{1,15})-)?(\d{1,15}):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes of ``"8G"``, ``"512M"``, ``"1.5T"``; units are powers of 1024, as all schedulers count.

    Raises:
        InvalidRequest: it is none, or has no unit, which different schedulers read differently.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise InvalidRequest(f'{text!r} is not a size: write a number and a unit, as in "8G" or "512M"')
    return _scaled(found[1], _POWERS[found[2].upper()])


def parse_duration(text: str) -> int:
    """Return the seconds of ``"8h"``, ``"1h30m"``, ``"90s"``, ``"01:30:00"``, ``"1:30"`` (hours), ``"2-00:00:00"``.

    Raises:
        InvalidRequest: it is none, or has no unit.
    """
    text = text.strip().lower()
    clock = _CLOCK.fullmatch(text)
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    spans = _SPAN.findall(text)
    if not spans or "".join(number + unit for number, unit in spans) != text.replace(" ", ""):
        raise InvalidRequest(f'{text!r} is not a duration: write it as in "8h", "90m" or "01:30:00"')
    return sum(_scaled(number, _SPANS[unit]) for number, unit in spans)


def ceil_div(amount: int, unit: int) -> int:
    """Return how many whole units hold ``amount``."""
    return -(-amount // unit)


def format_size(size: int) -> str:
    """Return a size as people read it, exact: ``"8G"``, ``"1536M"``."""
    for unit in "PTGMK":
        if size % _POWERS[unit] == 0:
            return f"{size // _POWERS[unit]}{unit}"
    return f"{size} bytes"


def format_duration(seconds: int) -> str:
    """Return a duration as people read it: ``"8h"``, ``"1h30m"``."""
    parts = []
    for unit, length in _SPANS.items():
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _scaled(number: str, unit: int) -> int:
    whole, _, fraction = number.partition(".")
    return int(whole) * unit + ceil_div(int(fraction or 0) * unit, 10 ** len(fraction))
