"""
What a text is about: the best topic, how well it fits, and whether it fits at all.

Two things are looked at. A linear probe, fitted on the examples and the topics' names, says which topic is the
likeliest; it must share out all probability among the topics, so it cannot say "none of them". The mean similarity
to the three nearest examples can. Both are put on one scale by how examples look that the probe has not seen
(five folds), added, and turned into a score from 0 to 1 of which 0.5 is the point that 3% of those held-out
examples do not reach. So a text that fits no topic falls through, without any example of such a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from proxy.embedding import Vector, Vectors
from proxy.routing.probe import Floats, Ints, Probe, fit_probe

FITTED_THRESHOLD = 0.5
_FOLDS = 5
_NEAREST = 3
_LOST_SHARE = 0.03
# With few examples, or examples that are all alike, their spread says little; these are a tenth to a third of
# what ordinary topics show, and keep a small spread from turning every other text away.
_LEAST_SPREAD = np.array([0.5, 0.03])
_MOST_LOG_ODDS = 12.0


@dataclass(frozen=True)
class TopicScores:
    """One text against all topics."""

    names: Sequence[str]
    best_index: int
    score: float
    """The best topic's, 0 to 1."""
    threshold: float
    """The best topic's."""
    compute: Callable[[], Floats]
    """Every topic's score, (topics,): only an explanation asks, so a decision does not pay for it."""

    @property
    def best(self) -> str:
        """The likeliest topic, whether it fits or not."""
        return self.names[self.best_index]

    @property
    def passes(self) -> bool:
        """Whether the best topic reaches its threshold."""
        return self.score >= self.threshold

    @cached_property
    def values(self) -> Floats:
        """(topics,), 0 to 1, in the order of `names`."""
        return self.compute()

    @cached_property
    def ranked(self) -> list[tuple[str, float]]:
        """Every topic with its score, best first; of equals the one listed first in routes.yaml."""
        order = np.argsort(-self.values, kind="stable")
        return [(self.names[index], float(self.values[index])) for index in order]


class Topics:
    """The topics of one routes.yaml, fitted. Immutable; the same vector always gets the same scores."""

    def __init__(
        self,
        names: Sequence[str],
        probe: Probe,
        examples: Vectors,
        calibration: _Calibration,
        thresholds: Sequence[float],
    ) -> None:
        self.names = tuple(names)
        # Weights and examples are multiplied with a vector in one go: a decision comes right after a run of the
        # embedding model, when nothing is in the caches, and then each step by itself costs more than its work.
        self._rows = np.concatenate([probe.weights.T, examples]).astype(np.float32)
        self._bias = probe.bias - probe.centre @ probe.weights
        self._calibration = calibration
        self._thresholds = tuple(thresholds)

    @classmethod
    def fit(
        cls, examples: Mapping[str, Vectors], names: Vectors, thresholds: Mapping[str, float | None] | None = None
    ) -> Topics:
        """
        Fit the topics.

        Args:
            examples: by topic, (examples, 384); at least one topic, and at least one example each.
            names: (topics, 384), the vectors of `spoken(name)` in the same order.
            thresholds: by topic, where the file gives one.
        """
        labels = np.concatenate([np.full(len(rows), index) for index, rows in enumerate(examples.values())])
        shown = np.concatenate(list(examples.values()))
        # A name is one more example, but none to calibrate on: it is shorter than any request.
        vectors = np.concatenate([shown, names]).astype(np.float64)
        labels = np.concatenate([labels, np.arange(len(names))])
        probe = fit_probe(vectors, labels, len(names))
        calibration = _calibrate(vectors, labels, len(shown), len(names))
        given = thresholds or {}
        fitted = [FITTED_THRESHOLD if (own := given.get(name)) is None else own for name in examples]
        return cls(tuple(examples), probe, vectors.astype(np.float32), calibration, fitted)

    def scores(self, vector: Vector) -> TopicScores:
        """Every topic's score for one text."""
        products = (self._rows @ vector).astype(np.float64)
        logits = products[: len(self.names)] + self._bias
        similarity = float(_nearest_mean(products[len(self.names) :]))
        best = int(logits.argmax())
        others = np.exp(logits - logits[best])
        others[best] = 0.0
        log_odds = min(max(-math.log(max(float(others.sum()), 1e-12)), -_MOST_LOG_ODDS), _MOST_LOG_ODDS)
        return TopicScores(
            self.names,
            best,
            self._calibration.score(log_odds, similarity),
            self._thresholds[best],
            lambda: self._calibration.scores(_log_odds(logits), similarity),
        )


@dataclass(frozen=True, slots=True)
class _Calibration:
    """How held-out examples look: what is usual, and from where on a text does not fit."""

    centre: tuple[float, float]
    """The mean log-odds and the mean similarity."""
    spread: tuple[float, float]
    least: float
    """The sum of both, standardised, that 3% of held-out examples do not reach."""

    def score(self, log_odds: float, similarity: float) -> float:
        """One topic's log-odds, and the text's similarity, to its score, 0 to 1."""
        sum_ = (log_odds - self.centre[0]) / self.spread[0] + (similarity - self.centre[1]) / self.spread[1]
        return 1.0 / (1.0 + math.exp(min(max(self.least - sum_, -50.0), 50.0)))

    def scores(self, log_odds: Floats, similarity: float) -> Floats:
        """Every topic's log-odds, (topics,), and the text's similarity, to (topics,)."""
        return np.array([self.score(float(one), similarity) for one in log_odds])


def _calibrate(vectors: Floats, labels: Ints, shown: int, classes: int) -> _Calibration:
    """Look at each of the first `shown` rows with a probe that was fitted without it."""
    folds = np.full(len(labels), -1)  # what is not shown, the names, is always fitted on
    for index in range(classes):
        rows = np.flatnonzero(labels[:shown] == index)
        folds[rows] = np.arange(len(rows)) % _FOLDS
    seen: list[Floats] = []
    for fold in range(min(_FOLDS, folds.max() + 1)):
        held_out = folds == fold
        probe = fit_probe(vectors[~held_out], labels[~held_out], classes)
        log_odds = _log_odds(probe.logits(vectors[held_out])).max(axis=1)
        similarity = _nearest_mean(vectors[held_out] @ vectors[~held_out].T)
        seen.append(np.stack([log_odds, similarity], axis=1))
    both = np.concatenate(seen)
    centre = both.mean(axis=0)
    spread = np.maximum(both.std(axis=0), _LEAST_SPREAD)
    sums = ((both - centre) / spread).sum(axis=1)
    (odds, near), (odds_spread, near_spread) = centre.tolist(), spread.tolist()
    return _Calibration((odds, near), (odds_spread, near_spread), float(np.quantile(sums, _LOST_SHARE)))


def _log_odds(logits: Floats) -> Floats:
    """(..., topics) to the same: log(p / (1 - p)), within bounds where p is 0 or 1; with one topic it always is 1."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    others = np.maximum(weights.sum(axis=-1, keepdims=True) - weights, 1e-12)
    result: Floats = np.clip(shifted - np.log(others), -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
    return result


def _nearest_mean(similarities: Floats) -> Any:
    """(..., examples) to (...,): the mean of the three largest, or of as many as there are."""
    count = min(_NEAREST, similarities.shape[-1])
    return np.partition(similarities, similarities.shape[-1] - count, axis=-1)[..., -count:].mean(axis=-1)


def spoken(name: str) -> str:
    """A topic's name as words: `card_arrival` is `card arrival`."""
    return re.sub(r"[._:/-]+", " ", name).strip()
