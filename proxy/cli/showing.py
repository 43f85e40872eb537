"""How commands write numbers and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, islice

import click
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from proxy.cli.options import EXIT_BAD_CONFIG

_WIDTH = 160
"""Of what goes to a file: nobody folds that to a terminal's width."""
_GAP = 2
_LEAST = 1
"""What is left of a column of words."""
_PROSE = 24
"""A column of numbers that is wider than that has words in it, or for its head, and may be folded at their blanks."""


class Unreadable(click.ClickException):
    """The store cannot be read; exit code 2, as for a file with errors."""

    exit_code = EXIT_BAD_CONFIG


def console() -> Console:
    """Where tables go; names in them are no markup, and numbers in sentences no colours."""
    width = None if sys.stdout.isatty() else _WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False)


class Sheet:
    """A table without lines; on a terminal too narrow for it several, each with the columns that hold words."""

    def __init__(self, words: Sequence[str], numbers: Sequence[Sequence[str]]) -> None:
        """
        Args:
            words: the heads of the columns that hold words.
            numbers: those of the others, which stand to the right; one group of them is not parted without need.
        """
        self._heads = [*words, *chain.from_iterable(numbers)]
        self._left = len(words)
        self._groups = [len(group) for group in numbers]
        self._rows: list[Sequence[str | Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """One for each column."""
        assert len(cells) == len(self._heads), "each column has its cell"
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As rich asks for it."""
        for number, places in enumerate(self._parts(options.max_width)):
            if number:
                yield ""
            yield self._part([*range(self._left), *places], options.max_width)

    def _parts(self, width: int) -> list[list[int]]:
        """The places of the number columns that go side by side."""
        widths = [self._width(place) for place in range(len(self._heads))]
        words = sum(widths[: self._left]) + _GAP * self._left
        room = width - min(words, width // 2)
        parts: list[list[int]] = [[]]
        free = room
        places = iter(range(self._left, len(self._heads)))
        for size in self._groups:
            group = list(islice(places, size))
            needed = [min(widths[place], _PROSE) + _GAP for place in group]
            if free < sum(needed) <= room:
                parts.append([])
                free = room
            for place, its in zip(group, needed, strict=True):
                if free < its and parts[-1]:
                    parts.append([])
                    free = room
                parts[-1].append(place)
                free -= its
        return parts

    def _width(self, place: int) -> int:
        cells = (self._heads[place], *(row[place] for row in self._rows))
        return max(cell.cell_len if isinstance(cell, Text) else cell_len(cell) for cell in cells)

    def _part(self, places: Sequence[int], width: int) -> Table:
        whole = min(_PROSE, width - (_LEAST + _GAP) * self._left - _GAP)  # what is not to be folded, rich would cut
        made = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", show_header=any(self._heads))
        for place in places:
            is_number = place >= self._left
            made.add_column(
                self._heads[place],
                justify="right" if is_number else "left",
                overflow="fold",
                no_wrap=is_number and self._width(place) <= whole,
            )
        for row in self._rows:
            made.add_row(*(row[place] for place in places))
        return made


def table(*columns: str, left: int = 1) -> Sheet:
    """
    A table without lines.

    Args:
        columns: their heads; no line of heads where all are empty.
        left: so many of them, from the left, hold words; the others numbers.
    """
    return Sheet(columns[:left], [[head] for head in columns[left:]])


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
