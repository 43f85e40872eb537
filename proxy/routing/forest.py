"""
A forest of regression trees, as arrays that numpy walks: all trees go down one step at a time together.

Pure; `proxy.learning.grow` has the growing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proxy.routing.arrays import Floats32, Ints

BEYOND = 1e18
"""A limit that nothing exceeds: a leaf's."""
MOST_DEPTH = 64
"""Steps from a root to a leaf in a forest that is used; a training makes fewer."""
_AT_ONCE = 1024
"""Requests that walk down together."""


@dataclass(frozen=True)
class Forest:
    """
    Trees that each ask one number after the other, until a leaf says what the models did on texts that end there.

    A node comes after its parent. In one without trees nothing is above the mean.
    """

    roots: Ints
    """(trees,): a node each."""
    asks: Ints
    """(nodes,): which number it asks."""
    limits: Floats32
    """(nodes,): up to that the left child is next, beyond it the right one."""
    firsts: Ints
    """(nodes,): the left child, after which comes the right one; a leaf's is itself, and its limit `BEYOND`."""
    values: Floats32
    """(nodes, models): a leaf's are what the models' scores are above their means."""

    def excess(self, numbers: Floats32) -> Floats32:
        """
        What the models' scores are above their means, by all trees together.

        Args:
            numbers: (requests, numbers); where one of them is not known, nothing is above the mean.

        Returns:
            (requests, models).
        """
        result = np.zeros((len(numbers), self.values.shape[1]), dtype=np.float32)
        if not len(self.roots):
            return result
        known: Ints = np.flatnonzero(np.isfinite(numbers).all(axis=1))
        for start in range(0, len(known), _AT_ONCE):
            which = known[start : start + _AT_ONCE]
            asked = numbers[which]
            at = np.broadcast_to(self.roots, (len(which), len(self.roots)))
            rows = np.arange(len(which))[:, np.newaxis]
            for _ in range(self.depth):
                at = self.firsts[at] + (asked[rows, self.asks[at]] > self.limits[at])
            result[which] = self.values[at].mean(axis=1)
        return result

    def excess_at(self, numbers: Floats32) -> Floats32:
        """(models,): the same for one request, whose (numbers,) are all known."""
        if not len(self.roots):
            return np.zeros(self.values.shape[1], dtype=np.float32)
        at, firsts, asks, limits = self.roots, self.firsts, self.asks, self.limits
        for _ in range(self.depth):
            at = firsts.take(at) + (numbers.take(asks.take(at)) > limits.take(at))
        result: Floats32 = self.values.take(at, axis=0).mean(axis=0)
        return result

    def is_sound(self, numbers: int) -> bool:
        """Whether every step leads further down, to a node that there is, and asks one of so many numbers."""
        nodes = len(self.asks)
        here = np.arange(nodes)
        is_leaf = self.firsts == here
        leads_down = (self.firsts > here) & (self.firsts + 1 < nodes)
        return bool(
            np.where(is_leaf, self.limits == np.float32(BEYOND), leads_down).all()
            and ((self.asks >= 0) & (self.asks < numbers)).all()
            and ((self.roots >= 0) & (self.roots < nodes)).all()
            and self.depth <= MOST_DEPTH
        )

    @cached_property
    def depth(self) -> int:
        """The most steps from a root to a leaf."""
        at, steps = self.roots, 0
        while len(at := at[self.firsts[at] > at]) and steps <= MOST_DEPTH:
            at = np.unique(np.concatenate([self.firsts[at], self.firsts[at] + 1]))
            steps += 1
        return steps


def bare(models: int) -> Forest:
    """A forest without a tree."""
    none = np.empty(0, dtype=np.int64)
    return Forest(none, none, none.astype(np.float32), none, np.empty((0, models), dtype=np.float32))
