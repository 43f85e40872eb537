"""
Growing a forest: extremely randomised trees, each of which splits its texts by the best of some chance questions.

Geurts, Ernst and Wehenkel, Extremely randomized trees, Machine Learning 63, 2006. How good a question is, a tree judges
by a few chance mixtures of the models' scores: Joly, Geurts and Wehenkel, Random forests with random projections of the
output space, ECML PKDD 2014. All trees grow side by side, one level after the other, which numpy takes at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from proxy.routing.arrays import Bools, Floats, Floats32, Ints
from proxy.routing.forest import BEYOND, Forest, bare

TREES = 60
QUESTIONS = 20
"""That are tried for a split."""
MIXTURES = 3
DEPTH = 12
"""Steps from a root to a leaf, at the most."""
LEAST_RATINGS = 10
"""Of each model, about so many in a leaf."""
MOST_ROWS = 5000
"""That a tree is grown on; of more, each draws its own."""
MOST_VALUES = 4_000_000
"""In all leaves; with hundreds of models, trees are grown on fewer rows."""
PRIOR = 1.0
"""So many texts' worth of the model's mean stands in every leaf."""
_GRAIN = 1024.0
"""A leaf is rounded to one part in that: no more is known of it, and the file becomes smaller."""
_AT_ONCE = 65_536
"""Rows times trees that grow side by side: beyond, they no longer fit into the processor's caches."""


class _Sample(NamedTuple):
    """What trees are grown on."""

    numbers: Floats32
    """(rows, numbers)."""
    sums: Floats
    """(rows, models): weight times what the score is above the model's mean."""
    weights: Floats
    """(rows, models)."""
    least: int
    """Rows in a leaf."""


