"""What was decided for one request, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from proxy.config import Block
from proxy.routing.edits import Edits
from proxy.routing.policy import Candidate

Reason = Literal["rule", "topic", "complexity", "learned", "split", "conversation", "pinned", "default", "overload"]
"""
Why this model: a route whose conditions held without the text being embedded (`rule`), a route that a topic
decided (`topic`) or the text's complexity alone (`complexity`), the policy's choice among a route's models
(`learned`; `overload` where it could not look at the text), a route's share among several models (`split`),
the conversation is on this model and keeps it (`conversation`), the client named it (`pinned`), no route applied
(`default`), no route applied and the text could not be looked at (`overload`).
"""
REASONS: tuple[Reason, ...] = get_args(Reason)

NO_MODEL = "-"
"""What stands for the model where a route blocks; no model can be called this."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model that would have been used and cannot serve this request."""

    model: str
    why: str
    """In words, such as `context: 41,200 tokens needed, 32,768 available`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The route and the model for one request."""

    route: str
    """The route's name; `default` when none applied, `pinned` when the client named the model itself."""
    model: str
    reason: Reason
    block: Block | None = None
    """The refusal to answer with instead of asking a model."""
    edits: tuple[Edits, ...] = ()
    """What is changed in the body, in this order."""
    excluded: tuple[Exclusion, ...] = ()
    """The models before this one that cannot serve the request."""
    fallbacks: tuple[str, ...] = ()
    """The models to try, in this order, when this one fails; `Router.fallbacks` says which of them can serve."""
    target: str | None = None
    """The one target that can answer, by its label; any of the model's when None."""
    key_hash: bytes | None = None
    """Of its key that what came before is kept with; None where any will do."""
    candidates: tuple[Candidate, ...] = ()
    """What the policy thinks of the models it chose from, the best first; empty where it did not choose."""
    region: int | None = None
    """Where the policy sees the request; None where it did not choose, or knows nothing of the text."""
    prefer: float | None = None
    """What the policy was asked to prefer; None where it did not choose."""
    chances: Mapping[str, float] = field(default_factory=dict)
    """By model: how likely each was to be decided on, over all arms; empty where chance had no hand in it."""
    arm: str | None = None
    """Of an experiment: the model that was drawn, or `learned`; None where nothing is compared."""
    is_firm: bool = False
    """Whether it stands whatever model the conversation is on."""

    @property
    def propensity(self) -> float:
        """The chance of this model for this request: below 1 where it was drawn, as in a split or to explore."""
        return self.chance_of(self.model)

    def chance_of(self, model: str) -> float:
        """How likely it was to be decided on this model."""
        return self.chances.get(model, 0.0) if self.chances else float(model == self.model)


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One route as it was looked at for an explanation."""

    route: str
    matched: bool
    why: str
    """In words: why it applied or did not."""
