"""
What other rules would have done with decisions that are stored: which would change, and what that would cost.

Each turn is looked at by itself, as if its conversation began with it. What cannot be told, since a rule asks for
something that is not stored, is counted with its reason, and never guessed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Row

from proxy.config import LEARNED_ARM, Config, Price, Split
from proxy.embedding import DIMENSIONS, Vector
from proxy.errors import ProxyError
from proxy.learning.archive import Archive
from proxy.learning.gain import Gain, Moments
from proxy.learning.stored_facts import NotStored, StoredFacts
from proxy.learning.stored_rows import CERTAIN, is_number, is_propensity, is_rating, vector_of
from proxy.learning.training_rows import numbered
from proxy.routing.complexity import Complexity
from proxy.routing.decision import NO_MODEL, Decision
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.routing.topics import Topics

COLUMNS = (
    "id", "time", "route", "model", "answered", "reason", "arm", "prompt_tokens", "cached_tokens", "cache_write_tokens",
    "completion_tokens", "cost_usd", "text", "facts", "propensity", "conversation_hash", "vector",
)  # fmt: skip

DAMAGED = "its numbers (they are damaged)"
REFUSED = "refused"
"""What stands for the route of a request that is answered with an error, whose code stands for the model."""
EXPLORED = 0.5
"""
A decision of a learned route with a chance below this was one to explore, not what it would have taken else; so it was
in the arm `learned` of a split with a chance below this share of that arm.
"""


class Way(NamedTuple):
    """Where a request goes."""

    route: str
    model: str


@dataclass(frozen=True)
class Rules:
    """One routes.yaml, ready to decide on what is stored."""

    config: Config
    router: Router
    topics: Topics | None
    complexity: Complexity
    embed: Callable[[str], Vector]
    """Of a stored text that has no vector."""
    sees_the_same: bool
    """Whether its `text` is that of the rules that decided: if not, the stored text and vector tell it nothing."""
    policy: str
    """What `policy_version` says of its policy."""

    def decide(self, row: Row[Any]) -> Decision:
        """
        The decision for a stored request by itself.

        Raises:
            NotStored: it depends on something that is not stored.
            ProxyError: the request would be answered with this error.
        """
        text = row.text if self.sees_the_same else None
        facts = StoredFacts(row.facts, text=text, conversation=row.conversation_hash)
        signals = Signals()
        if facts.is_silent:
            signals = Signals(missing="the request has no text by a user")
        elif row.vector is not None and self.sees_the_same:
            if not isinstance(row.vector, bytes) or len(row.vector) != 2 * DIMENSIONS:
                raise NotStored("the text's vector (it is damaged)")
            signals = Signals.of(vector_of(row.vector), self.topics, self.complexity)
        decision = self.router.decide(facts, signals)
        if decision is not None:
            return decision
        if not self.sees_the_same:
            raise NotStored("the text as its `text` now has it")
        if text is None:
            raise NotStored("the text's vector (its rule did not need it)")
        return self.router.decide_finally(facts, Signals.of(self.embed(text), self.topics, self.complexity))

    def left_to_policy(self, route: str, arm: str | None) -> float:
        """The share of a route's requests that the policy chooses for; 0 in an arm that is not its own."""
        if arm is None:
            return 1.0
        use = next((one.use for one in self.config.routes if one.name == route), None)
        if arm != LEARNED_ARM or not isinstance(use, Split):
            return 0.0
        return use.split.get(LEARNED_ARM, 0.0) / sum(use.split.values())

    def price(self, model: str) -> Price | None:
        """None where it is not known."""
        known = self.config.models.get(model)
        return None if known is None else known.price

    def cost_usd(self, model: str, row: Row[Any]) -> float | None:
        """What the stored tokens cost at this model; None where its price or they are not known."""
        if model == NO_MODEL:
            return 0.0
        price = self.price(model)
        if price is None or row.prompt_tokens is None:
            return None
        return price.cost_usd(
            row.prompt_tokens, row.cached_tokens or 0, row.cache_write_tokens or 0, row.completion_tokens or 0
        )


class Change(NamedTuple):
    """One decision that would be another."""

    id: str
    old: Way
    new: Way
    old_usd: float | None
    new_usd: float | None
    text: str | None

    @property
    def more_usd(self) -> float | None:
        """What it would cost more; None where either is not known."""
        return None if self.old_usd is None or self.new_usd is None else self.new_usd - self.old_usd


class Drawn(NamedTuple):
    """A rated decision whose model was drawn."""

    rating: float
    weight: float
    """Of the new way; see `Moments`."""
    usual: float
    """Of the old one."""
    propensity: float
    conversation: bytes


@dataclass
class Replay:
    """What came of it."""

    looked_at: int = 0
    stay: int = 0
    untold: Counter[str] = field(default_factory=Counter)
    """By what is not stored."""
    left_out: Counter[str] = field(default_factory=Counter)
    """By why there is nothing to compare: `conversation`, `overload`, `explored`."""
    changes: list[Change] = field(default_factory=list)
    priced: int = 0
    """Those that can be told, of which both costs are known; the sums are over them."""
    old_usd: float = 0.0
    new_usd: float = 0.0
    first: float | None = None
    """When the oldest that was looked at was made, in seconds since 1970."""
    last: float | None = None
    drawn: defaultdict[str, list[Drawn]] = field(default_factory=lambda: defaultdict(list))
    """By the old route: rated decisions whose model was drawn."""

    @property
    def told(self) -> int:
        """How many can be compared."""
        return self.stay + len(self.changes)

    @property
    def to_another_model(self) -> int:
        """How many of the changes are not of the route alone."""
        return sum(change.old.model != change.new.model for change in self.changes)

    @property
    def ways(self) -> list[tuple[Way, Way, int]]:
        """From where to where, and how many; the most first."""
        counts = Counter((change.old, change.new) for change in self.changes)
        return [(*way, count) for way, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]

    @cached_property
    def rating(self) -> Gain:
        """What ratings would gain in the routes of which something changes, over decisions drawn by chance."""
        routes = sorted({change.old.route for change in self.changes})
        among = [each for route in routes for each in self.drawn[route]]
        numbers = np.array([each[:-1] for each in among], dtype=np.float64).reshape(-1, 4)
        return Moments.of(*numbers.T, groups=numbered(each.conversation for each in among)).gain

    def strongest(self, most: int) -> list[Change]:
        """The changes with the greatest difference in cost, one of each text or id."""
        found: dict[tuple[Way, Way, str], Change] = {}
        for change in sorted(self.changes, key=lambda change: -abs(change.more_usd or 0.0)):
            found.setdefault((change.old, change.new, change.text or change.id), change)
        return list(found.values())[:most]


