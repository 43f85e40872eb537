"""A linear probe: multinomial logistic regression over unit vectors, fitted by L-BFGS in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Measured on few-shot intent data: accuracy is flat from 20 to 100, and falls on both sides.
INVERSE_REGULARISATION = 50.0
_MEMORY = 8
_ITERATIONS = 100
_SMALLEST_STEP = 1e-8


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

    def log_probabilities(self, vectors: Floats) -> Floats:
        """(rows, dimensions) to (rows, classes); each row's exponentials sum to 1."""
        return _log_softmax(self.logits(vectors))


def fit_probe(vectors: Floats, labels: Ints, classes: int) -> Probe:
    """
    Fit a probe.

    Args:
        vectors: (rows, dimensions), of length 1 each.
        labels: (rows,), from 0 to `classes` - 1; a class without a row gets a low probability everywhere.
        classes: how many.
    """
    centre = vectors.mean(axis=0)
    # The bias is a weight on a constant input, and the only one that is not held small.
    inputs = np.hstack([vectors - centre, np.ones((len(vectors), 1))])
    wanted = np.zeros((len(vectors), classes))
    wanted[np.arange(len(labels)), labels] = 1.0
    penalty = np.full((inputs.shape[1], 1), 1.0 / INVERSE_REGULARISATION)
    penalty[-1] = 1e-6

    def loss(weights: Floats) -> tuple[float, Floats]:
        log_p = _log_softmax(inputs @ weights)
        value = -float((wanted * log_p).sum()) + 0.5 * float((penalty * weights * weights).sum())
        return value, inputs.T @ (np.exp(log_p) - wanted) + penalty * weights

    weights = _minimise(loss, np.zeros((inputs.shape[1], classes)))
    return Probe(centre=centre, weights=weights[:-1], bias=weights[-1])


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _minimise(loss: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    """
    The minimum of a smooth convex function by L-BFGS with backtracking.

    Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4 and 7.5.
    """
    at = start
    value, gradient = loss(at)
    history: list[tuple[Floats, Floats, float]] = []
    for _ in range(_ITERATIONS):
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
        if gained < 1e-6 * max(1.0, abs(value)):
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
