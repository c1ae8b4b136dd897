"""Sizes and durations."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxsched.errors import InvalidRequest
from fxsched.units import ceil_div, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1K", 1024),
        ("512M", 512 * 1024**2),
        ("8G", 8 * 1024**3),
        ("8GiB", 8 * 1024**3),
        ("8gb", 8 * 1024**3),
        (" 8 G ", 8 * 1024**3),
        ("1.5T", 3 * 1024**4 // 2),
        ("2P", 2 * 1024**5),
        ("0.0001K", 1),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "8", "G", "8 X", "-1G", "1e3G", "8G8G", ".5G", "1,5G", "\u0668G", "8G\nx", "9" * 5000 + "G"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90m", 5400),
        ("8h", 28800),
        ("1h30m", 5400),
        ("1d 2h", 93600),
        ("1.5H", 5400),
        ("0.1s", 1),
        ("1:30", 5400),
        ("01:30:00", 5400),
        ("2-00:00:00", 172800),
    ],
)
def test_a_duration_is_spans_or_a_clock(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "h",
        "8w",
        "-8h",
        "8h!",
        "h8",
        "1:60",
        "1:00:60",
        "1 0h",
        "\u0661h",
        "9" * 5000 + "h",
        "9" * 5000 + ":00",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a duration"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_size_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration):
        with suppress(InvalidRequest):
            assert parse(text) >= 0


@given(st.integers(min_value=0, max_value=2**45).map(lambda n: n * 1024))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_a_size_is_written_with_the_largest_unit_that_is_exact() -> None:
    assert [format_size(n * 1024**2) for n in (1024, 1536, 512)] == ["1G", "1536M", "512M"]
    assert format_size(1000) == "1000 bytes"


def test_a_duration_is_written_as_people_say_it() -> None:
    assert [format_duration(n) for n in (28800, 5400, 90061, 0)] == ["8h", "1h30m", "1d1h1m1s", "0s"]


@given(st.integers(min_value=0, max_value=10**18), st.integers(min_value=1, max_value=10**12))
def test_rounding_is_up(amount: int, unit: int) -> None:
    assert (ceil_div(amount, unit) - 1) * unit < amount <= ceil_div(amount, unit) * unit


@given(st.decimals(min_value="0.001", max_value=1000, places=3))
def test_a_fraction_is_never_rounded_down(number: object) -> None:
    assert parse_size(f"{number}K") >= number * 1024  # type: ignore[operator]  # a Decimal
    assert parse_size(f"{number}K") < number * 1024 + 1  # type: ignore[operator]