def replay(
    archive: Archive,
    new: Rules,
    old: Rules | None,
    *,
    since: float | None = None,
    newest: int | None = None,
    step: Callable[[int], None] = lambda _: None,
) -> Replay:
    """
    Decide again what is stored.

    Args:
        archive: open.
        new: decides.
        old: decides too, and is what the new ones are compared with; the stored decision when None. What a moment did
            (an exploration, a draw, the latencies) is then no change.
        since: seconds since 1970.
        newest: how many decisions to look at.
        step: is told how many have been.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    found = Replay()
    for rows in archive.decisions(COLUMNS, since=since, newest=newest):
        for row in rows:
            _look(found, row, new, old)
        step(found.looked_at)
    return found


def _look(found: Replay, row: Row[Any], new: Rules, old: Rules | None) -> None:
    found.looked_at += 1
    if is_number(row.time):
        found.first, found.last = found.first or row.time, row.time
    if row.reason in ("conversation", "overload"):
        found.left_out[row.reason] += 1
        return
    if not _is_sound(row):
        found.untold[DAMAGED] += 1
        return
    try:
        way, decision = _way(new, row)
        before, of_old = (Way(row.route, row.model), None) if old is None else _way(old, row)
    except NotStored as missing:
        found.untold[str(missing)] += 1
        return
    is_drawn = row.propensity < CERTAIN and row.answered == row.model  # how likely a fallback answers, nobody knows
    if row.rating is not None and decision is not None and is_drawn:
        weight = decision.chance_of(row.model) / row.propensity
        usual = 1.0 if of_old is None else of_old.chance_of(row.model) / row.propensity
        found.drawn[before.route].append(Drawn(row.rating, weight, usual, row.propensity, row.conversation_hash))
    if old is None:
        # Whatever the reason: before there is a policy it is that of a rule.
        if row.propensity < EXPLORED * new.left_to_policy(row.route, row.arm):
            found.left_out["explored"] += 1
            return
        way = _as_drawn(decision, way, row)
    # How much another model writes, a policy knows better than what the one wrote that answered: on either side.
    is_answered = old is None or before.model == row.answered
    old_usd = row.cost_usd if old is None or is_answered else _expected_usd(old, before, of_old, row)
    if before.model == NO_MODEL or before.route == REFUSED:
        old_usd = 0.0
    if way.model != before.model:
        new_usd = _expected_usd(new, way, decision, row, old)
    elif old is not None and new.price(way.model) != old.price(way.model):
        new_usd = new.cost_usd(way.model, row) if is_answered else _expected_usd(new, way, decision, row, old)
    else:
        new_usd = old_usd
    if old_usd is not None and new_usd is not None:
        found.priced += 1
        found.old_usd += old_usd
        found.new_usd += new_usd
    if way == before:
        found.stay += 1
    else:
        found.changes.append(Change(row.id, before, way, old_usd, new_usd, row.text))


def _is_sound(row: Row[Any]) -> bool:
    counted = (row.prompt_tokens, row.cached_tokens, row.cache_write_tokens, row.completion_tokens, row.cost_usd)
    is_counted = all(each is None or is_number(each) for each in counted)
    return is_counted and is_propensity(row.propensity) and (row.rating is None or is_rating(row.rating))


def _way(rules: Rules, row: Row[Any]) -> tuple[Way, Decision | None]:
    try:
        decision = rules.decide(row)
    except ProxyError as error:
        return Way(REFUSED, error.code or str(error.status)), None
    return Way(decision.route, decision.model), decision


def _as_drawn(decision: Decision | None, way: Way, row: Row[Any]) -> Way:
    """
    The model that was drawn, where a split of the same name might draw it as well.

    What names a conversation is stored as a hash, so the share that it falls into is another one here.
    """
    if row.arm is None or decision is None or row.route != way.route or not decision.chances.get(row.model):
        return way
    return Way(row.route, row.model)


def _expected_usd(
    rules: Rules, way: Way, decision: Decision | None, row: Row[Any], old: Rules | None = None
) -> float | None:
    """
    What the policy expects, which knows how much each model writes; else the price of the stored tokens.

    A policy expects what models cost when it was trained. Where the price is another than by the `old` rules, and these
    have the same policy, it is taken in proportion to what the stored tokens cost by both. At which prices another
    policy was trained nobody knows: likely at its own file's.
    """
    if decision is None:
        return 0.0
    expected = next((each.cost_usd for each in decision.candidates if each.model == way.model), None)
    is_same = old is not None and old.policy == rules.policy
    usd, old_usd = rules.cost_usd(way.model, row), old.cost_usd(way.model, row) if old is not None and is_same else None
    if expected is None:
        return usd
    if usd is None or old_usd is None or usd == old_usd:
        return expected
    return expected * usd / old_usd if old_usd else usd
