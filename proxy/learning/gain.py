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

from proxy.learning.offpolicy import FEWEST, Z95, effective_rows
from proxy.routing.arrays import Floats, Ints

_PARTS = ("w", "wx", "v", "vx")
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
    Sums over conversations of what is summed up in each: the weights of the other way (w) and of the usual one (v), and
    of both what was earned by them (w x, v x). A weight is the chance of the model that was decided on over its
    propensity: 1 for the way that decided, 1 / propensity for one that is sure of this model, 0 for one of another.
    """

    rows: float
    conversations: float
    sums: Floats
    """(4,): of w, w x, v and v x."""
    products: Floats
    """(4, 4): of each two of them."""
    beyond: float
    """Of what w is beyond v."""
    beyond_squares: float
    """Of the rows."""
    beyond_products: float
    """Of the conversations' sums."""
    expected_squares: float
    """What those of the rows are on average, by the propensities; of other choices than the one made, all are one."""

    @classmethod
    def of(cls, x: Floats, w: Floats, v: Floats, p: Floats, *, groups: Ints) -> Moments:
        """
        Of rows.

        Args:
            x: (rows,): what they earned.
            w: (rows,): the weights of the other way.
            v: (rows,): of the usual one.
            p: (rows,), below 1: their propensities.
            groups: (rows,): the same for those of one conversation.
        """
        _, places = np.unique(groups, return_inverse=True)
        beyond = np.maximum(w - v, 0.0)
        expected = p * np.square(beyond) + (1.0 - p) * np.square(np.maximum((p * v - p * w) / (1.0 - p), 0.0))
        each: Floats = np.stack([np.bincount(places, one) for one in (w, w * x, v, v * x)])
        return cls(
            len(x), each.shape[1], each.sum(axis=1), each @ each.T, float(beyond.sum()),
            float(np.square(beyond).sum()), float(np.square(np.bincount(places, beyond)).sum()), float(expected.sum()),
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: Sequence[float | None]) -> Moments:
        """Of a database's answer to `columns`."""
        count, rows, *numbers = (number or 0.0 for number in row)
        sums, products = np.array(numbers[: len(_PARTS)]), np.zeros((len(_PARTS), len(_PARTS)))
        for (one, other), number in zip(_PAIRS, numbers[len(_PARTS) :], strict=False):
            products[one, other] = products[other, one] = number
        return cls(rows, count, sums, products, *numbers[len(_PARTS) + len(_PAIRS) :])

    @property
    def gain(self) -> Gain:
        """The difference, with the delta method's interval."""
        w, wx, v, vx = self.sums.tolist()
        if not w or not v:
            return Gain(None, None, None, int(self.rows), 0.0)
        other, usual = wx / w, vx / v
        effective = effective_rows(self.beyond, self.beyond_squares, self.beyond_products, self.expected_squares)
        few = w**2 < 2 * self.products[0, 0] or v**2 < 2 * self.products[2, 2]
        if self.conversations < 2 or few:
            return Gain(other - usual, None, None, int(self.rows), effective)
        # By how much a conversation moves it: what it adds to either mean.
        moves = np.array([-other / w, 1.0 / w, usual / v, -1.0 / v])
        squares = float(moves @ self.products @ moves) * self.conversations / (self.conversations - 1)
        spread = Z95 * math.sqrt(max(squares, 0.0))
        return Gain(other - usual, other - usual - spread, other - usual + spread, int(self.rows), effective)


def parts(value: ColumnElement[Any], chance: ColumnElement[Any], p: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """
    What `columns` needs of each conversation, to be summed up by it; the usual way is the one that decided.

    Args:
        value: what a row earned.
        chance: that the other way has of making the same choice.
        p: its propensity, between 0 and 1.
    """
    weight, others = chance / p, (p - chance) / (1.0 - p)
    beyond = case((chance > p, weight - 1.0), else_=0.0)
    expected = case((chance > p, p * (weight - 1.0) * (weight - 1.0)), else_=(1.0 - p) * others * others)
    each = (*zip(_PARTS, (weight, weight * value, literal(1.0), value), strict=True), ("beyond", beyond),
            ("beyond_squares", beyond * beyond), ("expected", expected), ("n", literal(1.0)))  # fmt: skip
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
        func.sum(inner.c.n),
        *map(func.sum, each),
        *(func.sum(each[one] * each[other]) for one, other in _PAIRS),
        *(func.sum(one) for one in (beyond, inner.c.beyond_squares, beyond * beyond, inner.c.expected)),
    ]
