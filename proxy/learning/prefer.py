"""The scale of `prefer`: measured on held-out rows, so that a number means the same for every set of models."""

from __future__ import annotations

import numpy as np

from proxy.learning.rated import Floats, Ints, Rows
from proxy.routing.policy import STEPS, Outlook

ANCHORS = (0.0, 0.25, 0.5, 1.0)
"""The cheapest model alone; 95% of the best single model's quality; all of it; the best quality there is."""
CHEAP_SHARE = 0.95
MARGINS = (0.0, 0.05)
ALWAYS_SINGLE = 2.0
"""A margin that no predicted quality makes up for."""
_WEIGHTS = 121


def fit_prefer(outlook: Outlook, rows: Rows) -> Floats:
    """
    The weight of a dollar and the margin of the best single model, for every step of `prefer`.

    For each step it is the cheapest pair whose held-out quality reaches what the step stands for. Where none does, the
    best single model takes all: that is what a policy may never fall below.

    Args:
        outlook: predictions for rows that were held out.
        rows: the same ones.

    Returns:
        (101, 2).
    """
    scores = np.where(np.isfinite(rows.scores), rows.scores, outlook.quality)
    if not rows.has_costs:
        return np.tile([0.0, _margin_without_costs(outlook, scores, rows)], (STEPS, 1))
    costs = np.where(np.isfinite(rows.costs), rows.costs, outlook.cost_usd)
    weights = weights_of(outlook)
    pairs, reached = [], []
    for margin in MARGINS:
        picks = [pick(outlook, weight, margin, rows.single) for weight in weights]
        quality = _falling(np.array([_mean_at(scores, one) for one in picks]))
        pairs += [(weight, margin) for weight in weights]
        reached += list(zip(quality.tolist(), [_mean_at(costs, one) for one in picks], strict=True))
    pairs.append((0.0, ALWAYS_SINGLE))
    single, single_cost = float(scores[:, rows.single].mean()), float(costs[:, rows.single].mean())
    reached.append((single, single_cost))
    quality, cost = np.array(reached).T
    floor = float(scores[:, rows.cheapest].mean())
    anchors = np.maximum.accumulate([floor, CHEAP_SHARE * single, single, float(quality.max())])
    table = np.empty((STEPS, 2))
    for step, target in enumerate(np.interp(np.linspace(0, 1, STEPS), ANCHORS, anchors)):
        enough = np.flatnonzero(quality >= target - 1e-9)
        table[step] = pairs[enough[cost[enough].argmin()]]
    table[0] = (float(weights[-1]) * 1e3, 0.0)
    return table


def weights_of(outlook: Outlook) -> Floats:
    """Weights of a dollar, ascending from 0: from where cost hardly counts to where nothing else does."""
    cost = outlook.cost_usd.astype(np.float64)
    apart = float(np.abs(cost - cost.mean(axis=1, keepdims=True)).mean())
    result: Floats = np.concatenate([[0.0], np.logspace(-4, 2.5, _WEIGHTS)]) / max(apart, 1e-12)
    return result


def pick(outlook: Outlook, weight: float, margin: float, single: int) -> Ints:
    """(rows,): the place of the model with the highest score."""
    score = outlook.quality.astype(np.float64)
    if weight:
        score = score - weight * outlook.cost_usd
    score[:, single] += margin
    return np.asarray(score.argmax(axis=1))


def _mean_at(values: Floats, picks: Ints) -> float:
    return float(values[np.arange(len(picks)), picks].mean())


def _margin_without_costs(outlook: Outlook, scores: Floats, rows: Rows) -> float:
    """The least margin that does not fall below the best single model."""
    single = float(scores[:, rows.single].mean())
    for margin in MARGINS:
        if _mean_at(scores, pick(outlook, 0.0, margin, rows.single)) >= single:
            return margin
    return ALWAYS_SINGLE


def _falling(values: Floats) -> Floats:
    """
    The nearest sequence that never rises: quality cannot gain from a higher weight of cost, so what does is noise.

    By pooling adjacent violators: Barlow et al., Statistical Inference under Order Restrictions, 1972.
    """
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2:] = [(means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size]
            sizes[-2:] = [size]
    return np.repeat(means, sizes)
