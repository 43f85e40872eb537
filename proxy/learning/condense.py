"""The condensed neighbours of training texts: principal directions, and k-means centres that stand for a few each."""

from __future__ import annotations

import numpy as np

from proxy.embedding import DIMENSIONS
from proxy.learning.linear import principal
from proxy.learning.training_rows import Rows, summed
from proxy.routing.arrays import Floats, Floats32, Ints
from proxy.routing.neighbours import Neighbours, project
from proxy.routing.policy import Regions

DIRECTIONS = 32
MOST_CENTRES = 512
ROWS_A_CENTRE = 4
SHARPNESS = (4.0, 8.0, 16.0)
"""Of the neighbourhoods, from one that is nearly everything to one of a few dozen texts."""
PRIOR = 2.0
MOST_REGIONS = 12
ROWS_A_REGION = 40
REGION_PRIOR = 10.0
"""So many ratings' worth of the model's mean."""
_ROUNDS = 8
_AT_ONCE = 8192


def condense(rows: Rows, seed: int) -> Neighbours:
    """
    The neighbours of these texts.

    Args:
        rows: at least one.
        seed: of the centres that k-means begins with.
    """
    vectors = rows.inputs[:, :DIMENSIONS]
    mean = vectors.mean(axis=0, dtype=np.float64)
    axes = principal(vectors - mean.astype(np.float32))[1][:, :DIRECTIONS].astype(np.float32)
    centre = (mean @ axes).astype(np.float32)
    places = project(rows.inputs, axes, centre)
    count = int(np.clip(len(rows) // ROWS_A_CENTRE, 1, MOST_CENTRES))
    centres, nearest = _k_means(places, count, seed)
    sums, counts = (summed(each, nearest, len(centres)) for each in (rows.weighed, rows.bounded_weights))
    return Neighbours(axes, centre, centres, sums.astype(np.float32), counts.astype(np.float32), SHARPNESS, PRIOR)


def regions_of(rows: Rows, near: Neighbours, seed: int) -> Regions:
    """
    The same texts in a few large parts.

    Args:
        rows: those that `near` was made of.
        near: their neighbours, whose directions are used.
        seed: of the centres that k-means begins with.
    """
    places = near.places(rows.inputs)
    count = int(np.clip(len(rows) // ROWS_A_REGION, 1, MOST_REGIONS))
    centres, nearest = _k_means(places, count, seed)
    sums, weights, counts = (
        summed(each, nearest, len(centres)) for each in (rows.weighed, rows.bounded_weights, rows.weights > 0)
    )
    quality = np.clip(rows.means + sums / (weights + REGION_PRIOR), 0.0, 1.0)
    return Regions(centres, quality.astype(np.float32), counts.astype(np.float32))


def _k_means(places: Floats32, count: int, seed: int) -> tuple[Floats32, Ints]:
    """Lloyd's algorithm from `count` of the rows: the centres that something is nearest to, and each row's."""
    drawn = np.random.default_rng(seed).permutation(len(places))[:count]
    centres = places[drawn]
    for _ in range(_ROUNDS):
        nearest = _nearest(places, centres)
        sizes = np.bincount(nearest, minlength=len(centres))
        kept = sizes > 0
        # By centre, side by side: numpy's own sum at places takes five times as long.
        order, firsts = np.argsort(nearest, kind="stable"), (np.cumsum(sizes) - sizes)[kept]
        sums: Floats = np.add.reduceat(places[order], firsts, axis=0, dtype=np.float64)
        centres = (sums / sizes[kept, np.newaxis]).astype(np.float32)
    nearest = _nearest(places, centres)
    used, numbers = np.unique(nearest, return_inverse=True)
    return centres[used], numbers


def _nearest(places: Floats32, centres: Floats32) -> Ints:
    half = 0.5 * (centres**2).sum(axis=1)
    pieces = [places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE)]
    return np.concatenate([(piece @ centres.T - half).argmax(axis=1) for piece in pieces])
