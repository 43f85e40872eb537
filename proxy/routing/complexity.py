"""
How hard a request is, 0 to 1, from its embedding alone.

A direction between the embeddings of simple and of complex reference texts; a text's place along it is its
complexity. Of a vector only the last layer is looked at: with the third beside it, exam questions fall below length.
What it measures is how demanding a request reads: how much knowledge, how many steps, how many conditions its wording
asks for, as a person would judge it at a glance. It does not measure whether a certain model fails: expert work that
models do well scores high. Hard questions in few plain words score low ("Prove that every bounded entire function is
constant" gets 0.4), and so may edits of long texts. The embedding model knows English: in other languages scores
crowd around 0.5: a question about cooking in German gets 0.47. Facts asked in a few words lie between 0.2 and 0.6, so
a rule for hard requests wants 0.7 or more.

Measured by `python -m bench.complexity` on sets that nothing was fitted on, as the area under the ROC curve of
complex against simple (0.5 is chance); in brackets the text's length alone. Chat requests labelled by a judge model:
.78 (.56). Chat requests with their authors' labels, 62 of them: .87 (.74). Maths and code by the share of models that
fail: .80 (.55), which mostly tells competition maths from school maths; within the code it is chance. Exam questions
on fourteen subjects, likewise by failing models: .57 (.54), little better than length. A few references of one's own
make a rougher measure: two of each kind, .58 on the first of these sets, forty .74.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxy.embedding import LAST_LAYER, Vector, Vectors, last_layer
from proxy.routing.arrays import Floats

# Measured: from 20 to 60 the areas above move by less than .02; with 5 the second loses .03.
REGULARISATION = 30.0
# What length explains is left out in part: in whole, "thanks" would look no simpler than its few letters are worth.
# Measured from 0 to 1: the more, the better on chat and maths, and the higher small talk scores.
_LENGTH_WEIGHT = 0.3
# In characters; shorter says no more: "ok" would else have more weight than any other reference.
_LEAST_LENGTH = 40
_FOLDS = 5
# The means of the simple and of the complex references, held out, get 0.2 and 0.8.
_LOG_ODDS_AT_MEAN = math.log(4.0)
# Half the distance between those means, as a cosine; the built-in references' is 0.11. Few of them,
# or some that hardly differ, would otherwise send every text to 0 or 1.
_LEAST_HALF = 0.05


class Complexity:
    """A fitted direction. Immutable; the same vector always gets the same score."""

    def __init__(self, direction: Floats, offset: float) -> None:
        """
        Args:
            direction: (384,), in log-odds: its product with a vector's last layer, plus `offset`, has the score as
                logistic.
            offset: in log-odds.
        """
        self.direction = direction.astype(np.float32)
        self.direction.flags.writeable = False
        self.offset = offset

    @classmethod
    def fit(
        cls,
        simple: Vectors,
        complex: Vectors,  # noqa: A002 - the name is the file format's
        lengths: Sequence[int] | None = None,
    ) -> Complexity:
        """
        Fit the direction, and scale it so that 0.5 is the midpoint between the two kinds of references, each looked
        at by a direction that was fitted without it.

        Args:
            simple: (texts, 768), rows of length 1; at least one. Their number may differ from `complex`'s.
            complex: (texts, 768), likewise.
            lengths: of each text, in characters, `simple`'s first. With them, part of what length explains of
                the difference is left out of the direction, the more the more references there are to tell it from.

        Raises:
            ValueError: one of the two kinds has no text.
        """
        if not len(simple) or not len(complex):
            raise ValueError("complexity needs at least one simple and one complex text")
        vectors = last_layer(np.concatenate([simple, complex]).astype(np.float64))
        is_complex = np.arange(len(vectors)) >= len(simple)
        log_lengths = np.zeros(len(vectors)) if lengths is None else np.log(np.maximum(lengths, _LEAST_LENGTH))
        axis = _axis(vectors, is_complex, log_lengths)
        places = _held_out(vectors, is_complex, log_lengths, axis)
        low, high = float(places[~is_complex].mean()), float(places[is_complex].mean())
        scale = _LOG_ODDS_AT_MEAN / max((high - low) / 2, _LEAST_HALF)
        return cls(axis.direction * scale, -scale * (float(axis.direction @ axis.centre) + (high + low) / 2))

    def score(self, vector: Vector) -> float:
        """One text's complexity, 0 to 1."""
        own = vector[:LAST_LAYER]  # `last_layer`, with its length divided out of the product: half the time
        log_odds = float(self.direction @ own) / max(math.sqrt(float(own @ own)), 1e-9) + self.offset
        return 1.0 / (1.0 + math.exp(min(max(-log_odds, -50.0), 50.0)))


class _Axis(NamedTuple):
    """From simple to complex."""

    direction: Floats
    """(dimensions,), of length 1; all 0 if nothing tells the two kinds apart."""
    centre: Floats
    """(dimensions,): the point midway between the two means."""

    def places(self, vectors: Floats) -> Floats:
        """(texts, dimensions) to (texts,): below 0 simple, above 0 complex."""
        result: Floats = (vectors - self.centre) @ self.direction
        return result


def _axis(vectors: Floats, is_complex: NDArray[np.bool_], log_lengths: Floats) -> _Axis:
    """
    Ridge regression of the kind, -1 or 1, on the vector and the length; the length's coefficient is thrown away.

    Both kinds count the same, however many texts each has. With few texts the penalty outweighs the data, and the
    direction is close to the difference between the two means.
    """
    kinds = np.where(is_complex, 1.0, -1.0)
    counts = np.where(is_complex, is_complex.sum(), (~is_complex).sum())
    weights = len(vectors) / (2.0 * counts)
    centre = np.average(vectors, axis=0, weights=weights)
    from_mean = log_lengths - np.average(log_lengths, weights=weights)
    spread = math.sqrt(float(np.average(from_mean**2, weights=weights)))
    inputs = np.column_stack([vectors - centre, _LENGTH_WEIGHT * from_mean / max(spread, 1e-9)])
    rows, aims = inputs * np.sqrt(weights)[:, None], kinds * np.sqrt(weights)
    if len(rows) < rows.shape[1]:  # the same solution from the smaller of the two systems of equations
        coefficients = rows.T @ np.linalg.solve(rows @ rows.T + REGULARISATION * np.eye(len(rows)), aims)
    else:
        coefficients = np.linalg.solve(rows.T @ rows + REGULARISATION * np.eye(rows.shape[1]), rows.T @ aims)
    direction = coefficients[:-1]
    norm = float(np.linalg.norm(direction))
    return _Axis(direction / norm if norm > 1e-9 else np.zeros_like(direction), centre)


def _held_out(vectors: Floats, is_complex: NDArray[np.bool_], log_lengths: Floats, axis: _Axis) -> Floats:
    """Each text's place on an axis that was fitted without it; a kind's only text has to do with `axis` itself."""
    folds = np.full(len(vectors), -1)
    for kind in (False, True):
        rows = np.flatnonzero(is_complex == kind)
        if len(rows) > 1:
            folds[rows] = np.arange(len(rows)) % _FOLDS
    places = axis.places(vectors)
    for fold in range(folds.max() + 1):
        out = folds == fold
        places[out] = _axis(vectors[~out], is_complex[~out], log_lengths[~out]).places(vectors[out])
    return places
