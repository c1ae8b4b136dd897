"""What was measured, as a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Row:
    """One comparison. `aim` is read as "at most", or as "at least" where `more_is_better`."""

    what: str
    measured: str
    peer: str
    value: float
    aim: float | None = None
    unit: str = "x"
    more_is_better: bool = False

    def cells(self) -> tuple[str, ...]:
        if self.aim is None:
            aim = met = ""
        else:
            aim = f"{'>=' if self.more_is_better else '<='} {self.aim:g}{self.unit}"
            met = "met" if (self.value >= self.aim) == self.more_is_better or self.value == self.aim else "NOT MET"
        return self.what, self.measured, self.peer, f"{self.value:.2f}{self.unit}", aim, met


def show(rows: Sequence[Row]) -> str:
    """The rows under their headings, in columns."""
    lines = [("what", "measured", "peer", "ratio", "aim", ""), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def milliseconds(seconds: Sequence[float]) -> str:
    """The median and, in brackets, the fastest and the slowest."""
    low, middle, high = (1000 * value for value in (min(seconds), median(seconds), max(seconds)))
    return f"{middle:.1f} ms ({low:.1f}-{high:.1f})"


def ratio(ours: Sequence[float], peers: Sequence[float]) -> float:
    """How they compare, in most rounds: what slows the machine for a moment slows both."""
    return median(mine / other for mine, other in zip(ours, peers, strict=True))
