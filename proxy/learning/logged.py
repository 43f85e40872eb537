"""
Stored decisions to learn from: those of which it is known how likely each model was, and that were rated.

Only the model that was chosen has a rating, so what another would have earned can be told only where chance had a hand
in the choice: a split, or a learned route that explores. Where nothing was drawn (propensity 1), the models differ in
what they were asked, and no number of ratings makes up for that. Such decisions are left out.

So are those that another model answered in the end: the rating is of that one's answer, and the chance with which it
came to answer is not known. What is left is as good as before, as long as who fails does not hang on the text.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import Row, func, select

from proxy.embedding import DIMENSIONS, Vector
from proxy.learning.archive import Archive
from proxy.learning.asking import FAILURES, Span, is_sound_rating, one_if
from proxy.learning.reading import LEAST_COST
from proxy.learning.stored_facts import asked_of
from proxy.learning.stored_rows import CERTAIN, is_number, is_propensity, is_rating, vector_of
from proxy.learning.tables import decisions, feedback
from proxy.learning.training_rows import LEAST_CHANCE, Rows, keys_of, numbered
from proxy.routing.arrays import Bools, Floats, Ints
from proxy.routing.inputs import inputs_of
from proxy.routing.shape import SIZE, Shape

_COLUMNS = (
    "id", "route", "model", "answered", "facts", "cost_usd", "outcome", "is_cut", "bad_tool_calls",
    "retry_of", "propensity", "conversation_hash", "vector",
)  # fmt: skip
_OF_REQUESTS = ("text",)
LEAST_RATINGS = 25
"""Of a model, for it to be looked at where nobody says which models to."""

UNDRAWN, BY_ANOTHER, NO_VECTOR = "nothing was drawn", "another model answered", "the text was not looked at"
OTHER_MODELS, ALONE, DAMAGED = "not of these models", "its route drew one of these models only", "damaged"
_FAILURES = frozenset(FAILURES) - {"unauthorized", "forbidden", "rate_limited"}  # which say nothing of a model


class Request(NamedTuple):
    """What another routes.yaml could ask about a stored decision."""

    vector: Vector
    facts: str | None
    """As `stored_facts.kept` wrote them."""
    text: str | None
    conversation: bytes


class Share(NamedTuple):
    """How many of the decisions that drew a model, and were answered by it, were rated."""

    model: str
    rated: int
    drawn: int


@dataclass(frozen=True)
class Logged:
    """Stored decisions as arrays; `rows` has one score each."""

    rows: Rows
    chosen: Ints
    """(rows,): the place of the model that was chosen, and answered."""
    propensities: Floats
    """(rows,): the chance that it had, below 1."""
    able: Bools
    """(rows, models): which models a decision of this route may choose, for all that was seen of it."""
    route_of: Ints
    """(rows,): the place in `routes`."""
    routes: tuple[str, ...]
    found: int
    """Decisions to learn from; more than `rows` where only a sample is kept."""
    left_out: dict[str, int]
    """How many rated decisions could not be used, by why not."""
    drawn: tuple[str, ...]
    """Every model that was drawn, and rated, looked at or not."""
    requests: tuple[Request, ...] = ()
    """What is known of each besides; empty where that was not asked for."""
    shares: tuple[Share, ...] = ()
    """Of each model; empty where outcomes stand in for feedback."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ratings(self) -> Floats:
        """(rows,), 0 to 1."""
        return np.asarray(self.rows.scores[np.arange(len(self)), self.chosen])

    @property
    def costs(self) -> Floats:
        """(rows,), USD; NaN where it is not known."""
        return np.asarray(self.rows.costs[np.arange(len(self)), self.chosen])

    def take(self, which: Ints) -> Logged:
        """Some of them."""
        return replace(
            self,
            rows=self.rows.take(which),
            chosen=self.chosen[which],
            propensities=self.propensities[which],
            able=self.able[which],
            route_of=self.route_of[which],
            requests=tuple(self.requests[at] for at in which.tolist()) if self.requests else (),
        )


