"""How commands on the store write numbers and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from proxy.cli.options import EXIT_BAD_CONFIG

_WIDTH = 160
"""Of what goes to a file: nobody folds that to a terminal's width."""


class Unreadable(click.ClickException):
    """The store cannot be read; exit code 2, as for a file with errors."""

    exit_code = EXIT_BAD_CONFIG


def console() -> Console:
    """Where tables go; names in them are no markup."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, emoji=False)


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


def named(name: str) -> str:
    """A name, or a text, as a store has it, without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)


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


def short(number: float) -> str:
    """A count in three digits."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{number:,.0f}"


def between(value: float | None, interval: Sequence[float] | None, form: str = "+.3f") -> str:
    """A figure and half the width of its interval, in the same digits."""
    if value is None:
        return "-"
    return f"{value:{form}}" if interval is None else f"{value:{form}} ±{interval[1] - value:{form.removeprefix('+')}}"


def day(time: float | None) -> str:
    """Of UTC, to the minute; of a clock that was out of order the seconds since 1970."""
    if time is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, OSError, ValueError):
        return f"{time:g} s"
