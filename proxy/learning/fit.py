"""One fit: from rated requests to a policy, everything about it chosen inside the rows that it is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from proxy.learning.condense import SHARPNESS, condense, regions_of
from proxy.learning.grow import grow
from proxy.learning.linear import STRENGTHS, apply, fit_ridges, non_negative
from proxy.learning.prefer import fit_caution, fit_prefer
from proxy.learning.training_rows import Rows, folds_of
from proxy.routing.arrays import Floats
from proxy.routing.forest import Forest
from proxy.routing.inputs import LINEAR, numbers_of
from proxy.routing.neighbours import Neighbours
from proxy.routing.policy import Outlook, Policy

INNER_FOLDS = 5
LEAST_COMPLETE = 20
"""Requests answered by every model, from which on it shows how the models differ."""


@dataclass(frozen=True)
class _Parts:
    """What a blend is made of: the same rows by several regressions and neighbourhoods, and a forest."""

    ridges: list[Floats]
    neighbours: Neighbours
    forest: Forest
    costs: list[Floats]
    means: Floats

    def members(self, rows: Rows) -> Floats:
        """(members, rows, models): each one's prediction less the model's mean."""
        ridges = [apply(ridge, rows.inputs[:, :LINEAR]) - self.means for ridge in self.ridges]
        places = self.neighbours.places(rows.inputs)
        around = [*self.neighbours.excess(places), self.forest.excess(numbers_of(rows.inputs, places))]
        return np.stack([*ridges, *around]).astype(np.float64)

    def log_costs(self, rows: Rows) -> Floats:
        """(strengths, rows, models)."""
        return np.stack([apply(cost, rows.inputs[:, :LINEAR]) for cost in self.costs])


def fit_policy(rows: Rows, *, embedder: str, seed: int = 0) -> Policy:
    """
    Fit a policy, which tells nothing `about` itself yet.

    The members of the blend, their weights, the strength of the cost's regression and the scale of `prefer` are all
    chosen by predictions for rows that were held out inside of `rows`.

    Args:
        rows: of at least two different texts, or conversations.
        embedder: the name of the embedding model.
        seed: of every draw.
    """
    # One thread: on cores that others use as well, numpy's threads wait for each other (measured: 0.4 s become 7).
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit_policy(rows, embedder, seed)


def _fit_policy(rows: Rows, embedder: str, seed: int) -> Policy:
    folds = folds_of(rows.held_together, INNER_FOLDS, seed)
    members = np.zeros((len(STRENGTHS) + len(SHARPNESS) + 1, *rows.scores.shape))
    log_costs = np.zeros((len(STRENGTHS), *rows.scores.shape))
    for fold in np.unique(folds).tolist():
        outside = folds == fold
        assert not outside.all(), "there are at least two different rows"
        parts, held = _fit_parts(rows.take(~outside), seed), rows.take(outside)
        members[:, outside], log_costs[:, outside] = parts.members(held), parts.log_costs(held)
    blend, (best, smearing) = _blend(members, rows), _best_cost(log_costs, rows)
    cost = np.exp(log_costs[best]) * smearing
    spread, margin = fit_caution(lambda share: _outlook(members, _spread(blend, share), cost, rows), rows)
    blend = _spread(blend, spread)
    parts = _fit_parts(rows, seed)
    linear_cost = parts.costs[best].copy()
    linear_cost[-1] += np.log(smearing)
    return Policy(
        models=rows.models,
        means=rows.means.astype(np.float32),
        mean_costs=rows.mean_costs.astype(np.float32),
        linear=_blended_ridges(parts, blend).astype(np.float32),
        cost=linear_cost.astype(np.float32),
        neighbours=parts.neighbours,
        forest=parts.forest,
        regions=regions_of(rows, parts.neighbours, seed),
        blends=blend[len(parts.ridges) :].astype(np.float32),
        prefer=fit_prefer(_outlook(members, blend, cost, rows), rows, margin).astype(np.float32),
        embedder=embedder,
        seen=np.unique(rows.texts),
        about={},
    )


def _fit_parts(rows: Rows, seed: int) -> _Parts:
    count = len(rows.models)
    known = np.isfinite(rows.costs)
    # Side by side: where all is known of all rows, which is usual, qualities and costs share the decomposition.
    targets = np.hstack([rows.scores, np.log(rows.costs)])
    both = fit_ridges(rows.inputs[:, :LINEAR], targets, np.hstack([rows.bounded_weights, known.astype(np.float64)]))
    ridges, costs = [one[:, :count] for one in both], [one[:, count:] for one in both]
    if not rows.has_costs:
        costs = [np.full_like(costs[0], np.nan)]
    near = condense(rows, seed)
    numbers = numbers_of(rows.inputs, near.places(rows.inputs))
    forest = grow(numbers, rows.weighed, rows.bounded_weights, seed)
    return _Parts(ridges, near, forest, costs, rows.means)


def _blend(members: Floats, rows: Rows) -> Floats:
    """
    (members, 2): weights for what all models have in common on a request, and for how they differ.

    A choice hangs on the differences alone, which are far harder to see than how hard a request is: weights fitted to
    both at once would be right about what does not matter. Where few requests were answered by every model, there
    are no differences to fit to, and both get the weights that fit the scores.
    """
    complete = rows.is_complete
    above = rows.scores - rows.means
    if len(rows.models) > 1 and int(complete.sum()) >= LEAST_COMPLETE:
        own, seen = above[complete], members[:, complete]
        common, seen_common = own.mean(axis=1), seen.mean(axis=2)
        apart = own - common[:, np.newaxis]
        seen_apart = seen - seen_common[:, :, np.newaxis]
        count = len(members)
        return np.stack(
            [
                non_negative(seen_common.T, common),
                non_negative(seen_apart.reshape(count, -1).T, apart.ravel()),
            ],
            axis=1,
        )
    rated = np.isfinite(rows.scores)
    weights = non_negative(members[:, rated].T, above[rated])
    return np.stack([weights, weights], axis=1)


def _spread(blend: Floats, share: float) -> Floats:
    """The same with the differences between models at a share of what fits them best."""
    return blend * [1.0, share]


def _blended(members: Floats, blend: Floats) -> Floats:
    """(rows, models), less the models' means."""
    common = members.mean(axis=2, keepdims=True)
    result: Floats = np.tensordot(blend[:, 0], np.broadcast_to(common, members.shape), 1)
    result += np.tensordot(blend[:, 1], members - common, 1)
    return result