class _Level(NamedTuple):
    """Nodes that are side by side: of each in turn, the rows that came there."""

    rows: Ints
    mixed: Floats32
    """(rows, mixtures)."""
    sizes: Ints
    """(nodes,)."""

    @property
    def starts(self) -> Ints:
        """(nodes,)."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def node_of(self) -> Ints:
        """(rows,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


class _Split(NamedTuple):
    """The best question of each node, and what becomes of its rows."""

    asks: Ints
    limits: Floats32
    is_any: Bools
    """(nodes,): whether there is one that leaves enough on both sides."""
    goes_right: Bools
    """(rows,)."""


def grow(numbers: Floats32, sums: Floats, weights: Floats, seed: int) -> Forest:
    """
    A forest that predicts what scores are above their means.

    Args:
        numbers: (rows, numbers); a row of which one is not known is left out.
        sums: (rows, models): weight times what the score is above the model's mean; 0 where the weight is 0.
        weights: (rows, models), 0 or more.
        seed: of every draw.
    """
    known: Ints = np.flatnonzero(np.isfinite(numbers).all(axis=1) & weights.any(axis=1))
    rows, count = len(known), sums.shape[1]
    weights = weights[known]
    least = math.ceil(LEAST_RATINGS * weights.size / max(int(np.count_nonzero(weights)), 1))
    if rows < 2 * max(least, LEAST_RATINGS):
        return bare(count)
    sample = _Sample(numbers[known], sums[known], weights, least)
    random = np.random.default_rng(seed)
    a_tree = min(rows, MOST_ROWS, max(MOST_VALUES * least // (2 * TREES * count), 2 * least))
    at_once = max(1, _AT_ONCE // a_tree)
    return _joined([_grow(sample, min(at_once, TREES - done), a_tree, random) for done in range(0, TREES, at_once)])


def _grow(sample: _Sample, trees: int, a_tree: int, random: np.random.Generator) -> Forest:
    """Some trees, the nodes of all of them numbered by level."""
    rows = np.concatenate([random.permutation(len(sample.sums))[:a_tree] for _ in range(trees)])
    mixtures = random.normal(size=(trees, sample.sums.shape[1], MIXTURES))
    mixed = np.matmul(sample.sums[rows].reshape(trees, a_tree, -1), mixtures).reshape(-1, MIXTURES)
    level = _Level(rows, mixed.astype(np.float32), np.full(trees, a_tree))
    weights = sample.weights.mean(axis=1).astype(np.float32)
    found: list[tuple[Ints, Floats32, Ints, Floats32]] = []
    numbered = 0
    for depth in range(DEPTH + 1):
        split = _best_of_some(sample, level, weights, random)
        goes_on = split.is_any & (depth < DEPTH)
        places = np.arange(numbered, numbered + len(goes_on))
        numbered += len(goes_on)
        firsts = np.where(goes_on, numbered + 2 * (np.cumsum(goes_on) - 1), places)
        asks, limits = np.where(goes_on, split.asks, 0), np.where(goes_on, split.limits, BEYOND)
        found.append((asks, limits.astype(np.float32), firsts, _values(sample, level, ~goes_on)))
        if not goes_on.any():
            break
        level = _next(level, goes_on, split.goes_right)
    return Forest(np.arange(trees), *(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _best_of_some(sample: _Sample, level: _Level, weights: Floats32, random: np.random.Generator) -> _Split:
    """
    Ask some numbers of each node, each at a chance place between the least and the greatest that came there.

    The best question leaves least of the mixtures' squares within its two sides, which is where the squares of their
    sums are greatest.
    """
    nodes, starts, node_of = len(level.sizes), level.starts, level.node_of
    asks = random.integers(sample.numbers.shape[1], size=(nodes, QUESTIONS))
    said = sample.numbers[level.rows[:, np.newaxis], asks[node_of]]
    least, most = np.minimum.reduceat(said, starts, axis=0), np.maximum.reduceat(said, starts, axis=0)
    limits = least + random.random(least.shape, dtype=np.float32) * (most - least)
    is_right = said > limits[node_of]
    at_right = is_right.astype(np.float32)
    weight = weights[level.rows]
    count = np.add.reduceat(at_right, starts, axis=0)
    total = np.add.reduceat(weight, starts)[:, np.newaxis]
    right = np.add.reduceat(at_right * weight[:, np.newaxis], starts, axis=0)
    gain = np.zeros_like(limits)
    for mixed in level.mixed.T:
        whole = np.add.reduceat(mixed, starts)[:, np.newaxis]
        sums = np.add.reduceat(at_right * mixed[:, np.newaxis], starts, axis=0)
        gain += sums**2 / np.maximum(right, 1e-9) + (whole - sums) ** 2 / np.maximum(total - right, 1e-9)
    may = (count >= sample.least) & (level.sizes[:, np.newaxis] - count >= sample.least)
    best = np.where(may, gain, -1.0).argmax(axis=1)
    each = np.arange(nodes)
    goes_right = is_right[np.arange(len(is_right)), best[node_of]]
    return _Split(asks[each, best], limits[each, best], may[each, best], goes_right)


def _values(sample: _Sample, level: _Level, is_leaf: Bools) -> Floats32:
    """(nodes, models): what the rows of a leaf say; 0 where there is no leaf."""
    values = np.zeros((len(is_leaf), sample.sums.shape[1]), dtype=np.float32)
    if is_leaf.any():
        rows, sizes = level.rows[is_leaf[level.node_of]], level.sizes[is_leaf]
        starts = np.cumsum(sizes) - sizes
        sums, weights = (np.add.reduceat(each[rows], starts, axis=0) for each in (sample.sums, sample.weights))
        values[is_leaf] = np.round(_GRAIN * sums / (weights + PRIOR)) / _GRAIN
    return values


def _next(level: _Level, goes_on: Bools, goes_right: Bools) -> _Level:
    """The children, two by two."""
    node_of = level.node_of
    stays = goes_on[node_of]
    child = 2 * (np.cumsum(goes_on) - 1)[node_of[stays]] + goes_right[stays]
    order = np.argsort(child, kind="stable")
    return _Level(level.rows[stays][order], level.mixed[stays][order], np.bincount(child))


def _joined(forests: list[Forest]) -> Forest:
    """All trees of some forests, whose nodes are numbered one after the other."""
    before = np.cumsum([0, *(len(each.asks) for each in forests)]).tolist()
    return Forest(
        roots=np.concatenate([each.roots + start for each, start in zip(forests, before, strict=False)]),
        asks=np.concatenate([each.asks for each in forests]),
        limits=np.concatenate([each.limits for each in forests]),
        firsts=np.concatenate([each.firsts + start for each, start in zip(forests, before, strict=False)]),
        values=np.concatenate([each.values for each in forests]),
    )
