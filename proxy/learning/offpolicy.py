"""
What another policy would have earned on requests that were decided by the one in use.

Only the model that was chosen has a rating, so the ratings of those that would have been chosen otherwise are unknown.
A little exploration makes up for that, provided that the chance of each choice was written down.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Of a normal distribution; there are many requests, or there is nothing to say.
_Z95 = 1.959964
FEWEST = 30
"""Rows on which both agree, below which an interval would only pretend."""


class Estimate(NamedTuple):
    """A mean rating with its 95% interval, 0 to 1."""

    value: float
    low: float
    high: float
    rows: int
    """That were rated."""
    effective: float
    """How many evenly weighted rows would say as much (Kish, 1965)."""

    @property
    def is_enough(self) -> bool:
        """Whether there are enough rows to believe the interval."""
        return self.effective >= FEWEST


def inverse_propensity(ratings: Floats, propensities: Floats, target: Floats) -> Estimate:
    """
    The self-normalised estimate (Swaminathan and Joachims, NeurIPS 2015): no model of ratings, and a wide interval.

    Args:
        ratings: (rows,), 0 to 1, of the choices that were made.
        propensities: (rows,), above 0: the chance with which each of them was made.
        target: (rows,): the chance with which the other policy makes the same choice; 0 or 1 for one without chance.
    """
    weights = _weights(propensities, target)
    total = float(weights.sum())
    if total == 0.0:
        return Estimate(math.nan, math.nan, math.nan, len(ratings), 0.0)
    value = float(weights @ ratings) / total
    # The delta method's variance of a ratio of means.
    spread = math.sqrt(float(np.square(weights * (ratings - value)).sum())) / total
    return _estimate(value, spread, weights)


def doubly_robust(
    ratings: Floats, propensities: Floats, target: Floats, predicted: Floats, predicted_of_target: Floats
) -> Estimate:
    """
    The doubly robust estimate (Dudik, Langford and Li, ICML 2011): right where the predictions or the propensities are.

    Args:
        ratings: as for `inverse_propensity`, and so the next two.
        propensities: likewise.
        target: likewise.
        predicted: (rows,): the rating predicted for the choice that was made, by a model that has not seen the row.
        predicted_of_target: (rows,): likewise, for what the other policy chooses, on average over its chances.
    """
    weights = _weights(propensities, target)
    return mean_of(predicted_of_target + weights * (ratings - predicted), weights)


def mean_of(each: Floats, weights: Floats) -> Estimate:
    """
    The mean of values that each row gives by itself, such as what one policy earns there more than another.

    Args:
        each: (rows,).
        weights: (rows,): by how much each counted for what is known of it.
    """
    rows = len(each)
    if rows < 2:
        return Estimate(math.nan, math.nan, math.nan, rows, 0.0)
    spread = float(each.std(ddof=1)) / math.sqrt(rows)
    return _estimate(float(each.mean()), spread, weights)


def known_by(weights: Floats, propensities: Floats, others: Floats) -> float:
    """
    How many evenly drawn rows would say as much of what other choices earn beyond those that were made.

    Where both ways do the same most of the time nothing is learned of the difference, so a row counts by what is beyond
    that: hardly where the usual choice was made, fully where a rare one was. Where few rare ones were drawn the squares
    of those that happen to be there are no guide, and of none nothing would be seen of it: then those count that were
    to be expected by the propensities.

    Args:
        weights: (rows,): one over the propensity where both make the same choice, else 0.
        propensities: (rows,), below 1.
        others: (rows,): among how many more the choice was made, which are taken to be equally likely.
    """
    beyond = np.maximum(weights - 1.0, 0.0)
    chance = np.where(weights > 0.0, propensities, (1.0 - propensities) / others)
    expected = float((np.square(1.0 - chance) / chance).sum())
    squares = max(float(np.square(beyond).sum()), expected)
    return float(beyond.sum()) ** 2 / squares if squares else 0.0


def _weights(propensities: Floats, target: Floats) -> Floats:
    if len(propensities) and not float(propensities.min()) > 0.0:
        raise ValueError("a choice that was made had a chance above 0")
    return target / propensities


def _estimate(value: float, spread: float, weights: Floats) -> Estimate:
    squares = float(np.square(weights).sum())
    effective = float(weights.sum()) ** 2 / squares if squares else 0.0
    return Estimate(value, value - _Z95 * spread, value + _Z95 * spread, len(weights), effective)