class _One(msgspec.Struct, gc=False):
    """What is kept of one decision."""

    id: str
    route: str
    model: str
    propensity: float
    vector: bytes
    tokens: float
    shape: Shape
    cost: float
    rating: float
    conversation: bytes
    request: tuple[str | None, str | None] | None


def read_logged(
    archive: Archive,
    *,
    models: Sequence[str] = (),
    since: float | None = None,
    route: str | None = None,
    implicit: bool = False,
    limit: int = 50_000,
    seed: int = 0,
    requests: bool = False,
    tell: Callable[[int], None] | None = None,
) -> Logged:
    """
    The stored decisions that something can be learned of, or a sample of them.

    With `implicit`, a decision without feedback counts as well: for 0 where something went wrong that users mind (the
    upstream failed, the answer stopped at its length limit, the arguments of a tool's call are not JSON, or the same
    was asked again within minutes), for 1 where nothing did. Those that say nothing of the model stay out: the client
    left, its request was refused, the upstream was busy or refused our key.

    Args:
        archive: open.
        models: the only ones to look at; all that have some ratings when empty.
        since: seconds since 1970.
        route: the only one to look at.
        implicit: whether outcomes stand in for feedback.
        limit: rows to keep; of more, each has the same chance.
        seed: of that choice.
        requests: whether to keep what another routes.yaml could ask about each.
        tell: is given how many decisions were read.

    Raises:
        StoreUnreadable: the store cannot be read.
    """
    reading = _Reading(frozenset(models), route, implicit, limit, seed, requests)
    read, columns = 0, _COLUMNS + _OF_REQUESTS * requests
    pieces = archive.decisions(columns, since=since, rated=not implicit, route=None if implicit else route)
    for piece in pieces:
        for row in piece:
            reading.see(row)
        read += len(piece)
        if tell is not None:
            tell(read)
    logged = reading.logged(tuple(models))
    return logged if implicit else replace(logged, shares=_shares(archive, logged.rows.models, since, route))


def _shares(archive: Archive, models: Sequence[str], since: float | None, route: str | None) -> tuple[Share, ...]:
    of, own = decisions.c, feedback.c.decision_id == decisions.c.id
    rated = select(feedback.c.decision_id).where(own, is_sound_rating()).exists()
    query = select(of.model, func.sum(one_if(rated)), func.count()).group_by(of.model)
    query = query.where(of.propensity < CERTAIN, of.propensity > 0.0, of.answered == of.model)
    if route is not None:
        query = query.where(of.route == route)
    rows: list[Any] = archive.ask(Span(since).of(query))
    found = {str(model): Share(str(model), int(some or 0), int(count)) for model, some, count in rows}
    return tuple(found[name] for name in models if name in found)


