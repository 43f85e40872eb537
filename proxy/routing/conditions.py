"""The conditions of a route, each a small object that says whether it holds and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

from proxy.config import Feature, Level, Range, Regex, Text, When
from proxy.routing.facts import Facts
from proxy.routing.globs import Globs
from proxy.routing.signals import Signals

TextSignal = Literal["topic", "complexity"]


class Condition(Protocol):
    """One thing that must hold for a route to apply."""

    def holds(self, facts: Facts, signals: Signals) -> bool | None:
        """Whether it holds for this request; None when that depends on signals that are not there, yet or for good."""

    def why(self, facts: Facts, signals: Signals) -> str:
        """The same in words, for a person; only with final signals."""


class ModelIs:
    """The name that the client asked for matches."""

    __slots__ = ("_globs",)

    def __init__(self, patterns: str | Iterable[str]) -> None:
        self._globs = Globs(_several(patterns))

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        return bool(self._globs.match(facts.model))

    def why(self, facts: Facts, signals: Signals) -> str:
        verb = "matches" if self.holds(facts, signals) else "does not match"
        return f"model {facts.model!r} {verb} {self._globs}"


class ValueIs:
    """A header, a key of the metadata or the user is there and matches."""

    __slots__ = ("_globs", "_value", "_what")

    def __init__(self, what: str, patterns: str | Iterable[str], value: Callable[[Facts], str | None]) -> None:
        """
        Args:
            what: what it is called in an explanation.
            patterns: globs of which one must match.
            value: finds it in a request; None when it is absent.
        """
        self._what = what
        self._globs = Globs(_several(patterns))
        self._value = value

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        value = self._value(facts)
        return value is not None and bool(self._globs.match(value))

    def why(self, facts: Facts, signals: Signals) -> str:
        if self._value(facts) is None:
            return f"{self._what} is absent"
        # The value stays out: a header may well carry a key.
        return f"{self._what} {'matches' if self.holds(facts, signals) else 'does not match'} {self._globs}"


class NumberBetween:
    """A number of the request lies between two bounds, both inclusive."""

    __slots__ = ("_high", "_low", "_value", "_what")

    def __init__(self, limits: Range, what: str, value: Callable[[Facts], int]) -> None:
        """
        Args:
            limits: the bounds.
            what: how the number is said, such as `about {} tokens`.
            value: finds it in a request.
        """
        self._low, self._high = _bounds(limits)
        self._what = what
        self._value = value

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        return self._low <= self._value(facts) <= self._high

    def why(self, facts: Facts, signals: Signals) -> str:  # noqa: ARG002
        value = self._value(facts)
        found = self._what.format(f"{value:,}")
        if value < self._low:
            return f"{found}, fewer than {_number(self._low)}"
        if value > self._high:
            return f"{found}, more than {_number(self._high)}"
        return f"{found}, within the bounds"


class Has:
    """The request brings or asks for all of these."""

    __slots__ = ("_features",)

    def __init__(self, features: Iterable[Feature]) -> None:
        self._features = tuple(features)

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        return facts.features.issuperset(self._features)

    def why(self, facts: Facts, signals: Signals) -> str:  # noqa: ARG002
        missing = [feature for feature in self._features if feature not in facts.features]
        if missing:
            return f"the request has no {' and no '.join(missing)}"
        return f"the request has {' and '.join(self._features)}"


class TextContains:
    """One of these stands in the text to route on, in any letter case."""

    __slots__ = ("_folded", "_which", "_words")

    def __init__(self, words: str | Iterable[str], which: Text) -> None:
        self._words = _several(words)
        self._folded = tuple(word.casefold() for word in self._words)
        self._which = which

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        text = facts.folded_text(self._which)
        return any(word in text for word in self._folded)

    def why(self, facts: Facts, signals: Signals) -> str:
        words = " or ".join(map(_quoted, self._words))
        return f"the text {'contains' if self.holds(facts, signals) else 'does not contain'} {words}"


class TextMatches:
    """A regular expression is found in the text to route on."""

    __slots__ = ("_regex", "_which")

    def __init__(self, regex: Regex, which: Text) -> None:
        self._regex = regex
        self._which = which

    def holds(self, facts: Facts, signals: Signals) -> bool:  # noqa: ARG002
        return self._regex.found_in(facts.text(self._which))

    def why(self, facts: Facts, signals: Signals) -> str:
        return f"the text {'matches' if self.holds(facts, signals) else 'does not match'} {_quoted(self._regex)}"


class TopicIs:
    """One of these topics is the text's best and reaches its threshold."""

    __slots__ = ("_topics",)

    def __init__(self, topics: str | Iterable[str]) -> None:
        self._topics = _several(topics)

    def holds(self, facts: Facts, signals: Signals) -> bool | None:  # noqa: ARG002
        found = signals.topics
        return None if found is None else found.passes and found.best in self._topics

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


class ComplexityBetween:
    """How hard the request reads lies between two bounds, both inclusive."""

    __slots__ = ("_high", "_low")

    def __init__(self, limits: Level) -> None:
        self._low, self._high = _bounds(limits)

    def holds(self, facts: Facts, signals: Signals) -> bool | None:  # noqa: ARG002
        found = signals.complexity
        return None if found is None else self._low <= found <= self._high

    def why(self, facts: Facts, signals: Signals) -> str:  # noqa: ARG002
        found = signals.complexity
        if found is None:
            return signals.missing or "the text was not looked at"
        if found < self._low:
            return f"complexity {found:.2f}, below {self._low:g}"
        if found > self._high:
            return f"complexity {found:.2f}, above {self._high:g}"
        return f"complexity {found:.2f}, within the bounds"


