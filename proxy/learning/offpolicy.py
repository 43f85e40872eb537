"""
What another policy would have earned on requests that were decided by the one in use.

Only the model that was chosen has a rating, so the ratings of those that would have been chosen otherwise are unknown.
A little exploration makes up for that, provided that the chance of each choice was written down.

Requests come in conversations, and the turns of one are no independent witnesses: they share a user and a subject, and
in a split one draw. So every interval is over sums of groups (Cameron and Miller, A Practitioner's Guide to
Cluster-Robust Inference, 2015), and so is how much is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from proxy.routing.arrays import Floats, Ints

Z95 = 1.959964
"""Of a normal distribution; there are many requests, or there is nothing to say."""
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
    """How many evenly weighted rows, each of a group of its own, would say as much (Kish, 1965)."""

    @property
    def is_enough(self) -> bool:
        """Whether there are enough rows to believe the interval."""
        return self.effective >= FEWEST


def inverse_propensity(ratings: Floats, propensities: Floats, target: Floats, groups: Ints) -> Estimate:
    """
    The self-normalised estimate (Swaminathan and Joachims, NeurIPS 2015): no model of ratings, and a wide interval.

    Args:
        ratings: (rows,), 0 to 1, of the choices that were made.
        propensities: (rows,), above 0: the chance with which each of them was made.
        target: (rows,): the chance with which the other policy makes the same choice; 0 or 1 for one without chance.
        groups: (rows,): the same for rows that are no independent witnesses.
    """
    weights = _weights(propensities, target)
    total = float(weights.sum())
    if total == 0.0:
        return Estimate(math.nan, math.nan, math.nan, len(ratings), 0.0)
    value = float(weights @ ratings) / total
    # The delta method's variance of a ratio of means.
    return _estimate(value, weights * (ratings - value) / total, weights, groups)


def doubly_robust(
    ratings: Floats, propensities: Floats, target: Floats, predicted: Floats, predicted_of_target: Floats, groups: Ints
) -> Estimate:
    """
    The doubly robust estimate (Dudik, Langford and Li, ICML 2011): right where the predictions or the propensities are.

    Args:
        ratings: as for `inverse_propensity`, and so the next two.
        propensities: likewise.
        target: likewise.
        predicted: (rows,): the rating predicted for the choice that was made, by a model that has not seen the row.
        predicted_of_target: (rows,): likewise, for what the other policy chooses, on average over its chances.
        groups: as for `inverse_propensity`.
    """
    weights = _weights(propensities, target)
    return mean_of(predicted_of_target + weights * (ratings - predicted), weights, groups)


def mean_of(each: Floats, weights: Floats, groups: Ints) -> Estimate:
    """
    The mean of values that each row gives by itself, such as what one policy earns there more than another.

    Args:
        each: (rows,).
        weights: (rows,): by how much each counted for what is known of it.
        groups: as for `inverse_propensity`.
    """
    rows = len(each)
    if not rows:
        return Estimate(math.nan, math.nan, math.nan, rows, 0.0)
    value = float(each.mean())
    return _estimate(value, (each - value) / rows, weights, groups)


def known_by(weights: Floats, propensities: Floats, others: Floats, groups: Ints) -> float:
    """
    How many evenly drawn rows would say as much of what other choices earn beyond those that were made.

    Where both ways do the same most of the time nothing is learned of the difference, so a row counts by what is beyond
    that: hardly where the usual choice was made, fully where a rare one was. Where few rare ones were drawn the squares
    of those that happen to be there are no guide, and of none nothing would be seen of it: then those count that were
    to be expected by the propensities, as often together in a group as those that were seen.

    Args:
        weights: (rows,): one over the propensity where both make the same choice, else 0.
        propensities: (rows,), below 1.
        others: (rows,): among how many more the choice was made, which are taken to be equally likely.
        groups: as for `inverse_propensity`.
    """
    beyond = np.maximum(weights - 1.0, 0.0)
    chance = np.where(weights > 0.0, propensities, (1.0 - propensities) / others)
    expected = float((np.square(1.0 - chance) / chance).sum())
    return effective_rows(
        float(beyond.sum()), float(np.square(beyond).sum()), float(np.square(_sums(beyond, groups)).sum()), expected
    )


def effective_rows(total: float, squares: float, squares_of_groups: float, expected: float) -> float:
    """
    Kish's effective size, by the larger of what was seen and what was to be expected.

    Args:
        total: of the weights.
        squares: their sum.
        squares_of_groups: the sum of the squares of each group's total.
        expected: what `squares` is on average.
    """
    largest = squares_of_groups * max(1.0, expected / squares) if squares else 0.0
    return total**2 / largest if largest else 0.0


def _weights(propensities: Floats, target: Floats) -> Floats:
    if len(propensities) and not float(propensities.min()) > 0.0:
        raise ValueError("a choice that was made had a chance above 0")
    return target / propensities


def _sums(each: Floats, groups: Ints) -> Floats:
    """(groups,)."""
    _, places = np.unique(groups, return_inverse=True)
    return np.asarray(np.bincount(places, each))


def _estimate(value: float, parts: Floats, weights: Floats, groups: Ints) -> Estimate:
    """
    Args:
        value: the estimate.
        parts: (rows,): what each row moves it by, together 0.
        weights: (rows,).
        groups: (rows,).
    """
    of_groups = _sums(parts, groups)
    count = len(of_groups)
    # Of one there is no telling how others differ.
    spread = Z95 * math.sqrt(float(np.square(of_groups).sum()) * count / (count - 1)) if count > 1 else math.nan
    squares = float(np.square(_sums(weights, groups)).sum())
    effective = float(weights.sum()) ** 2 / squares if squares else 0.0
    return Estimate(value, value - spread, value + spread, len(weights), effective)
