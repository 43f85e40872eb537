"""
The learned policy: how well each model would answer this request, what that would cost, and which one to take.

Quality is a blend of a linear map of the text's vector, of how the models did on the training texts around it, and of
a forest that also looks at the text's shape; all are shrunk towards each model's mean as far as held-out texts asked
for. What is around is not looked for among all training texts but among their condensed neighbours: some hundred
centres that stand for a few texts each, in the 32 directions in which texts differ most, and each counts by its
closeness. Measured on MMLU-Pro, ZeroEval and RouterBench, that predicts better than the hundred nearest of all texts in
all directions, and takes microseconds. Cost is a linear map to its logarithm.

`score = quality - weight x cost`, and the single model that is best on average keeps a margin where that was needed
not to fall below it. What the weight and the margin are for each `prefer` was measured when the policy was trained.

Pure: arrays in, arrays out. `policy_file` has the file, `proxy.learning` the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxy.embedding import DIMENSIONS, LAST_LAYER, Vector, Vectors
from proxy.routing.arrays import Floats32
from proxy.routing.forest import Forest
from proxy.routing.inputs import HALF, LINEAR, OF_LENGTH, inputs_of, length_of, numbers_of
from proxy.routing.neighbours import Neighbours
from proxy.routing.shape import UNKNOWN, Shape

_MOST_LOG_COST = 80.0
"""Of USD; beyond, an exponential is no number of 32 bits any more. No request costs as much, but a file may say so."""
ALWAYS_SINGLE = 2.0
"""A margin of the best single model that no predicted quality makes up for: nothing is proven but the means."""

STEPS = 101
"""Values of `prefer` that are told apart: 0, 0.01, ... 1."""


class Candidate(NamedTuple):
    """One model as the policy sees it for one request."""

    model: str
    quality: float
    """0 to 1, as the scores it was trained on."""
    correction: float
    """What feedback since then adds to it; 0 where it adds nothing."""
    cost_usd: float | None
    """None where the policy was trained without costs."""
    score: float
    """The highest is chosen."""


class Choice(NamedTuple):
    """What the policy says of one request."""

    candidates: tuple[Candidate, ...]
    """By their score, the best first; of equals the one named first."""
    region: int | None
    """Where among the training texts the request is; None where its text is not known."""


class Regions(NamedTuple):
    """The training texts in a few large parts, by which feedback is gathered and people see what was learned."""

    centres: Floats32
    """(regions, directions)."""
    quality: Floats32
    """(regions, models): mean scores, shrunk to the model's mean where data is thin."""
    counts: Floats32
    """(regions, models): how many ratings stand behind that."""


class Outlook(NamedTuple):
    """What is predicted for some requests."""

    quality: Floats32
    """(requests, models), as they are compared: beyond 1, they still tell apart models that are all next to sure."""
    cost_usd: Floats32
    """(requests, models); NaN where the policy was trained without costs."""

    @property
    def bounded(self) -> Floats32:
        """The qualities as they are meant, 0 to 1."""
        return np.clip(self.quality, 0.0, 1.0)


