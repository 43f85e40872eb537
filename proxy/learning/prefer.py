"""The scale of `prefer`: measured on held-out rows, so that a number means the same for every set of models."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from proxy.learning.training_rows import Rows
from proxy.routing.arrays import Floats, Ints
from proxy.routing.policy import ALWAYS_SINGLE, STEPS, Outlook

ANCHORS = (0.0, 0.25, 0.5, 1.0)
"""The cheapest model alone; 95% of the best single model's quality; all of it; the best quality there is."""
CHEAP_SHARE = 0.95
SPREADS = (1.0, 0.7, 0.5)
"""Shares of the predicted differences between models."""
MARGINS = (0.0, 0.02, 0.05)
BUDGETS = tuple(share / 20 for share in range(2, 21))
"""Shares of what the best single model costs, at which two ways to choose are compared."""
DOUBT = 0.25
"""Standard errors that held-out rows must show beyond the best single model's quality, or it takes all."""
_WEIGHTS = 121


def fit_caution(outlook_of: Callable[[float], Outlook], rows: Rows) -> tuple[float, float]:
    """
    How far to believe the predicted differences between models, and the margin of the best single model.

    The share that predicts best is not the one that chooses best: of many models the highest prediction is too high,
    and where one model is nearly always right, whoever leaves it on a doubtful sign loses. What is taken does best on
    average over all budgets, so that no single point of the scale, which is mostly noise, decides.

    Args:
        outlook_of: predictions for rows that were held out, with such a share of the differences.
        rows: the same ones.

    Returns:
        One of `SPREADS` and one of `MARGINS`; the least cautious of equals.
    """
    outlooks = {spread: outlook_of(spread) for spread in SPREADS}
    return max(product(SPREADS, MARGINS), key=lambda pair: _worth(outlooks[pair[0]], rows, pair[1]))


def fit_prefer(outlook: Outlook, rows: Rows, margin: float) -> Floats:
    """
    The weight of a dollar and the margin of the best single model, for every step of `prefer`.

    For each step it is the weight with which held-out quality reaches at the least cost what the step stands for.
    Where none does, the best single model takes all: that is what a policy may never fall below. So it does everywhere
    without costs, where held-out rows do not show that the policy is better.

    Args:
        outlook: predictions for rows that were held out.
        rows: the same ones.
        margin: of the best single model.

    Returns:
        (101, 2).
    """
    if not rows.has_costs:
        gain, error = _gain(outlook, rows, (0.0, margin))
        return np.tile([0.0, margin if gain > DOUBT * error else ALWAYS_SINGLE], (STEPS, 1))
    quality, cost = _frontier(outlook, rows, margin)
    single, _, floor = _alone(outlook, rows)
    weights = weights_of(outlook)
    pairs = [(weight, margin) for weight in weights.tolist()]
    # The cheapest that seems to reach it is so in part by luck, so a little more is asked for.
    whole = single + DOUBT * _gain(outlook, rows, pairs[0])[1]
    anchors = np.maximum.accumulate([floor, CHEAP_SHARE * single, whole, float(quality[0])])
    table = np.empty((STEPS, 2))
    for step, target in enumerate(np.interp(np.linspace(0, 1, STEPS), ANCHORS, anchors)):
        enough = np.flatnonzero(quality >= target - 1e-9)
        table[step] = pairs[enough[cost[enough].argmin()]] if len(enough) else (0.0, ALWAYS_SINGLE)
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


def _frontier(outlook: Outlook, rows: Rows, margin: float) -> tuple[Floats, Floats]:
    """Mean quality, and USD a request, at each weight of a dollar; without costs at none only."""
    scores, costs = _known(outlook, rows)
    weights = weights_of(outlook).tolist() if rows.has_costs else [0.0]
    picks = [pick(outlook, weight, margin, rows.single) for weight in weights]
    quality = _falling(np.array([_mean_at(scores, one) for one in picks]))
    return quality, np.array([_mean_at(costs, one) for one in picks])


def _gain(outlook: Outlook, rows: Rows, pair: tuple[float, float]) -> tuple[float, float]:
    """What that weight and margin gain in quality over the best single model, and the standard error of it."""
    scores, _ = _known(outlook, rows)
    picks = pick(outlook, *pair, rows.single)
    gained = scores[np.arange(len(rows)), picks] - scores[:, rows.single]
    return float(gained.mean()), float(gained.std() / np.sqrt(len(rows)))


def _worth(outlook: Outlook, rows: Rows, margin: float) -> float:
    """The mean over `BUDGETS` of the best quality that costs no more; without costs the quality that there is."""
    quality, cost = _frontier(outlook, rows, margin)
    if not rows.has_costs:
        return float(quality[0])
    _, single_cost, floor = _alone(outlook, rows)
    return float(np.mean([quality[cost <= each * single_cost].max(initial=floor) for each in BUDGETS]))


def _alone(outlook: Outlook, rows: Rows) -> tuple[float, float, float]:
    """Of the best single model quality and USD a request, and the quality of the cheapest one."""
    scores, costs = _known(outlook, rows)
    return (
        float(scores[:, rows.single].mean()),
        float(costs[:, rows.single].mean()),
        float(scores[:, rows.cheapest].mean()),
    )


def _known(outlook: Outlook, rows: Rows) -> tuple[Floats, Floats]:
    """(rows, models): scores and costs; predictions where they are not known."""
    scores = np.where(np.isfinite(rows.scores), rows.scores, outlook.bounded)
    return scores, np.where(np.isfinite(rows.costs), rows.costs, outlook.cost_usd)


def _mean_at(values: Floats, picks: Ints) -> float:
    return float(values[np.arange(len(picks)), picks].mean())


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
