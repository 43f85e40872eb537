"""The topics as a map: all examples in two dimensions, and where a text would stand among them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proxy.embedding import Vector, Vectors
from proxy.routing.arrays import Floats


@dataclass(frozen=True)
class TopicMap:
    """A linear projection, so a new text moves nothing that is there; the same examples always give the same one."""

    centre: Vector
    """(768,), what stands at the origin."""
    axes: Vectors
    """(768, 2), orthonormal columns."""

    @cached_property
    def revision(self) -> str:
        """Another one for other examples: places of two maps mean nothing to one another."""
        return hashlib.sha256(self.centre.tobytes() + self.axes.tobytes()).hexdigest()[:12]

    def place(self, vectors: Vectors) -> Floats:
        """Where (texts, 768) vectors stand: (texts, 2)."""
        return np.asarray((vectors - self.centre) @ self.axes, dtype=np.float64)


def draw_map(examples: Sequence[Vectors]) -> TopicMap:
    """
    The plane in which the topics stand furthest apart: principal components of their means, weighted by their examples.

    Of the means and not of the examples, since what examples of one topic differ in is not what topics are told by. A
    discriminant analysis, which also divides by that difference, was tried: with few examples for so many dimensions it
    shows them further apart than it places texts that it has not seen. Where topics are too few to span a plane, the
    examples' own components fill it up.

    Args:
        examples: for each topic its vectors, (examples, 768); at least one topic, and at least one example each.
    """
    counts = np.array([len(rows) for rows in examples], dtype=np.float64)
    means = np.stack([rows.mean(axis=0, dtype=np.float64) for rows in examples])
    centre = counts @ means / counts.sum()
    axes = _components((means - centre) * np.sqrt(counts)[:, np.newaxis])
    if len(axes) < 2:
        rows = np.concatenate(examples) - centre
        axes = np.concatenate([axes, _components(rows - rows @ axes.T @ axes)])
    filled = np.zeros((2, len(centre)))
    filled[: min(len(axes), 2)] = axes[:2]
    return TopicMap(centre.astype(np.float32), np.ascontiguousarray(filled.T, dtype=np.float32))


def _components(rows: Floats) -> Floats:
    """At most two principal axes of rows about their origin, (0 to 2, 768), of which the largest number is positive."""
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    axes = axes[:2][sizes[:2] > 1e-6]
    largest = np.abs(axes).argmax(axis=1)[:, np.newaxis]
    return np.asarray(axes * np.sign(np.take_along_axis(axes, largest, axis=1)), dtype=np.float64)
