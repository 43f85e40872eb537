"""The conditions of a route, each a small object that says whether it holds and why."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from proxy.config import When
from proxy.routing.facts import Facts
from proxy.routing.topics import TopicScores


@dataclass(frozen=True, slots=True)
class Signals:
    """What was computed of the text so far; a signal that nobody asked for is not there."""

    topics: TopicScores | None = None
    """None as long as the text was not embedded."""
    missing: str | None = None
    """In words: why `topics` will stay None. None when it has not been tried."""
    is_overload: bool = False
    """Whether the embedder is why."""

    @property
    def is_final(self) -> bool:
        """Whether everything that can be known of the text is here."""
        return self.topics is not None or self.missing is not None


class Condition(Protocol):
    """One thing that must hold for a route to apply."""

    needs_text: bool
    """Whether it looks at the text's vector: such a condition is asked last."""

    def holds(self, facts: Facts, signals: Signals) -> bool:
        """Whether it holds for this request."""

    def why(self, facts: Facts, signals: Signals) -> str:
        """The same in words, for a person."""


class _Globs:
    """Patterns with `*`, `?` and `[...]` over a short text; upper and lower case differ."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._match = re.compile("|".join(fnmatch.translate(pattern) for pattern in self.patterns)).match

    def match(self, text: str) -> bool:
        return self._match(text) is not None

    def __str__(self) -> str:
        return " or ".join(self.patterns)


class ModelIs:
    """The name that the client asked for matches."""

    needs_text = False

    def __init__(self, patterns: Iterable[str]) -> None:
        self._globs = _Globs(patterns)

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        return self._globs.match(facts.model)

    def why(self, facts: Facts, signals: Signals) -> str:
        verb = "matches" if self.holds(facts, signals) else "does not match"
        return f"model {facts.model!r} {verb} {self._globs}"


class HeaderIs:
    """A header is there and its value matches."""

    needs_text = False

    def __init__(self, name: str, patterns: Iterable[str]) -> None:
        self._name = name
        self._globs = _Globs(patterns)

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        value = facts.headers.get(self._name)
        return value is not None and self._globs.match(value)

    def why(self, facts: Facts, signals: Signals) -> str:
        if self._name not in facts.headers:
            return f"header {self._name} is absent"
        # The value stays out: a header may well carry a key.
        return f"header {self._name} {'matches' if self.holds(facts, signals) else 'does not match'} {self._globs}"


class TokensBetween:
    """The estimated size of the prompt lies between two bounds, both inclusive."""

    needs_text = False

    def __init__(self, least: float | None, most: float | None) -> None:
        self._least = least
        self._most = most

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        above = self._least is None or facts.tokens >= self._least
        return above and (self._most is None or facts.tokens <= self._most)

    def why(self, facts: Facts, signals: Signals) -> str:  # noqa: ARG002
        found = f"about {facts.tokens:,} tokens"
        if self._least is not None and facts.tokens < self._least:
            return f"{found}, fewer than {_number(self._least)}"
        if self._most is not None and facts.tokens > self._most:
            return f"{found}, more than {_number(self._most)}"
        return f"{found}, within the bounds"


class TopicIs:
    """One of these topics is the text's best and reaches its threshold."""

    needs_text = True

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = tuple(topics)

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        found = signals.topics
        return found is not None and found.passes and found.best in self._topics

    def why(self, facts: Facts, signals: Signals) -> str:  # noqa: ARG002
        found = signals.topics
        if found is None:
            return signals.missing or "the text was not looked at"
        best = f"the best topic is {found.best} with {found.score:.2f}"
        if not found.passes:
            return f"{best}, below its threshold {found.threshold:.2f}"
        if found.best in self._topics:
            return f"{best}, threshold {found.threshold:.2f}"
        return f"{best}, not {' or '.join(self._topics)}"


def compile_when(when: When) -> tuple[Condition, ...]:
    """The conditions that a route's `when` states, those that need the text last; all must hold."""
    conditions: list[Condition] = []
    if when.model is not None:
        conditions.append(ModelIs(_several(when.model)))
    for name, values in (when.header or {}).items():
        conditions.append(HeaderIs(name, _several(values)))
    if when.tokens is not None:
        conditions.append(TokensBetween(when.tokens.min, when.tokens.max))
    if when.topic is not None:
        conditions.append(TopicIs(_several(when.topic)))
    return tuple(conditions)


def _several(one_or_more: str | tuple[str, ...]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else one_or_more


def _number(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:,}"
