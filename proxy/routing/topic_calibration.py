"""
How examples look to a probe that has not seen them, and the score that is made of it.

The examples are shared out over five folds, and each is looked at by a probe fitted on the other four (cross-fitting:
Platt, Probabilistic outputs for support vector machines, 1999, section 2.1). That shows how large the best topic's
log-odds and the mean similarity to the nearest examples usually are. A text's two figures are standardised by it,
added, and turned into a score from 0 to 1, of which 0.5 is the point that 2.5% of held-out examples do not
reach, or a little lower where there are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy.routing.arrays import Floats, Ints
from proxy.routing.probe import fit_probe

MOST_LOG_ODDS = 12.0
LIKELIEST = 5
"""
Of so many topics, the likeliest, the examples are looked at: at least `_NEAREST`, as each has its name at least.

Measured on few-shot intent data: with 5 as much passes and falls through as with all, within half a point; with 1, 1.5
points less is found of what is out of CLINC150's scope.
"""
_FOLDS = 5
_NEAREST = 3
# The examples of one file are more alike than what comes later: on CLINC150 with all its examples, of the validation
# part's texts 4.5% were lost when 3% of held-out examples were to be, and 3.3% with this.
_LOST_SHARE = 0.025
# The lowest of a few examples is not the lowest there will be, so the point lies this many spreads, divided by the
# examples, below it. Chosen on files of 2 to 6 topics from CLINC150, so that 95% pass; held on BANKING77's.
_UNSEEN = 3.0
# Two thousand held-out examples fix a mean, a spread and the lowest 2.5%; with more, further folds only cost time.
_ENOUGH = 2000
# Examples that are all the same have no spread, and the same text again must not fail by its last bit.
_HAIR = 1e-3
_ROWS_AT_ONCE = 256
# With few examples, or examples that are all alike, their spread says little; these are a tenth to a third of
# what ordinary topics show, and keep a small spread from turning every other text away.
_LEAST_SPREAD = np.array([0.5, 0.03])


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Examples as a probe sees them that was fitted without them."""

    rows: Ints
    """(examples,): which, as indices into all vectors."""
    log_odds: Floats
    """(examples, topics)."""
    similarity: Floats
    """(examples,): the mean to the three nearest of those the probe was fitted on, of the likeliest topics."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How held-out examples look: what is usual, and from where on a text does not fit."""

    centre: tuple[float, float]
    """The mean log-odds and the mean similarity."""
    spread: tuple[float, float]
    least: float
    """The sum of both, standardised, that a score of 0.5 is."""

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of it, in one row, for a file."""
        return (*self.centre, *self.spread, self.least)

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Calibration:
        """
        From such a row.

        Raises:
            ValueError: there are not five numbers.
        """
        odds, near, odds_spread, near_spread, least = numbers
        return cls((odds, near), (odds_spread, near_spread), least)

    def score(self, log_odds: float, similarity: float) -> float:
        """One topic's log-odds and a similarity to its score, 0 to 1."""
        sum_ = (log_odds - self.centre[0]) / self.spread[0] + (similarity - self.centre[1]) / self.spread[1]
        return 1.0 / (1.0 + math.exp(min(max(self.least - sum_, -50.0), 50.0)))


def held_out(vectors: Floats, labels: Ints, shown: int, classes: int, enough: int = _ENOUGH) -> HeldOut:
    """
    Look at each of the first `shown` rows with a probe that was fitted without it.

    Args:
        vectors: (rows, dimensions), of length 1 each.
        labels: (rows,), from 0 to `classes` - 1.
        shown: rows behind these, the topics' names, are always fitted on: a name is shorter than any request.
        classes: how many.
        enough: no further fold once so many examples are looked at.
    """
    folds = np.full(len(labels), -1)
    for index in range(classes):
        rows = np.flatnonzero(labels[:shown] == index)
        folds[rows] = np.arange(len(rows)) % _FOLDS
    seen: list[HeldOut] = []
    for fold in range(folds.max() + 1):
        out = folds == fold
        held, fitted, fitted_labels = vectors[out], vectors[~out], labels[~out]
        logits = fit_probe(fitted, fitted_labels, classes).logits(held)
        similarity = _similarity(held, logits, fitted, fitted_labels)
        seen.append(HeldOut(np.flatnonzero(out), log_odds_of(logits), similarity))
        if sum(len(part.rows) for part in seen) >= enough:
            break
    return HeldOut(
        np.concatenate([part.rows for part in seen]),
        np.concatenate([part.log_odds for part in seen]),
        np.concatenate([part.similarity for part in seen]),
    )


def _similarity(vectors: Floats, logits: Floats, examples: Floats, labels: Ints) -> Floats:
    """(rows, dimensions) and (rows, topics) to (rows,): the mean to the nearest examples of the likeliest topics."""
    found: list[Floats] = []
    # A few rows at a time: with 1,000 topics of 20 examples all at once would be half a gigabyte.
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        similarities = vectors[part] @ examples.T
        if logits.shape[1] > LIKELIEST:
            is_likely = np.zeros(logits[part].shape, dtype=bool)
            np.put_along_axis(is_likely, logits[part].argpartition(-LIKELIEST, axis=1)[:, -LIKELIEST:], True, axis=1)
            similarities[~is_likely[:, labels]] = -1.0
        found.append(nearest_mean(similarities))
    return np.concatenate(found)


def calibrate(seen: HeldOut) -> Calibration:
    """From examples the probe has not seen to what a score of 0.5 is."""
    both = np.stack([seen.log_odds.max(axis=1), seen.similarity], axis=1)
    centre = both.mean(axis=0)
    spread = np.maximum(both.std(axis=0), _LEAST_SPREAD)
    sums = ((both - centre) / spread).sum(axis=1)
    least = float(np.quantile(sums, _LOST_SHARE)) - _UNSEEN / len(sums) * float(sums.std()) - _HAIR
    (odds, near), (odds_spread, near_spread) = centre.tolist(), spread.tolist()
    return Calibration((odds, near), (odds_spread, near_spread), least)


def log_odds_of(logits: Floats) -> Floats:
    """(..., topics) to the same: log(p / (1 - p)), within bounds where p is 0 or 1; with one topic it always is 1."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    others = np.maximum(weights.sum(axis=-1, keepdims=True) - weights, 1e-12)
    result: Floats = np.clip(shifted - np.log(others), -MOST_LOG_ODDS, MOST_LOG_ODDS)
    return result


def nearest_mean(similarities: Floats) -> Floats:
    """(rows, examples) to (rows,): the mean of the three largest, or of as many as there are."""
    count = min(_NEAREST, similarities.shape[1])
    result: Floats = np.partition(similarities, -count, axis=1)[:, -count:].mean(axis=1)
    return result


def nearest_mean_of(similarities: Sequence[NDArray[np.float32]]) -> float:
    """The same for one text, by the shortest way: by the other this alone takes a tenth of a decision."""
    together = np.concatenate(similarities)
    count = min(_NEAREST, len(together))
    together.partition(-count)
    return float(sum(together[-count:].tolist())) / count
