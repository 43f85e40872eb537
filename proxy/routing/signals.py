"""What is computed of a request's text, once and only if a rule asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from proxy.embedding import Vector
from proxy.routing.complexity import Complexity
from proxy.routing.topics import Topics, TopicScores


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What was computed of the text so far; a signal that nobody asked for is not there."""

    topics: TopicScores | None = None
    """None as long as the text was not embedded, and where routes.yaml has no topics."""
    complexity: float | None = None
    """0 to 1; None as long as the text was not embedded."""
    missing: str | None = None
    """In words: why the text will not be embedded. None when it has been, or was not tried."""
    is_overload: bool = False
    """Whether the embedder is why."""
    vector: Vector | None = field(default=None, repr=False)
    """What all of these are computed from, and the policy decides by; None as long as the text was not embedded."""

    @property
    def is_final(self) -> bool:
        """Whether everything that can be known of the text is here."""
        return self.complexity is not None or self.topics is not None or self.missing is not None

    @classmethod
    def of(cls, vector: Vector, topics: Topics | None, complexity: Complexity) -> Self:
        """What a text's vector says."""
        return cls(None if topics is None else topics.scores(vector), complexity.score(vector), vector=vector)
