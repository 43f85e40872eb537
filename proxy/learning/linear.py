"""Ridge regressions, all strengths from one decomposition; and non-negative least squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxy.routing.arrays import Floats, Floats32, Ints

STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0)
"""On rows of length about 1; a strength counts like so many rows that say nothing."""
MOST_FILLED = 0.02
"""Of a target's values: with so few missing, its mean stands in for them, and the decomposition is shared."""
NEXT_TO_NOTHING = 1e-3
"""Of a column's length, beside the longest."""


def fit_ridges(
    inputs: Floats32, targets: Floats, weights: Floats, strengths: Sequence[float] = STRENGTHS
) -> list[Floats]:
    """
    Ridge regressions of several targets on the same inputs.

    Args:
        inputs: (rows, inputs).
        targets: (rows, targets); may be NaN where the weight is 0.
        weights: (rows, targets).
        strengths: of the penalty; the constant is not penalised.

    Returns:
        For each strength (inputs + 1, targets); the last row is the constant.
    """
    known, weights = _filled(np.nan_to_num(targets), weights)
    found = [np.zeros((inputs.shape[1] + 1, targets.shape[1])) for _ in strengths]
    # Targets with the same weights share the decomposition: all of them, where every model is rated on every row.
    patterns: dict[bytes, list[int]] = {}
    for column in range(targets.shape[1]):
        patterns.setdefault(weights[:, column].tobytes(), []).append(column)
    for columns in patterns.values():
        weight = weights[:, columns[0]]
        if not weight.any():
            continue  # never rated: nothing above its mean is known of it
        weight = weight * np.count_nonzero(weight) / weight.sum()
        # What is not rated is left out: of stored decisions, each has a rating of one model only.
        places: Ints = np.flatnonzero(weight)
        weight, rows, its = weight[places], inputs[places], known[places][:, columns]
        total = weight.sum()
        centre = (weight @ rows.astype(np.float64)) / total
        means = weight @ its / total
        root = np.sqrt(weight)[:, np.newaxis]
        # The large products in 32 bits: their error is far below the weakest penalty, and they take half the time.
        centred = (rows - centre.astype(np.float32)) * root.astype(np.float32)
        moment = centred.T @ (root * (its - means)).astype(np.float32)
        values, axes = principal(centred)
        along = axes.T @ moment
        for result, strength in zip(found, strengths, strict=True):
            slopes = axes @ (along / (np.maximum(values, 0.0) + strength)[:, np.newaxis])
            result[:-1, columns] = slopes
            result[-1, columns] = means - centre @ slopes
    return found


def principal(rows: Floats32) -> tuple[Floats, Floats]:
    """The sums of squares of centred rows along their principal directions, and those directions as columns."""
    if len(rows) < rows.shape[1]:
        values, axes = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        real = values > 1e-6 * max(float(values[-1]), 1e-300)
        values, axes = values[real], rows.T @ (axes[:, real] / np.sqrt(values[real]))
    else:
        values, axes = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    return values[::-1], axes[:, ::-1]


def _filled(targets: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The targets with the few that are missing at their means, and all weights 1; others as they are."""
    known = weights > 0
    missing = 1.0 - known.mean(axis=0)
    nearly = (missing > 0) & (missing <= MOST_FILLED) & (np.where(known, weights, 1.0) == 1.0).all(axis=0)
    if not nearly.any():
        return targets, weights
    means = (targets * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(nearly & ~known, means, targets), np.where(nearly, 1.0, weights)


def apply(linear: Floats, inputs: Floats32) -> Floats:
    """(rows, targets) of a regression that `fit_ridges` made."""
    result: Floats = inputs.astype(np.float64) @ linear[:-1] + linear[-1]
    return result


def non_negative(columns: Floats, target: Floats) -> Floats:
    """
    The weights of 0 or more with which `columns` add up to `target` best.

    Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23, on the normal equations. A column that is next
    to nothing beside the longest gets none: such a one is rounding, which a weight of millions would fit to anything.

    Args:
        columns: (rows, columns).
        target: (rows,).
    """
    gram, moment = columns.T @ columns, columns.T @ target
    count = len(moment)
    weights = np.zeros(count)
    used = np.zeros(count, dtype=np.bool_)
    squares = np.diagonal(gram)
    is_nothing = squares <= NEXT_TO_NOTHING**2 * squares.max(initial=0.0)
    tolerance = 1e-10 * max(1.0, float(np.abs(moment).max(initial=0.0)))
    for _ in range(10 * count):
        slope = np.where(used | is_nothing, -np.inf, moment - gram @ weights)
        if slope.max(initial=-np.inf) <= tolerance:
            break
        used[slope.argmax()] = True
        while used.any():
            places: Ints = np.flatnonzero(used)
            wanted = np.zeros(count)
            wanted[places] = np.linalg.lstsq(gram[np.ix_(places, places)], moment[places], rcond=None)[0]
            if (wanted[places] > 0).all():
                weights = wanted
                break
            # As far towards what is wanted as no weight falls below 0; what arrives there is left out again.
            below = places[wanted[places] <= 0]
            step = float((weights[below] / np.maximum(weights[below] - wanted[below], 1e-300)).min())
            weights = weights + step * (wanted - weights)
            used &= weights > 1e-12
            weights[~used] = 0.0
    return weights
