"""How commands on the store write numbers and tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table


def table(*columns: str, left: int = 1) -> Table:
    """
    A table without lines.

    Args:
        columns: their heads.
        left: so many of them, from the left, hold words; the others numbers.
    """
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < left else "right", overflow="fold")
    return made


def count(number: float) -> str:
    """A whole number."""
    return f"{number:,.0f}"


def usd(amount: float | None, *, sign: bool = False) -> str:
    """Cents where there are dollars, three digits below."""
    if amount is None:
        return "-"
    plus = "+" if sign else ""
    return f"{amount:{plus},.2f}" if abs(amount) >= 1 or amount == 0 else f"{amount:{plus}.3g}"


def seconds(value: float | None) -> str:
    """To three digits."""
    return "-" if value is None else f"{value:.3g} s"


def share(part: float, whole: float) -> str:
    """In percent; enough digits that few are not none."""
    if not whole:
        return "-"
    return f"{part / whole:.1%}" if part == 0 or part / whole >= 0.001 else f"{part / whole:.2%}"


def between(value: float | None, interval: Sequence[float] | None, form: str = "+.3f") -> str:
    """A figure and its interval."""
    if value is None:
        return "-"
    ends = "" if interval is None else f" ({interval[0]:{form}} to {interval[1]:{form}})"
    return f"{value:{form}}{ends}"


def day(time: float | None) -> str:
    """Of UTC, to the minute."""
    return "-" if time is None else f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M}"
