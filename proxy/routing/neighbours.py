"""The condensed neighbours of a policy's training texts, and where among them a text is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proxy.routing.arrays import Floats32

_AT_ONCE = 4096
"""Texts whose closeness to every centre is in memory."""


@dataclass(frozen=True)
class Neighbours:
    """The condensed neighbours of the training texts."""

    axes: Floats32
    """(768, directions)."""
    centre: Floats32
    """(directions,), taken off along them."""
    centres: Floats32
    """(centres, directions)."""
    sums: Floats32
    """(centres, models): of what the scores of the texts that a centre stands for are above the model's mean."""
    counts: Floats32
    """(centres, models): of those scores; with weights, the sum of the weights."""
    sharpness: tuple[float, ...]
    """
    Neighbourhoods: in each a centre counts by exp(sharpness x how much less close it is than the closest one).

    Nadaraya, On estimating regression, 1964.
    """
    prior: float
    """So many texts' worth of the model's mean stands in every neighbourhood, for where data is thin."""

    def places(self, inputs: Floats32) -> Floats32:
        """(texts, directions), of length 1: where texts are among each other, whatever they all have in common."""
        return project(inputs, self.axes, self.centre)

    def excess(self, places: Floats32) -> list[Floats32]:
        """For each neighbourhood, (requests, models): the models' mean scores in it, less those over all texts."""
        pieces = []
        for start in range(0, max(len(places), 1), _AT_ONCE):
            closeness = places[start : start + _AT_ONCE] @ self.centres.T
            closeness -= self.half_squares
            closeness -= closeness.max(axis=1, keepdims=True)
            pieces.append([self._around(np.exp(sharpness * closeness)) for sharpness in self.sharpness])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def excess_at(self, place: Floats32) -> Floats32:
        """(neighbourhoods, models): the same for one request, at (directions,) of length 1."""
        closeness = self.centres @ place
        closeness -= self.half_squares
        closeness -= closeness.max()
        return self._around(np.exp(self._sharpness * closeness))

    def _around(self, shares: Floats32) -> Floats32:
        found = shares @ self._table
        count = self.sums.shape[1]
        result: Floats32 = found[:, :count] / (found[:, count:] + self.prior)
        return result

    @cached_property
    def _sharpness(self) -> Floats32:
        return np.array(self.sharpness, dtype=np.float32)[:, np.newaxis]

    @cached_property
    def _table(self) -> Floats32:
        """(centres, 2 models): sums and counts side by side."""
        return np.ascontiguousarray(np.hstack([self.sums, self.counts]), dtype=np.float32)

    @cached_property
    def half_squares(self) -> Floats32:
        """(centres,): what makes the nearest of the products."""
        result: Floats32 = 0.5 * (self.centres**2).sum(axis=1)
        return result


def project(inputs: Floats32, axes: Floats32, centre: Floats32) -> Floats32:
    """(texts, directions), of length 1: where texts are among each other, whatever they all have in common."""
    places: Floats32 = inputs[:, : len(axes)] @ axes - centre
    places /= np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-9)
    return places