class _Reading:
    def __init__(
        self, models: frozenset[str], route: str | None, implicit: bool, limit: int, seed: int, requests: bool
    ) -> None:
        self._requests = requests
        self._models, self._route, self._implicit, self._limit = models, route, implicit, limit
        self._draw = random.Random(seed)  # noqa: S311 - no secret
        self._kept: list[_One] = []
        self._by_id: dict[str, _One] = {}
        """Those that a retry may still spoil."""
        self._found = 0
        self._left_out: Counter[str] = Counter()
        self._named: set[str] = set()
        self._drawn: dict[str, Counter[str]] = {}
        """Ratings, by route and model."""

    def see(self, row: Row[Any]) -> None:
        if self._implicit and row.retry_of is not None and (spoilt := self._by_id.get(row.retry_of)) is not None:
            spoilt.rating = 0.0
        rating = row.rating
        if rating is None and self._implicit:
            rating = _implicit(row)
        if rating is None or (self._route is not None and row.route != self._route):
            return
        if (why := self._why_not(row, rating)) is not None:
            self._left_out[why] += 1
            return
        self._found += 1
        self._drawn.setdefault(row.route, Counter())[row.model] += 1
        place = len(self._kept)
        if place == self._limit and (place := self._draw.randrange(self._found)) >= self._limit:
            return  # Vitter's algorithm R
        one = _One(
            row.id, row.route, row.model, row.propensity, row.vector, *asked_of(row.facts), _cost(row), rating,
            row.conversation_hash, (row.facts, row.text) if self._requests else None,
        )  # fmt: skip
        if place == len(self._kept):
            self._kept.append(one)
        else:
            self._by_id.pop(self._kept[place].id, None)
            self._kept[place] = one
        if row.rating is None:
            self._by_id[one.id] = one

    def _why_not(self, row: Row[Any], rating: float) -> str | None:
        if is_propensity(row.propensity) and row.propensity >= CERTAIN:
            return UNDRAWN
        if row.vector is None:
            return NO_VECTOR
        if row.answered != row.model:
            return BY_ANOTHER
        self._named.add(row.model)
        if self._models and row.model not in self._models:
            return OTHER_MODELS
        is_sound = is_propensity(row.propensity) and is_rating(rating)
        return None if is_sound and isinstance(row.vector, bytes) and len(row.vector) == 2 * DIMENSIONS else DAMAGED

    def logged(self, models: tuple[str, ...]) -> Logged:
        if not models:
            ratings = sum(self._drawn.values(), Counter[str]())
            models = tuple(sorted(name for name, count in ratings.items() if count >= LEAST_RATINGS))
        places = {name: place for place, name in enumerate(models)}
        known = {name: [places[model] for model in drawn if model in places] for name, drawn in self._drawn.items()}
        routes = tuple(name for name, each in known.items() if len(each) > 1)
        found = self._found
        for name, drawn in self._drawn.items():
            foreign = sum(count for model, count in drawn.items() if model not in places)
            alone = 0 if name in routes else drawn.total() - foreign
            self._left_out[OTHER_MODELS] += foreign
            self._left_out[ALONE] += alone
            found -= foreign + alone
        used = [one for one in self._kept if one.model in places and one.route in routes]
        vectors = _vectors(used)
        is_sound: Bools = np.asarray(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))
        if not is_sound.all():
            self._left_out[DAMAGED] += int((~is_sound).sum())
            used = [one for one, sound in zip(used, is_sound, strict=True) if sound]
            vectors = vectors[is_sound]
        able = np.zeros((len(routes), len(models)), dtype=np.bool_)
        for number, name in enumerate(routes):
            able[number, known[name]] = True
        route_of = np.array([routes.index(one.route) for one in used], dtype=np.int64)
        chosen = np.array([places[one.model] for one in used], dtype=np.int64)
        propensities = np.array([one.propensity for one in used])
        left_out = {why: count for why, count in self._left_out.items() if count}
        requests = tuple(
            Request(vector, *one.request, one.conversation)
            for one, vector in zip(used, vectors, strict=True)
            if one.request is not None
        )
        return Logged(
            _rows(models, used, vectors, chosen, propensities), chosen, propensities, able[route_of], route_of, routes,
            found, left_out, tuple(sorted(self._named)), requests,
        )  # fmt: skip


def _implicit(row: Row[Any]) -> float | None:
    if row.outcome in _FAILURES:
        return 0.0
    if row.outcome != "ok":
        return None
    return 0.0 if row.is_cut or row.bad_tool_calls else 1.0


def _cost(row: Row[Any]) -> float:
    return max(float(row.cost_usd), LEAST_COST) if is_number(row.cost_usd) else math.nan


def _vectors(used: Sequence[_One]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    joined = vector_of(b"".join(one.vector for one in used))
    return joined.reshape(len(used), DIMENSIONS)


def _rows(models: tuple[str, ...], used: Sequence[_One], vectors: Any, chosen: Ints, propensities: Floats) -> Rows:
    at = np.arange(len(used))
    scores = np.full((len(used), len(models)), np.nan)
    costs, weights = np.full_like(scores, np.nan), np.zeros_like(scores)
    scores[at, chosen] = [one.rating for one in used]
    costs[at, chosen] = [one.cost for one in used]
    weights[at, chosen] = 1.0 / np.maximum(propensities, LEAST_CHANCE)
    tokens = np.array([one.tokens for one in used])
    conversations = numbered(one.conversation for one in used)
    shapes = np.array([one.shape for one in used], dtype=np.float32).reshape(-1, SIZE)
    return Rows(models, inputs_of(vectors, tokens, shapes), scores, costs, weights, keys_of(vectors), conversations)
