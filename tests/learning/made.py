"""Rated requests made by chance, of which it is known what there is to learn."""

from __future__ import annotations

import numpy as np

from proxy.embedding import DIMENSIONS
from proxy.learning.training_rows import Rows
from proxy.routing.inputs import inputs_of
from proxy.routing.shape import SIZE

MODELS = ("small", "large", "coder")


def made(count: int = 240, *, seed: int = 0, learnable: bool = True, costs: bool = True) -> Rows:
    """
    Requests of two kinds, told by their vectors: `coder` is good at one and bad at the other, `small` the reverse,
    and `large`, at ten times the price, is good at both.
    """
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, count)
    vectors = random.normal(0, 0.03, (count, DIMENSIONS))
    vectors[:, 0] += np.where(kind == 1, 0.6, -0.6)
    vectors[:, 400] += 0.3
    if not learnable:
        vectors = random.permutation(vectors)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shapes = np.random.default_rng(seed + 1).random((count, SIZE), dtype=np.float32)
    chances = np.where(kind[:, np.newaxis] == 1, [0.2, 0.85, 0.9], [0.9, 0.85, 0.2])
    scores = (random.random((count, 3)) < chances).astype(np.float64)
    prices = np.array([0.001, 0.01, 0.001]) * random.lognormal(0, 0.2, (count, 3))
    return Rows(
        MODELS,
        inputs_of(vectors.astype(np.float32), random.integers(5, 200, count), shapes),
        scores,
        prices if costs else np.full_like(scores, np.nan),
        np.ones_like(scores),
        np.arange(count),
    )
