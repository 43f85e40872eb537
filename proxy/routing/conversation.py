"""
When a conversation keeps its model, although this turn by itself would go to another.

A provider keeps the beginning of a conversation warm in its prompt cache, and a model that takes over in the middle
of a chain of tool calls has not seen what led there. So a turn that only its text or its size would move goes on where
the conversation is. What the client or the operator insists on always wins: a model by name, a refusal, and a rule on
the caller, a header, or what the request brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from proxy.config import Config, Route, learned_of
from proxy.routing.conditions import walk


class Held(NamedTuple):
    """Where a conversation is."""

    route: str
    model: str
    target: str | None = None
    """By its label: the one that keeps what came before, where that is kept upstream; any of the model's when None."""
    key_hash: bytes | None = None
    """Of the target's key whose account that is; None where any will do."""
    arm: str | None = None
    """Of the route's experiment, if it is one."""
    chances: Mapping[str, float] | None = None
    """Of the draw that put it there, by model; None where nothing was drawn."""


def is_firm(route: Route) -> bool:
    """
    Whether a route stands against a conversation's model where its text need not be looked at.

    One that asks about anything but the request's text as a whole and its size does, however deep that stands, unless a
    policy chooses in it; and a block always.
    """
    if route.block is not None:
        return True
    return learned_of(route.use) is None and any(
        asked is not None
        for part in walk(route.when)
        for asked in (part.model, part.header, part.text, part.has, part.metadata, part.user)
    )


def ranks(config: Config) -> dict[str, float]:
    """
    How strong each model is taken to be, for `switch: upgrade`.

    By price, input and output together, if every model has one; else by their order in routes.yaml, later is stronger.
    """
    prices = {name: model.price for name, model in config.models.items()}
    known = {name: price.input + price.output for name, price in prices.items() if price is not None}
    return known if len(known) == len(prices) else {name: float(place) for place, name in enumerate(prices)}
