"""What a policy reads of texts, as arrays: their vectors, how long they are, and their shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxy.embedding import DIMENSIONS, LAST_LAYER, Vectors
from proxy.routing.arrays import Floats32
from proxy.routing.shape import SIZE, UNKNOWN, Shape

LINEAR = DIMENSIONS + 2
"""What the linear maps read: the vector's numbers and two for the text's length."""
INPUTS = LINEAR + SIZE
"""All that is read of a text: the same and its shape."""
HALF = math.sqrt(0.5)
"""The length of each layer's part of the inputs."""
OF_LENGTH = 0.3
"""What a length counts beside the vector, whose own length is 1."""


def length_of(tokens: float) -> float:
    """
    A text's length, about -2.5 to 2.5; 0 where it is not known.

    What is beyond is taken for the edge: nothing was learned of a text of 100,000 tokens.
    """
    return 0.0 if math.isnan(tokens) else min(max((math.log(max(tokens, 1.0)) - 4.6) / 1.5, -2.5), 2.5)


def inputs_of(vectors: Vectors, tokens: NDArray[Any], shapes: Floats32 | Shape = UNKNOWN) -> Floats32:
    """
    What a policy reads of texts.

    Both layers count alike: measured on MMLU, the third tells more of a model's chances than it tells of topics.

    Args:
        vectors: (texts, 768).
        tokens: (texts,), estimated; NaN where that is not known.
        shapes: (texts, 40); NaN where they are not known.

    Returns:
        (texts, 810).
    """
    inputs = np.empty((len(vectors), INPUTS), dtype=np.float32)
    for layer in (slice(0, LAST_LAYER), slice(LAST_LAYER, DIMENSIONS)):
        part = vectors[:, layer]
        inputs[:, layer] = part / (np.sqrt(2.0) * np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9))
    length = np.array([length_of(each) for each in tokens.tolist()])
    inputs[:, DIMENSIONS] = OF_LENGTH * length
    inputs[:, DIMENSIONS + 1] = 0.1 * length**2
    inputs[:, LINEAR:] = shapes
    return inputs


def numbers_of(inputs: Floats32, places: Floats32) -> Floats32:
    """
    What a forest asks: the shape of a text, where it is among others, and its length.

    Args:
        inputs: (texts, 810), see `inputs_of`.
        places: (texts, directions), see `Neighbours.places`.

    Returns:
        (texts, 40 + directions + 1).
    """
    return np.hstack([inputs[:, LINEAR:], places, inputs[:, DIMENSIONS : DIMENSIONS + 1]])
