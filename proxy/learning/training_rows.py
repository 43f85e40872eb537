"""Rated requests as arrays: what every step of the training takes and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxy.embedding import Vectors
from proxy.routing.arrays import Bools, Floats, Floats32, Ints

MOST_WEIGHT = 50.0
"""That one rating has in a fit."""
LEAST_CHANCE = 1e-4
"""Of a model that was drawn: below that its rating counts no more."""
LARGEST_BLOCK = 0.1
"""Of all rows, the most that are held together since they share texts."""


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
    """(rows,): what `keys_of` says of their texts, by which a policy knows which it has seen."""
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

        An interval counts them as one.
        """
        return self.texts if self.conversations is None else self.conversations

    @cached_property
    def held_together(self) -> Ints:
        """(rows,): the same for rows that never stand on both sides of a hold-out."""
        return self.texts if self.conversations is None else blocks_of(self.conversations, self.texts)

    def unseen(self, seen: Ints) -> Ints:
        """The places of those whose text is none of these hashes."""
        return np.flatnonzero(~np.isin(self.texts, seen))

    @cached_property
    def means(self) -> Floats:
        """(models,): each model's mean score; 0 for one that was never rated."""
        total = self.weights.sum(axis=0)
        result: Floats = (np.nan_to_num(self.scores) * self.weights).sum(axis=0) / np.maximum(total, 1e-9)
        return result

    @cached_property
    def bounded_weights(self) -> Floats:
        """
        (rows, models): the same for what is fitted, where few rows of a great weight would be all that is heard.

        Means are not fitted, and take the weights as they are: a model that was drawn for one text in a hundred would
        else look as good as it is on those texts that it got without a draw.
        """
        result: Floats = np.minimum(self.weights, MOST_WEIGHT)
        return result

    @property
    def weighed(self) -> Floats:
        """(rows, models): what a score is above the model's mean, as it counts in a fit; 0 without one."""
        return np.where(self.weights > 0, np.nan_to_num(self.scores) - self.means, 0.0) * self.bounded_weights

    @property
    def inverse_chances(self) -> Floats:
        """
        (rows, models): one over the chance of a rating's being there; 0 where there is none.

        By its propensity where that was told, else by how many of the rows without one have it.
        """
        rated = self.weights > 0
        is_told = (self.weights > 1.0).any(axis=1, keepdims=True)
        shares = (rated & ~is_told).sum(axis=0) / max(int((~is_told).sum()), 1)
        return np.where(is_told, self.weights, np.where(rated, 1.0 / np.maximum(shares, 1e-9), 0.0))

    @property
    def has_costs(self) -> bool:
        """Whether every model's cost is known of some rows."""
        return bool(np.isfinite(self.costs).any(axis=0).all())

    @cached_property
    def mean_costs(self) -> Floats:
        """
        (models,), USD; NaN for all where not every model's is known.

        Where only a model that was drawn has a cost, that counts as its rating does: else a model would look as dear as
        the texts that it gets. Where others have one too, it does not hang on the draw.
        """
        if not self.has_costs:
            return np.full(len(self.models), np.nan)
        is_known = np.isfinite(self.costs)
        is_by_draw = ~(is_known & (self.weights == 0)).any(axis=1, keepdims=True)
        weights = is_known * np.where(is_by_draw, self.weights, 1.0)
        result: Floats = (np.nan_to_num(self.costs) * weights).sum(axis=0) / weights.sum(axis=0)
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


def numbered(names: Iterable[Hashable]) -> Ints:
    """(names,): a number for each from 0 on, the same for the same."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def summed(values: NDArray[Any], places: Ints, count: int) -> Floats:
    """(count, models): the sums of (rows, models) that have the same of (rows,) places, 0 to `count` - 1."""
    found = np.zeros((count, values.shape[1]))
    np.add.at(found, places, values)
    return found


def keys_of(vectors: Vectors) -> Ints:
    """
    (rows,): the same for texts that the embedding model cannot tell apart, wherever they come from.

    Of vectors as the store keeps them, so that what was decided in a server is known again in a file.
    """
    hashes = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in vectors.astype(np.float16))
    return np.array([int.from_bytes(each, "big", signed=True) for each in hashes], dtype=np.int64)


def blocks_of(conversations: Ints, texts: Ints) -> Ints:
    """
    (rows,): the same for those of one conversation, and for those of one text as far as that can be.

    What is said again in another conversation joins the two. The rarest texts do so first, and none that would join
    more than `LARGEST_BLOCK` of the rows: what everybody says would make one of all conversations, and no hold-out.
    """
    _, conversations, sizes = np.unique(conversations, return_inverse=True, return_counts=True)
    _, texts = np.unique(texts, return_inverse=True)
    parents, most = list(range(len(sizes))), LARGEST_BLOCK * len(conversations)
    weights = sizes.tolist()

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    said_in: list[list[int]] = [[] for _ in range(int(texts.max(initial=-1)) + 1)]
    for text, conversation in np.unique(np.stack([texts, conversations]), axis=1).T.tolist():
        said_in[text].append(conversation)
    for among in sorted(said_in, key=len):
        roots = {root(conversation) for conversation in among}
        total = sum(weights[one] for one in roots)
        if len(roots) > 1 and total <= most:
            first = min(roots)
            weights[first] = total
            for one in roots:
                parents[one] = first
    return np.array([root(place) for place in range(len(parents))], dtype=np.int64)[conversations]


def folds_of(groups: Ints, count: int, seed: int) -> Ints:
    """(rows,), 0 to `count` - 1: equal groups in equal folds, the groups spread evenly by chance."""
    names, places = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(names)) % count
    result: Ints = drawn[places]
    return result
