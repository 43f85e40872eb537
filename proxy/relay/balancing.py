"""Which of several targets a request goes to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from typing import Literal

from proxy.relay.upstreams import Target

# Less to do by less than this is chance; then the weights alone decide.
_CLEARLY_LESS = 1.25
# By so much fewer are under way elsewhere that what a conversation has said may be read again, without a cache.
_FAR_FEWER = 3


def pick(
    targets: Sequence[Target], tried: Collection[str], random_source: random.Random, conversation: bytes | None = None
) -> Target | None:
    """
    One that a request may go to; None when none is left.

    Of two random ones, by weight, the one with less to do (Mitzenmacher, The power of two choices, 2001). Both may
    be the same, so that a slow one is asked now and then and can show that it has recovered. In a conversation the
    first of the two is where its other turns go, unless far more is under way there.

    Args:
        targets: to choose from.
        tried: labels that are left out.
        random_source: draws the two.
        conversation: names the one that this goes on with; None where nobody has answered yet.
    """
    able = [
        target for target in targets if target.label not in tried and target.health.is_available and not target.is_full
    ]
    if len(able) <= 1:
        return able[0] if able else None
    weights = [target.weight * target.health.share() for target in able]
    one, other = random_source.choices(able, weights, k=2)
    if conversation is None:
        return other if _load(other, one) * _CLEARLY_LESS < _load(one, other) else one
    home = _home(able, weights, conversation)
    # Not by the latency, which where little is asked is that of the last answer: a long one would move the next turn.
    return other if (other.health.in_flight + 1) * _FAR_FEWER <= home.health.in_flight else home


def _home(targets: Sequence[Target], weights: Sequence[float], conversation: bytes) -> Target:
    """
    Where the turns of a conversation go, by weight; nothing is remembered, so replicas and restarts agree.

    Weighted rendezvous hashing (Thaler and Ravishankar, 1998; Schindelhauer and Schomaker, Weighted distributed hash
    tables, 2005): where a target comes or goes, only conversations of its own share move.
    """

    def distance(place: int) -> float:
        digest = blake2b(conversation + targets[place].header_label, digest_size=8).digest()
        return -math.log((int.from_bytes(digest) + 0.5) / 2**64) / weights[place]

    return targets[min(range(len(targets)), key=distance)]


def soonest(targets: Sequence[Target], rest_s: Callable[[Target], float]) -> Target | None:
    """
    Of targets that all rest, the one that ends first; None when all have as many requests as they may have.

    Args:
        targets: to choose from.
        rest_s: the seconds that one rests.
    """
    able = [target for target in targets if not target.is_full]
    return min(able, key=rest_s) if able else None


def why_not(targets: Sequence[Target]) -> Literal["resting", "full"]:
    """Why none of them can be picked."""
    return "full" if all(target.is_full for target in targets) else "resting"


def _load(target: Target, beside: Target) -> float:
    """What one more request would meet; a target of which nothing is known is taken to be as fast as the other."""
    return target.health.load(beside.health.latency_s or 1.0)
