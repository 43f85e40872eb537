"""What the policy makes of one request: the model that it takes, and the chance with which it takes each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from proxy.config import Learned, Text
from proxy.routing.decision import Reason
from proxy.routing.facts import Facts
from proxy.routing.live import Live, explored, propensity
from proxy.routing.policy import Choice, Policy
from proxy.routing.preference import asked_preference, prefer_of
from proxy.routing.shape import UNKNOWN
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
    text: Text,
    signals: Signals,
    live: Live,
) -> Drawn | None:
    """
    One of several models; None when that depends on the text and `signals` do not have it yet.

    Args:
        policy: knows all of them; without one the first that can serve is the one that exploring leaves.
        use: says which there are, and how to choose.
        able: those that can serve the request, in the same order; none of them if it is empty.
        reason: where the policy is not asked.
        facts: of the request.
        text: what of it is its text.
        signals: what is known of that.
        live: what else is weighed.
    """
    if not able:
        return Drawn(use.learned[0], reason, {use.learned[0]: 1.0})
    drawn = live.draw if use.explore else None
    may_look = signals.vector is None and signals.missing is None
    if may_look and len(able) > 1 and (policy is not None or drawn is not None):
        return None
    ranked, choice, prefer = list(able), Choice((), None), None
    if policy is not None:
        asked = asked_preference(facts.headers)
        prefer = prefer_of(use.prefer) if asked is None else asked
        waits = {name: use.latency * seconds for name, seconds in live.latencies_s.items()} if use.latency else None
        tokens, shape = math.nan, UNKNOWN
        if signals.vector is not None:
            # Of the text alone: a system prompt, earlier turns and tools make every model dearer, and steer nothing.
            tokens, shape = facts.text_tokens(text), facts.shape(text)
        choice = policy.choose(able, prefer, signals.vector, tokens, waits, live.corrections, shape)
        ranked = [candidate.model for candidate in choice.candidates]
        reason = "overload" if signals.is_overload else "learned"
    if drawn is None or signals.vector is None:  # of a text that is not known nothing is learned
        return Drawn(ranked[0], reason, {ranked[0]: 1.0}, choice, prefer)
    chances = {name: propensity(at, use.explore, len(able)) for at, name in enumerate(ranked)}
    return Drawn(ranked[explored(drawn, use.explore, len(able)) or 0], reason, chances, choice, prefer)
