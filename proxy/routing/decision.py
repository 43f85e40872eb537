"""What was decided for one request, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Reason = Literal["rule", "topic", "pinned", "default", "overload"]
"""
Why this model: a route whose conditions need no embedding (`rule`), a route on a topic (`topic`), the client
named it (`pinned`), no route applied (`default`), no route applied and the text could not be looked at
(`overload`).
"""
REASONS: tuple[Reason, ...] = get_args(Reason)

DEFAULT_ROUTE = "default"
PINNED_ROUTE = "pinned"


@dataclass(frozen=True, slots=True)
class Decision:
    """The route and the model for one request."""

    route: str
    """The route's name; `default` when none applied, `pinned` when the client named the model itself."""
    model: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One route as it was looked at for an explanation."""

    route: str
    matched: bool
    why: str
    """In words: why it applied or did not."""
