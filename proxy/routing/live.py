"""What a learned route weighs besides the request and the policy: drawn, measured and learned while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.routing.arrays import Floats32


@dataclass(frozen=True, slots=True)
class Live:
    """One moment, for one request; plain values, so that a decision stays a function of what it is given."""

    draw: float | None = None
    """From 0 up to 1, by which exploring is decided; None explores nothing."""
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    """By model, to its first content; those that are not known are left out."""
    corrections: Floats32 | None = None
    """(regions, models) of the policy: what feedback adds to its predictions; None adds nothing."""


NOTHING_LIVE = Live()


def explored(draw: float, share: float, count: int) -> int | None:
    """
    The place of the candidate to try out of curiosity; None for the best one, as usual.

    With the chance `share` one of all candidates is taken, each as likely, the best one among them.

    Args:
        draw: evenly distributed, from 0 up to 1.
        share: of requests to explore with, 0 to 1.
        count: of candidates, at least 1.
    """
    return None if draw >= share else min(int(draw / share * count), count - 1)


def propensity(place: int, share: float, count: int) -> float:
    """
    The chance with which `explored` leads to a candidate.

    Args:
        place: of the candidate, 0 is the best one.
        share: of requests to explore with.
        count: of candidates.
    """
    return share / count + (1.0 - share if place == 0 else 0.0)