@dataclass(frozen=True)
class Policy:
    """Immutable; the same request always gets the same outlook."""

    models: tuple[str, ...]
    means: Floats32
    """(models,): each model's quality over all training texts."""
    mean_costs: Floats32
    """(models,), USD; NaN where the policy was trained without costs."""
    linear: Floats32
    """(770 + 1, models): the linear part of quality less the mean; the last row is a constant."""
    cost: Floats32
    """(770 + 1, models): to the logarithm of the cost in USD."""
    neighbours: Neighbours
    forest: Forest
    regions: Regions
    blends: Floats32
    """
    (neighbourhoods + 1, 2): how much each, and last the forest, counts for the models' mean, and for the difference of
    each from that.
    """
    prefer: Floats32
    """(101, 2): for `prefer` of 0, 0.01, ... 1 the weight of a dollar, and the margin of the best single model."""
    embedder: str
    """The name of the embedding model whose vectors it was trained on."""
    seen: NDArray[np.int64]
    """Hashes of the vectors it was trained on, ascending: on those texts it cannot be compared with another."""
    about: Mapping[str, Any]
    """What the training tells of itself: rows, seed, held-out figures, whether it was forced."""
    version: str = ""
    """The beginning of the file's hash; empty as long as it has none."""

    @cached_property
    def knows_costs(self) -> bool:
        """Whether there were costs to learn from; if not, `prefer` changes nothing."""
        return bool(np.isfinite(self.mean_costs).all())

    @cached_property
    def single_from(self) -> float | None:
        """The `prefer` from which on the best single model takes every request; None where it nowhere does."""
        others = np.flatnonzero(self.prefer[:, 1] < ALWAYS_SINGLE)
        first = 0 if not len(others) else int(others[-1]) + 1
        return None if first == STEPS else first / (STEPS - 1)

    def predict(self, inputs: Floats32) -> Outlook:
        """
        What to expect of each model.

        Args:
            inputs: (requests, 810), see `inputs_of`.
        """
        known, places = inputs[:, :LINEAR], self.neighbours.places(inputs)
        quality = known @ self.linear[:-1] + self.linear[-1]
        around = (*self.neighbours.excess(places), self.forest.excess(numbers_of(inputs, places)))
        for blend, excess in zip(self.blends, around, strict=True):
            common = excess.mean(axis=1, keepdims=True)
            quality += blend[0] * common + blend[1] * (excess - common)
        quality += self.means
        if not self.knows_costs:
            return Outlook(quality, np.broadcast_to(self.mean_costs, quality.shape))
        cost = np.exp(np.minimum(known @ self.cost[:-1] + self.cost[-1], _MOST_LOG_COST))
        return Outlook(quality, cost)

    def choose(
        self,
        models: Sequence[str],
        prefer: float,
        vector: Vector | None,
        tokens: float,
        penalties: Mapping[str, float] | None = None,
        corrections: Floats32 | None = None,
        shape: Shape = UNKNOWN,
    ) -> Choice:
        """
        The models by their score for one request.

        Args:
            models: which may be chosen, at least one; the policy knows all of them.
            prefer: 0 (cheap) to 1 (quality).
            vector: of the request's text; None when there is none, and each model's mean is all that is known.
            tokens: of that text, estimated; NaN where that is not known.
            penalties: by model, what is taken off its score for what is measured now, such as its latency.
            corrections: (regions, models), what feedback adds to the predictions.
            shape: of the request's text.
        """
        region: int | None = None
        if vector is None:
            quality, cost = self.means.tolist(), self.mean_costs.tolist()
        else:
            quality, cost, region = self._predict_one(vector, tokens, shape)
        corrected = None if corrections is None or region is None else corrections[region].tolist()
        weight, margin = self.prefer[step_of(prefer)].tolist()
        single = self.best_single(models)
        found = []
        for name in models:
            at = self._places[name]
            correction = 0.0 if corrected is None else corrected[at]
            # Where nothing is proven but the models' means, these are all that corrections and delays are weighed with.
            score = self._means[at] if margin >= ALWAYS_SINGLE else quality[at] + (margin if name == single else 0.0)
            score += correction
            if self.knows_costs:
                score -= weight * cost[at]
            if penalties:
                score -= penalties.get(name, 0.0)
            likely = min(max(quality[at], 0.0), 1.0)
            found.append(Candidate(name, likely, correction, cost[at] if self.knows_costs else None, score))
        return Choice(tuple(sorted(found, key=lambda candidate: -candidate.score)), region)

    def _predict_one(self, vector: Vector, tokens: float, shape: Shape) -> tuple[list[float], list[float], int]:
        """
        Quality and cost, by model, of one request, and its region: what `predict` says, in a fifth of its time.

        Nearly all of that is what numpy takes to begin with, so there are few calls here, and one matrix for the three
        linear maps.
        """
        first, second = vector[:LAST_LAYER], vector[LAST_LAYER:]
        maps, count = self._maps, len(self.models)
        found = (first @ maps[:LAST_LAYER]) * (HALF / max(math.sqrt(first @ first), 1e-9))
        found += (second @ maps[LAST_LAYER:DIMENSIONS]) * (HALF / max(math.sqrt(second @ second), 1e-9))
        length = length_of(tokens)
        found += OF_LENGTH * length * maps[-3] + 0.1 * length**2 * maps[-2] + maps[-1]
        places = found[2 * count :]
        places *= 1.0 / max(math.sqrt(places @ places), 1e-9)
        excess = self.neighbours.excess_at(places)
        if not math.isnan(shape[0]):
            numbers = np.concatenate((shape, places, (OF_LENGTH * length,)), dtype=np.float32)
            excess = np.concatenate((excess, self.forest.excess_at(numbers)[np.newaxis]))
        blends = self.blends[: len(excess)]
        common = excess.sum(axis=1) / count
        above = blends[:, 1] @ excess + (blends[:, 0] - blends[:, 1]) @ common
        quality: list[float] = (found[:count] + above + self.means).tolist()
        region = int((self.regions.centres @ places - self._region_half_squares).argmax())
        if not self.knows_costs:
            return quality, [], region
        return quality, [math.exp(min(each, _MOST_LOG_COST)) for each in found[count : 2 * count].tolist()], region

    def regions_of(self, vectors: Vectors) -> NDArray[np.int64]:
        """
        The region of each text, as `choose` finds it.

        Args:
            vectors: (texts, 768).
        """
        places = self.neighbours.places(inputs_of(vectors, np.full(len(vectors), np.nan)))
        found: NDArray[np.int64] = (places @ self.regions.centres.T - self._region_half_squares).argmax(axis=1)
        return found

    @cached_property
    def _region_half_squares(self) -> Floats32:
        result: Floats32 = 0.5 * (self.regions.centres**2).sum(axis=1)
        return result

    @cached_property
    def _maps(self) -> Floats32:
        """(770 + 1, 2 models + directions): quality, cost and the neighbours' directions, side by side."""
        axes = np.zeros((LINEAR + 1, len(self.neighbours.centre)), dtype=np.float32)
        axes[:DIMENSIONS] = self.neighbours.axes
        axes[-1] = -self.neighbours.centre
        return np.ascontiguousarray(np.hstack([self.linear, self.cost, axes]), dtype=np.float32)

    def best_single(self, models: Sequence[str]) -> str:
        """The one of these that is best on average."""
        return max(models, key=lambda name: self.means[self._places[name]])

    @cached_property
    def _means(self) -> list[float]:
        found: list[float] = self.means.tolist()
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.models)}


def policy_version(policy: Policy | None) -> str:
    """What metrics say: `none` where there is none."""
    return "none" if policy is None else policy.version


def step_of(prefer: float) -> int:
    """The place of a `prefer` of 0 to 1 among those that are told apart."""
    return round(prefer * (STEPS - 1))