class All:
    """Every one of these holds; an empty one always does."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Iterable[Condition]) -> None:
        self._parts = tuple(parts)

    def holds(self, facts: Facts, signals: Signals) -> bool | None:
        result: bool | None = True
        for part in self._parts:
            held = part.holds(facts, signals)
            if held is False:
                return False
            if held is None:
                result = None  # but a later one may still say no, without any signal
        return result

    def why(self, facts: Facts, signals: Signals) -> str:
        held = [part.holds(facts, signals) for part in self._parts]
        for failing in (False, None):  # what is not so says more than what nobody knows
            if failing in held:
                return self._parts[held.index(failing)].why(facts, signals)
        return "; ".join(part.why(facts, signals) for part in self._parts) or "it applies to every request"


class AnyOf:
    """At least one of these holds."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Iterable[Condition]) -> None:
        self._parts = tuple(parts)

    def holds(self, facts: Facts, signals: Signals) -> bool | None:
        result: bool | None = False
        for part in self._parts:
            held = part.holds(facts, signals)
            if held is True:
                return True
            if held is None:
                result = None
        return result

    def why(self, facts: Facts, signals: Signals) -> str:
        holding = next((part for part in self._parts if part.holds(facts, signals) is True), None)
        if holding is not None:
            return holding.why(facts, signals)
        return "none of: " + "; ".join(part.why(facts, signals) for part in self._parts)


class Not:
    """This does not hold."""

    __slots__ = ("_part",)

    def __init__(self, part: Condition) -> None:
        self._part = part

    def holds(self, facts: Facts, signals: Signals) -> bool | None:
        held = self._part.holds(facts, signals)
        return None if held is None else not held

    def why(self, facts: Facts, signals: Signals) -> str:
        held, why = self._part.holds(facts, signals), self._part.why(facts, signals)
        return why if held is None else f"{'but' if held else 'not'}: {why}"


def compile_when(when: When, which: Text) -> Condition:
    """
    The conditions that a route's `when` states, as one.

    Args:
        when: as the file says.
        which: what of a request is the text to route on.
    """
    parts: list[Condition] = []
    if when.model is not None:
        parts.append(ModelIs(when.model))
    for name, globs in (when.header or {}).items():
        parts.append(ValueIs(f"header {name}", globs, _header(name)))
    for key, globs in (when.metadata or {}).items():
        parts.append(ValueIs(f"metadata {key}", globs, _metadata(key)))
    if when.user is not None:
        parts.append(ValueIs("user", when.user, lambda facts: facts.user))
    if when.has is not None:
        parts.append(Has(when.has))
    if when.tokens is not None:
        parts.append(NumberBetween(when.tokens, "about {} tokens", lambda facts: facts.tokens))
    if when.turns is not None:
        parts.append(NumberBetween(when.turns, "{} turns", lambda facts: facts.turns(which)))
    if when.topic is not None:
        parts.append(TopicIs(when.topic))
    if when.complexity is not None:
        parts.append(ComplexityBetween(when.complexity))
    # Behind all that cost the same for every request: a text may be long.
    if when.text is not None and when.text.contains is not None:
        parts.append(TextContains(when.text.contains, which))
    if when.text is not None and when.text.matches is not None:
        parts.append(TextMatches(when.text.matches, which))
    parts += (compile_when(part, which) for part in when.all or ())
    if when.any is not None:
        parts.append(AnyOf(compile_when(part, which) for part in when.any))
    if when.not_ is not None:
        parts.append(Not(compile_when(when.not_, which)))
    return parts[0] if len(parts) == 1 else All(parts)


def walk(*whens: When) -> Iterator[When]:
    """These, and all that stands within them, however deep."""
    for when in whens:
        yield when
        yield from walk(*(when.all or ()), *(when.any or ()), *((when.not_,) if when.not_ else ()))


def text_signals(when: When) -> frozenset[TextSignal]:
    """The signals of the text's vector that its conditions look at, however deep they stand."""
    found: set[TextSignal] = set()
    for part in walk(when):
        if part.topic is not None:
            found.add("topic")
        if part.complexity is not None:
            found.add("complexity")
    return frozenset(found)


def may_hold_without_text(when: When) -> bool:
    """Whether there are requests for which it holds whatever their text is about."""
    negated = when.not_
    return (
        when.topic is None
        and when.complexity is None
        and all(map(may_hold_without_text, when.all or ()))
        and (when.any is None or any(map(may_hold_without_text, when.any)))
        and (negated is None or not text_signals(negated) or _says_more_than_the_text(negated))
    )


def _says_more_than_the_text(when: When) -> bool:
    return when != When(topic=when.topic, complexity=when.complexity)


def _header(name: str) -> Callable[[Facts], str | None]:
    return lambda facts: facts.headers.get(name)


def _metadata(key: str) -> Callable[[Facts], str | None]:
    return lambda facts: facts.metadata.get(key)


def _several(one_or_more: str | Iterable[str]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)


def _quoted(text: str) -> str:
    """As in single quotes in routes.yaml; nothing in it can reach a terminal as a control sequence."""
    return repr(text).replace("\\\\", "\\")


def _bounds(limits: Range) -> tuple[float, float]:
    """The least and the most, both inclusive; one that is not given is out of reach."""
    return -math.inf if limits.min is None else limits.min, math.inf if limits.max is None else limits.max


def _number(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:,}"
