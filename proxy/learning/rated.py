"""Rated requests as arrays: what every step of the training takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxy.routing.arrays import Floats32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Requests and how the models did on them; not every model need be rated on every one."""

    models: tuple[str, ...]
    inputs: Floats32
    """(rows, 810), see `inputs_of`."""
    scores: Floats
    """(rows, models), 0 to 1; NaN where that model was not rated."""
    costs: Floats
    """(rows, models), USD, above 0; NaN where it is not known."""
    weights: Floats
    """(rows, models): what a rating counts; one over the propensity of a model that was drawn, 0 without a rating."""
    texts: Ints
    """(rows,): a hash of the text, by which a policy knows which it has seen."""
    conversations: Ints | None = None
    """(rows,): the same for those of one conversation; None where there are none."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, which: NDArray[Any]) -> Rows:
        """Some of the rows."""
        return replace(
            self,
            inputs=self.inputs[which],
            scores=self.scores[which],
            costs=self.costs[which],
            weights=self.weights[which],
            texts=self.texts[which],
            conversations=None if self.conversations is None else self.conversations[which],
        )

    @property
    def groups(self) -> Ints:
        """
        (rows,): the same for rows that are no independent witnesses: those of one conversation, else those of one text.

        They never stand on both sides of a hold-out, and an interval counts them as one. What is said again in another
        conversation is another witness, and as good as known when it comes.
        """
        return self.texts if self.conversations is None else self.conversations

    @cached_property
    def means(self) -> Floats:
        """(models,): each model's mean score; 0 for one that was never rated."""
        total = self.weights.sum(axis=0)
        result: Floats = (np.nan_to_num(self.scores) * self.weights).sum(axis=0) / np.maximum(total, 1e-9)
        return result

    @property
    def has_costs(self) -> bool:
        """Whether every model's cost is known of some rows."""
        return bool(np.isfinite(self.costs).any(axis=0).all())

    @cached_property
    def mean_costs(self) -> Floats:
        """(models,), USD; NaN for all where not every model's is known."""
        if not self.has_costs:
            return np.full(len(self.models), np.nan)
        result: Floats = np.nanmean(self.costs, axis=0)
        return result

    @cached_property
    def is_complete(self) -> Bools:
        """(rows,): where every model was rated."""
        result: Bools = np.asarray(np.isfinite(self.scores).all(axis=1))
        return result

    @property
    def single(self) -> int:
        """The place of the best single model."""
        return int(self.means.argmax())

    @property
    def cheapest(self) -> int:
        """The place of the cheapest model; without costs the worst one's, which is all there is to come from."""
        return int(self.mean_costs.argmin()) if self.has_costs else int(self.means.argmin())


def folds_of(groups: Ints, count: int, seed: int) -> Ints:
    """(rows,), 0 to `count` - 1: equal groups in equal folds, the groups spread evenly by chance."""
    names, places = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(names)) % count
    result: Ints = drawn[places]
    return result
