"""
What another way to choose would have earned more, from sums that a database can make where the rows are.

Both are looked at on the same rows, the other way by the self-normalised estimate of `offpolicy`, so what is common to
both takes nothing from the certainty of the difference. Only rows whose model was drawn by chance belong here: of a
choice that was certain nobody knows what another model would have made of it. The turns of a conversation count as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Subquery, case, func, literal

from proxy.learning.offpolicy import FEWEST, Floats, Ints, effective_rows

_Z95 = 1.959964
_PARTS = ("n", "w", "x", "wx")
_PAIRS = tuple(combinations_with_replacement(range(len(_PARTS)), 2))


class Gain(NamedTuple):
    """What the other way earns less what was earned, on average over the rows."""

    value: float | None
    """None where it never agrees with what was done."""
    low: float | None
    """Of the interval of 95%; None where there is none."""
    high: float | None
    rows: int
    effective: float
    """How many evenly drawn rows would say as much of the difference; see `offpolicy.known_by`."""

    @property
    def is_enough(self) -> bool:
        """Whether there are enough rows to believe the interval."""
        return self.low is not None and self.effective >= FEWEST


class Moments(NamedTuple):
    """
    Sums over conversations of what is summed up in each: rows (n), what they earned (x), and their weights (w), which
    are the other way's chance of the same over the propensity, so 1 / propensity where both are sure and agree, and 0
    where they do not.
    """

    conversations: float
    sums: Floats
    """(4,): of n, w, x and w x."""
    products: Floats
    """(4, 4): of each two of them."""
    beyond: float
    """Of what of the weights is beyond 1."""
    beyond_squares: float
    """Of the rows."""
    beyond_products: float
    """Of the conversations' sums."""
    expected_squares: float
    """What those of the rows are on average, by the propensities; of other choices than the one made, all are one."""

    @classmethod
    def of(cls, x: Floats, w: Floats, p: Floats, groups: Ints) -> Moments:
        """
        Of rows.

        Args:
            x: (rows,): what they earned.
            w: (rows,).
            p: (rows,), below 1: their propensities.
            groups: (rows,): the same for those of one conversation.
        """
        _, places = np.unique(groups, return_inverse=True)
        beyond = np.maximum(w - 1.0, 0.0)
        expected = np.where(w > 0.0, np.square(w - 1.0) * p, np.square(p) / (1.0 - p))
        each: Floats = np.stack([np.bincount(places, one) for one in (np.ones_like(x), w, x, w * x)])
        return cls(
            each.shape[1], each.sum(axis=1), each @ each.T, float(beyond.sum()), float(np.square(beyond).sum()),
            float(np.square(np.bincount(places, beyond)).sum()), float(expected.sum()),
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: Sequence[float | None]) -> Moments:
        """Of a database's answer to `columns`."""
        count, *numbers = (number or 0.0 for number in row)
        sums, products = np.array(numbers[: len(_PARTS)]), np.zeros((len(_PARTS), len(_PARTS)))
        for (one, other), number in zip(_PAIRS, numbers[len(_PARTS) :], strict=False):
            products[one, other] = products[other, one] = number
        return cls(count, sums, products, *numbers[len(_PARTS) + len(_PAIRS) :])

    @property
    def gain(self) -> Gain:
        """The difference, with the delta method's interval."""
        rows, w, x, wx = self.sums.tolist()
        if not rows or not w:
            return Gain(None, None, None, int(rows), 0.0)
        share, value, logged = w / rows, wx / w, x / rows
        gain = value - logged
        effective = effective_rows(self.beyond, self.beyond_squares, self.beyond_products, self.expected_squares)
        if self.conversations < 2 or w**2 < 2 * self.products[1, 1]:
            return Gain(gain, None, None, int(rows), effective)
        # By how much a conversation moves it: (w x - value w) / share - (x - logged n).
        moves = np.array([logged, -value / share, -1.0, 1.0 / share])
        squares = float(moves @ self.products @ moves) * self.conversations / (self.conversations - 1)
        spread = _Z95 * math.sqrt(max(squares, 0.0)) / rows
        return Gain(gain, gain - spread, gain + spread, int(rows), effective)


def parts(value: ColumnElement[Any], agrees: ColumnElement[bool], p: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """
    What `columns` needs of each conversation, to be summed up by it.

    Args:
        value: what a row earned.
        agrees: whether the other way, which is sure, makes the same choice.
        p: its propensity, between 0 and 1.
    """
    weight, beyond = case((agrees, 1.0 / p), else_=0.0), case((agrees, 1.0 / p - 1.0), else_=0.0)
    expected = case((agrees, (1.0 - p) * (1.0 - p) / p), else_=p * p / (1.0 - p))
    each = (*zip(_PARTS, (literal(1.0), weight, value, weight * value), strict=True), ("beyond", beyond),
            ("beyond_squares", beyond * beyond), ("expected", expected))  # fmt: skip
    return [func.sum(one).label(name) for name, one in each]


def columns(inner: Subquery) -> list[ColumnElement[Any]]:
    """
    The sums for `Moments.from_row`.

    Args:
        inner: `parts` of each conversation.
    """
    each, beyond = [inner.c[name] for name in _PARTS], inner.c.beyond
    return [
        func.count(),
        *map(func.sum, each),
        *(func.sum(each[one] * each[other]) for one, other in _PAIRS),
        *(func.sum(one) for one in (beyond, inner.c.beyond_squares, beyond * beyond, inner.c.expected)),
    ]
