"""The figures by which a policy is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxy.learning.held_out import HeldOut
from proxy.routing.arrays import Floats, Ints

BINS = 10
DRAWS = 400
_ROUNDING = 1e-9
"""Mean costs that differ by such a share are the same: sums of the same numbers differ by their order."""


@dataclass(frozen=True)
class Outcomes:
    """What every way to choose comes to, row by row: the base of all figures and of their intervals."""

    scores: Floats
    """(101, rows): of the chosen model, at every step of `prefer`."""
    costs: Floats
    """(101, rows), USD; NaN without costs."""
    single_scores: Floats
    """(rows,): of the best single model."""
    single_costs: Floats
    cheapest_scores: Floats
    """(rows,): of the cheapest model."""
    cheapest_costs: Floats


def outcomes(held: HeldOut) -> Outcomes:
    """
    The outcomes of held-out decisions; an unknown cost is taken at what is predicted.

    Where not every model was rated on every row, the scores are doubly robust (Dudik, Langford and Li, ICML 2011): the
    predicted quality, and what a rating is beyond that by one over the chance of its being there. At the prediction
    alone, choices by the highest prediction would be paid what they hope for.
    """
    rows = held.rows
    chances, beyond = rows.inverse_chances, np.nan_to_num(rows.scores - held.quality)
    # To what was predicted and back again is not the same to the last bit.
    scores = np.where(chances == 1.0, rows.scores, held.quality + chances * beyond)
    # Of which some models have none, no model's count.
    costs = np.where(np.isfinite(rows.costs) & rows.has_costs, rows.costs, held.cost)
    at = np.arange(len(rows))
    return Outcomes(
        scores[at, held.picks],
        costs[at, held.picks],
        scores[at, held.single],
        costs[at, held.single],
        scores[:, rows.cheapest],
        costs[:, rows.cheapest],
    )


@dataclass(frozen=True)
class Figures:
    """Of one set of rows, or of many draws of it: then every figure has one more axis, the last."""

    quality: Floats
    """(101, ...)."""
    cost: Floats
    """(101, ...), USD a request."""
    single: Floats
    single_cost: Floats
    mixed: Floats
    """(101, ...): what a random mix of the cheapest and the best single model reaches at the same cost."""

    @property
    def gain(self) -> Floats:
        """(...,): quality over the random mix of the same cost, averaged over the scale of `prefer`."""
        result: Floats = (self.quality - self.mixed).mean(axis=0)
        return result

    def saved_at(self, share: float) -> Floats:
        """(...,): the most that is saved of the single model's cost at such a share of its quality; NaN if never."""
        cost = np.where(self.quality >= share * self.single - 1e-12, self.cost, np.inf).min(axis=0)
        result: Floats = np.where(np.isfinite(cost), 1.0 - cost / self.single_cost, np.nan)
        return result


def figures(found: Outcomes, draws: Floats | None = None) -> Figures:
    """
    The figures of outcomes.

    Args:
        found: row by row.
        draws: (rows, draws): how often each row is in each draw; the rows as they are when None.
    """
    count = found.scores.shape[1]
    weights = np.full((count, 1), 1.0 / count) if draws is None else draws / draws.sum(axis=0)
    quality, cost = found.scores @ weights, found.costs @ weights
    single, single_cost = found.single_scores @ weights, found.single_costs @ weights
    low, low_cost = found.cheapest_scores @ weights, found.cheapest_costs @ weights
    span = single_cost - low_cost
    is_apart = span > _ROUNDING * single_cost
    share = np.clip(np.where(is_apart, (cost - low_cost) / np.where(is_apart, span, 1.0), 1.0), 0.0, 1.0)
    # Without costs nothing is matched: what there is to beat is the best single model.
    mixed = np.where(np.isfinite(cost), low + share * (single - low), single)
    mixed = np.maximum(mixed, np.where(cost >= single_cost * (1 - _ROUNDING), single, -np.inf))
    made = (quality, cost, single, single_cost, mixed)
    return Figures(*made) if draws is not None else Figures(*(one[..., 0] for one in made))


def bootstrap(groups: Ints, seed: int) -> Floats:
    """(rows, DRAWS): how often each row is drawn when as many groups are drawn with replacement as there are."""
    names, places = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=DRAWS)
    result: Floats = counts.T[places].astype(np.float64)
    return result


def interval(values: Floats) -> tuple[float, float]:
    """The 5th and 95th percentiles of draws; those without a figure are the worst, and an end among these is NaN."""
    with np.errstate(invalid="ignore"):  # between one that has none and one that has
        ends = np.percentile(np.where(np.isfinite(values), values, -np.inf), [5, 95])
    low, high = np.where(np.isfinite(ends), ends, np.nan)
    return float(low), float(high)


def calibration_error(predicted: Floats, scores: Floats) -> float:
    """
    How far predictions are from what comes true, on average over ten equal shares of them.

    The expected calibration error with bins of equal mass: Nixon et al., Measuring Calibration in Deep Learning, 2019.

    Args:
        predicted: (rows, models), 0 to 1.
        scores: the same; NaN where it is not known.
    """
    errors, sizes = [], []
    for model in range(scores.shape[1]):
        known = np.flatnonzero(np.isfinite(scores[:, model]))
        order = known[np.argsort(predicted[known, model], kind="stable")]
        for part in np.array_split(order, BINS):
            if len(part):
                errors.append(abs(float(predicted[part, model].mean() - scores[part, model].mean())))
                sizes.append(len(part))
    return float(np.average(errors, weights=sizes)) if errors else float("nan")


@dataclass(frozen=True)
class Pair:
    """Two models, as RouteLLM measures a router (Ong et al., 2024): by how much of the gap it recovers for how much."""

    strong: str
    weak: str
    apgr: float
    """The area under the recovered gap over the share of requests that go to the strong model; 0.5 by chance."""
    cpt50: float
    """The least share of strong calls that recovers half of the gap."""
    cpt80: float


def pair(held: HeldOut, strong: int, weak: int, gain: Floats | None = None) -> Pair:
    """
    The figures of two of the models.

    Args:
        held: decides by the predicted gain.
        strong: the place of one.
        weak: of the other.
        gain: (rows,), what to sort by instead, as a control does.
    """
    scores = held.rows.scores
    both = np.flatnonzero(np.isfinite(scores[:, strong]) & np.isfinite(scores[:, weak]))
    sorts = (held.quality[:, strong] - held.quality[:, weak] if gain is None else gain)[both]
    order = both[np.argsort(-sorts, kind="stable")]
    won = scores[order, strong] - scores[order, weak]
    total = float(won.sum())
    names = held.rows.models
    if total <= 0 or not len(order):
        return Pair(names[strong], names[weak], float("nan"), float("nan"), float("nan"))
    recovered = np.concatenate([[0.0], np.cumsum(won) / total])
    area = float((recovered[1:] + recovered[:-1]).mean() / 2)

    def least(share: float) -> float:
        return float(np.argmax(recovered >= share) / len(order))

    return Pair(names[strong], names[weak], area, least(0.5), least(0.8))
