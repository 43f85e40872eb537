"""A linear probe: multinomial logistic regression over unit vectors, fitted by L-BFGS in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxy.routing.arrays import Floats, Ints

# Measured on few-shot intent data: accuracy is flat from 20 to 100, and falls on both sides.
INVERSE_REGULARISATION = 50.0
_MEMORY = 8
_ITERATIONS = 100
# Relative, of one step. Measured on few-shot intent data: from 1e-6 to 1e-4 accuracy is the same within 0.1.
_LEAST_GAIN = 1e-5
_IDLE_STEPS = 2
_SMALLEST_STEP = 1e-8
# From this many logits on a fit takes seconds. float32 halves them, and tells the same texts apart.
_MANY_LOGITS = 500_000


@dataclass(frozen=True, slots=True)
class Probe:
    """Class weights over centred vectors."""

    centre: Floats
    """(dimensions,): the mean of what it was fitted on."""
    weights: Floats
    """(dimensions, classes)."""
    bias: Floats
    """(classes,)."""

    def logits(self, vectors: Floats) -> Floats:
        """(rows, dimensions) to (rows, classes): log-probabilities but for a constant of each row."""
        result: Floats = (vectors - self.centre) @ self.weights + self.bias
        return result


def fit_probe(vectors: Floats, labels: Ints, classes: int) -> Probe:
    """
    Fit a probe.

    Args:
        vectors: (rows, dimensions), of length 1 each.
        labels: (rows,), from 0 to `classes` - 1; a class without a row gets a low probability everywhere.
        classes: how many.
    """
    centre = vectors.mean(axis=0)
    precision: type[np.floating[Any]] = np.float32 if len(vectors) * classes > _MANY_LOGITS else np.float64
    # The bias is a weight on a constant input, and the only one that is not held small.
    inputs = np.hstack([vectors - centre, np.ones((len(vectors), 1))]).astype(precision)
    penalty = np.full((inputs.shape[1], 1), 1.0 / INVERSE_REGULARISATION, dtype=precision)
    penalty[-1] = 1e-6
    own = (np.arange(len(labels)), labels)

    def loss(weights: Any) -> tuple[float, Any]:
        # In place: with a thousand classes, each copy of the logits would be a hundred megabytes.
        p = inputs @ weights
        p -= p.max(axis=1, keepdims=True)
        value = -float(p[own].sum(dtype=np.float64))
        np.exp(p, out=p)
        sums = p.sum(axis=1, keepdims=True)
        value += float(np.log(sums).sum(dtype=np.float64))
        value += 0.5 * float((penalty * weights * weights).sum(dtype=np.float64))
        p /= sums
        p[own] -= 1.0
        return value, inputs.T @ p + penalty * weights

    weights = _minimise(loss, np.zeros((inputs.shape[1], classes), dtype=precision)).astype(np.float64)
    return Probe(centre=centre, weights=weights[:-1], bias=weights[-1])


def _minimise(loss: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    """
    The minimum of a smooth convex function by L-BFGS with backtracking.

    Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4 and 7.5.
    """
    at = start
    value, gradient = loss(at)
    history: list[tuple[Floats, Floats, float]] = []
    idle = 0
    for iteration in range(_ITERATIONS):
        direction = -_times_inverse_hessian(gradient, history)
        slope = float((gradient * direction).sum())
        if slope > -1e-9:
            break
        step = 1.0
        while True:
            new = at + step * direction
            new_value, new_gradient = loss(new)
            if new_value <= value + 1e-4 * step * slope or step < _SMALLEST_STEP:
                break
            step /= 2
        moved, turned = new - at, new_gradient - gradient
        curvature = float((moved * turned).sum())
        if curvature > 1e-12:
            history = [*history[-(_MEMORY - 1) :], (moved, turned, curvature)]
        gained = value - new_value
        at, value, gradient = new, new_value, new_gradient
        # The first step is short, as nothing is known of the curvature yet: that it gains little says nothing. Nor does
        # one such step later on, where the history was no good guide: the next one has learned from it.
        idle = idle + 1 if iteration > 0 and gained < _LEAST_GAIN * max(1.0, abs(value)) else 0
        if idle == _IDLE_STEPS:
            break
    return at


def _times_inverse_hessian(gradient: Floats, history: list[tuple[Floats, Floats, float]]) -> Floats:
    result = gradient.copy()
    if not history:
        return result / max(1.0, float(np.abs(gradient).sum()))
    shares: list[float] = []
    for moved, turned, curvature in reversed(history):
        share = float((moved * result).sum()) / curvature
        result -= share * turned
        shares.append(share)
    _, turned, curvature = history[-1]
    result *= curvature / float((turned * turned).sum())
    for (moved, turned, curvature), share in zip(history, reversed(shares), strict=True):
        result += (share - float((turned * result).sum()) / curvature) * moved
    return result