def _blended_ridges(parts: _Parts, blend: Floats) -> Floats:
    """(inputs + 1, models): all of them as one regression to what is above the models' means."""
    linear = np.zeros_like(parts.ridges[0])
    for ridge, (common_weight, apart_weight) in zip(parts.ridges, blend, strict=False):
        above = ridge.copy()
        above[-1] -= parts.means
        common = above.mean(axis=1, keepdims=True)
        linear += common_weight * common + apart_weight * (above - common)
    return linear


def _best_cost(log_costs: Floats, rows: Rows) -> tuple[int, Floats]:
    """
    The strength that predicts the logarithm of costs best, and what each model's exponential is short of the mean; NaN
    without costs.

    The second is Duan's smearing, in its multiplicative form: Smearing estimate, JASA 78, 1983.
    """
    if not rows.has_costs:
        return 0, np.full(len(rows.models), np.nan)
    known = np.isfinite(rows.costs)
    errors = [float(((np.log(rows.costs[known]) - one[known]) ** 2).sum()) for one in log_costs]
    best = int(np.argmin(errors))
    told = np.where(known, np.exp(log_costs[best]), 0.0).sum(axis=0)
    result: Floats = np.where(known, rows.costs, 0.0).sum(axis=0) / np.maximum(told, 1e-300)
    return best, result


def _outlook(members: Floats, blend: Floats, cost: Floats, rows: Rows) -> Outlook:
    """What would have been predicted for each row without it."""
    quality = _blended(members, blend) + rows.means
    return Outlook(quality.astype(np.float32), cost.astype(np.float32))
