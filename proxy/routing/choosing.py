"""What the policy makes of one request: the model that it takes, and the chance with which it takes each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from proxy.config import Learned
from proxy.routing.decision import Reason
from proxy.routing.facts import Facts
from proxy.routing.live import Live, explored, propensity
from proxy.routing.policy import Choice, Policy
from proxy.routing.preference import asked_preference, prefer_of
from proxy.routing.signals import Signals


class Drawn(NamedTuple):
    """One of the models that are left to the policy."""

    model: str
    reason: Reason
    chances: Mapping[str, float]
    """By model, all together 1; those that cannot be taken are left out."""
    choice: Choice = Choice((), None)
    """What the policy said; nothing where it was not asked."""
    prefer: float | None = None
    """What it was asked to prefer."""


def draw(
    policy: Policy | None,
    use: Learned,
    able: Sequence[str],
    reason: Reason,
    facts: Facts,
    signals: Signals,
    live: Live,
) -> Drawn | None:
    """
    One of several models; None when that depends on the text and `signals` do not have it yet.

    Args:
        policy: knows all of them; without one the first that can serve is taken.
        use: says which there are, and how to choose.
        able: those that can serve the request, in the same order; none of them if it is empty.
        reason: where the policy is not asked.
        facts: of the request.
        signals: what is known of its text.
        live: what else is weighed.
    """
    if policy is None or not able:
        first = able[0] if able else use.learned[0]
        return Drawn(first, reason, {first: 1.0})
    if len(able) > 1 and signals.vector is None and signals.missing is None:
        return None
    asked = asked_preference(facts.headers)
    prefer = prefer_of(use.prefer) if asked is None else asked
    waits = {name: use.latency * seconds for name, seconds in live.latencies_s.items()} if use.latency else None
    choice = policy.choose(able, prefer, signals.vector, facts.tokens, waits, live.corrections)
    ranked, place, share = [candidate.model for candidate in choice.candidates], 0, 0.0
    if use.explore and live.draw is not None and signals.vector is not None:
        share = use.explore
        place = explored(live.draw, share, len(able)) or 0
    chances = {name: propensity(at, share, len(able)) for at, name in enumerate(ranked)} if share else {ranked[0]: 1.0}
    return Drawn(ranked[place], "overload" if signals.is_overload else "learned", chances, choice, prefer)
