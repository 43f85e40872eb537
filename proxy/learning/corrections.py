"""
What feedback on live decisions adds to a policy's predictions, for each region of texts and each model.

A cell is the mean of how far ratings are above what was predicted. A rating counts half after a half-life; some
ratings' worth of no correction is mixed in, so that a few ratings move little; and the result stays within `most`.
No source may have more than a share of a cell's weight: one that says a thousand times what it thinks has said it,
and is as loud as that share, and not louder. Nor may a conversation, under however many names it is rated; and a
decision counts once.

Pure, and of nothing but what a store holds: all who share the store come to the same corrections without talking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proxy.learning.stored_rows import USER, LiveRating
from proxy.learning.training_rows import numbered
from proxy.routing.arrays import Floats, Floats32, Ints

PRIOR = 10.0
"""So many ratings' worth of no correction stands in each cell."""
SHARE = 0.2
"""Of a cell's whole weight, the prior included, the most that one source can have."""
_SETTLED, _MOST_ROUNDS = 1e-6, 50
"""The two bounds come in turn until they take no more than this of any weight: of made-up floods within 25 rounds."""
HALF_LIVES = 6
"""A rating that is older than so many says a sixty-fourth of what it said, and is left out."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """What feedback adds, and what stands behind it."""

    added: Floats32
    """(regions, models): to the predicted quality."""
    ratings: NDArray[np.int64]
    """(regions, models): how many."""
    weight: NDArray[np.float64]
    """(regions, models): of those, after their age and each source's share; the prior not included."""
    damaged: int = 0
    """How many ratings were left out since they, or their decisions, have values that Pointsman never wrote."""


def no_corrections(shape: tuple[int, ...]) -> Corrections:
    """
    Those without any feedback.

    Args:
        shape: regions, models.
    """
    return Corrections(np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape))


def corrections_of(
    ratings: Iterable[LiveRating],
    *,
    models: Sequence[str],
    regions: int,
    now: float,
    half_life_s: float,
    most: float,
) -> Corrections:
    """
    The corrections of one policy.

    Args:
        ratings: of decisions by this very policy: another one's regions are others.
        models: in the policy's order.
        regions: how many it has.
        now: seconds since 1970.
        half_life_s: after which a rating counts half, in seconds.
        most: that is added or taken off.
    """
    ratings = list(ratings)
    sound = [each for each in ratings if each.is_sound]
    found = replace(no_corrections((regions, len(models))), damaged=len(ratings) - len(sound))
    places, oldest = {name: place for place, name in enumerate(models)}, now - HALF_LIVES * half_life_s
    known = [each for each in sound if each.model in places and 0 <= each.region < regions and each.time >= oldest]
    if not known:
        return found
    # By numbers, so that all else is arrays: there may be tens of thousands of ratings.
    cells = numbered((each.region, places[each.model]) for each in known)
    sources, conversations = numbered(map(_source, known)), numbered(each.conversation for each in known)
    decisions = numbered(each.decision for each in known)
    ages_s = np.maximum(now - np.array([each.time for each in known]), 0.0)
    above = np.array([each.rating - each.predicted for each in known])
    # A decision counts once, under however many names it is rated.
    weight = 0.5 ** (ages_s / half_life_s) / np.bincount(decisions)[decisions]
    for cell in range(int(cells.max()) + 1):
        among = np.flatnonzero(cells == cell)
        kept = _bounded_twice(weight[among], sources[among], conversations[among])
        at = known[among[0]].region, places[known[among[0]].model]
        found.added[at] = np.clip(kept @ above[among] / (PRIOR + kept.sum()), -most, most)
        found.ratings[at] = len(among)
        found.weight[at] = kept.sum()
    return found


def _bounded_twice(weights: Floats, sources: Ints, conversations: Ints) -> Floats:
    """
    The same, no source having more than its share, and no conversation: a name is quickly made up.

    In turn, as what one bound takes makes the whole smaller that the other is a share of; they come closer each time.
    """
    both = [np.unique(names, return_inverse=True)[1] for names in (sources, conversations)]
    for _ in range(_MOST_ROUNDS):
        before = weights
        for places in both:
            sums: Floats = np.bincount(places, weights).astype(np.float64)
            share: Floats = bounded(sums, share=SHARE, prior=PRIOR) / sums
            weights = weights * share[places]
        if (weights >= before * (1.0 - _SETTLED)).all():
            break
    return weights


def bounded(weights: NDArray[np.float64], *, share: float, prior: float) -> NDArray[np.float64]:
    """
    The same weights, cut at the one level at which none is more than its share of the whole.

    Water-filling: the level is `share x (prior + sum of min(weight, level))`. The heaviest are taken for cut, one
    more at a time, until the next one is below the level that follows; they are always fewer than 1 / share.

    Args:
        weights: (sources,), above 0.
        share: of the whole, above 0 and up to 1.
        prior: what is in the whole besides, above 0.
    """
    level, rest = 0.0, prior + float(weights.sum())
    for cut, heaviest in enumerate((*np.sort(weights)[::-1].tolist(), 0.0)):
        level = share * rest / (1.0 - cut * share)
        if heaviest <= level:
            break
        rest -= heaviest
    return np.minimum(weights, level)


def _source(rating: LiveRating) -> tuple[str, bytes]:
    """Who says so. All end users of an app come as `user`: of those each conversation's is one."""
    return rating.source, rating.conversation if rating.source == USER else b""
