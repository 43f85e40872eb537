"""
What another way to choose would have earned more, from sums that a database can make where the rows are.

Both are looked at on the same rows, the other way by the self-normalised estimate of `offpolicy`, so what is common to
both takes nothing from the certainty of the difference. Only rows whose model was drawn by chance belong here: of a
choice that was certain nobody knows what another model would have made of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from proxy.learning.offpolicy import FEWEST, Floats

_Z95 = 1.959964


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
    Sums over rows of what each earned (x) and its weight (w): the other way's chance of the same over the propensity,
    so 1 / propensity where both are sure and agree, and 0 where they do not.
    """

    rows: float
    w: float
    ww: float
    x: float
    xx: float
    wx: float
    wxx: float
    wwx: float
    wwxx: float
    beyond: float
    """Of what of the weights is beyond 1."""
    beyond_squares: float
    expected_squares: float
    """What these are on average, by the propensities (p); of other choices than the one made, all are taken for one."""

    @classmethod
    def of(cls, x: Floats, w: Floats, p: Floats) -> Moments:
        """Of (rows,) each, with their propensities."""
        return cls.of_groups(np.ones_like(x), x, x * x, w, p)

    @classmethod
    def of_groups(cls, rows: Floats, x: Floats, xx: Floats, w: Floats, p: Floats) -> Moments:
        """
        The same of rows that a database has summed up by their weight and propensity.

        Args:
            rows: (groups,): how many there are in each.
            x: (groups,): the sums of what they earned.
            xx: (groups,): the sums of its squares.
            w: (groups,).
            p: (groups,), below 1.
        """
        beyond = np.maximum(w - 1.0, 0.0)
        expected = np.square(w - 1.0) * p * np.where(w > 1.0, 1.0, p / (1.0 - p))
        sums = (rows, w * rows, w * w * rows, x, xx, w * x, w * xx, w * w * x, w * w * xx, beyond * rows,
                beyond * beyond * rows, expected * rows)  # fmt: skip
        return cls(*(float(np.sum(each)) for each in sums))

    @property
    def gain(self) -> Gain:
        """The difference, with the delta method's interval."""
        if not self.rows or not self.w:
            return Gain(None, None, None, int(self.rows), 0.0)
        share, value, logged = self.w / self.rows, self.wx / self.w, self.x / self.rows
        squares = (self.wwxx - 2 * value * self.wwx + value**2 * self.ww) / share**2
        squares -= 2 / share * (self.wxx - (value + logged) * self.wx + value * logged * self.w)
        squares += self.xx - 2 * logged * self.x + self.rows * logged**2
        gain, spread = value - logged, _Z95 * math.sqrt(max(squares, 0.0)) / self.rows
        largest = max(self.beyond_squares, self.expected_squares)
        effective = self.beyond**2 / largest if largest else 0.0
        if self.w**2 < 2 * self.ww:
            return Gain(gain, None, None, int(self.rows), effective)
        return Gain(gain, gain - spread, gain + spread, int(self.rows), effective)
