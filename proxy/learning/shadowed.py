"""What decides in the shadow, against what decided: how often they agree, and what the difference is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select

from proxy.learning.archive import Archive
from proxy.learning.asking import Span, one_if, rated
from proxy.learning.gain import Gain, Moments, columns, parts
from proxy.learning.stored_rows import CERTAIN
from proxy.learning.tables import decisions


@dataclass(frozen=True, order=True)
class Pair:
    """Decisions that went one way and would have gone another."""

    route: str
    model: str
    shadow_route: str
    shadow_model: str
    decisions: int


@dataclass(frozen=True)
class Shadow:
    """Everything that was decided twice."""

    decisions: int
    agreed: int
    """How many would have gone to the same model."""
    drawn: int
    """How many went to a model that chance chose: only they tell what another way to choose is worth."""
    pairs: tuple[Pair, ...]
    """Where the two differ, the most frequent first."""
    rating: Gain
    """Of the shadow, over decisions that chance made; and so the next one, in USD a decision."""
    cost_usd: Gain


def shadow(archive: Archive, span: Span) -> Shadow | None:
    """
    What decides in the shadow; None where nothing did.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    columns = decisions.c
    is_there, agrees = columns.shadow_model.is_not(None), columns.model == columns.shadow_model
    is_drawn = one_if(columns.propensity < CERTAIN)
    sums: list[Any] = [func.count(), func.sum(one_if(agrees)), func.sum(is_drawn)]
    (counts,) = archive.ask(span.of(select(*sums).where(is_there)))
    count, agreed, drawn = (int(each or 0) for each in counts)
    if not count:
        return None
    by = (columns.route, columns.model, columns.shadow_route, columns.shadow_model)
    differing = select(*by, func.count()).where(is_there, ~agrees).group_by(*by)
    pairs = [
        Pair(route, model, shadow_route, shadow_model, count)
        for route, model, shadow_route, shadow_model, count in map(tuple, archive.ask(span.of(differing)))
    ]
    return Shadow(
        count,
        agreed,
        drawn,
        tuple(sorted(pairs, key=lambda pair: (-pair.decisions, pair))),
        _gain(archive, span, of_rating=True),
        _gain(archive, span, of_rating=False),
    )


def _gain(archive: Archive, span: Span, *, of_rating: bool) -> Gain:
    """
    Over the decisions that chance made: of others nobody knows what another model would have done. Nor of those that
    another model answered in the end, for which nobody drew it.
    """
    of, each = decisions.c, rated()
    value: ColumnElement[Any] = each.c.rating if of_rating else of.cost_usd
    query = select(*parts(value, of.shadow_chance, of.propensity)).where(
        of.shadow_chance.is_not(None),
        of.propensity < CERTAIN,
        of.propensity > 0.0,
        of.answered == of.model,
        value.is_not(None),
    )
    if of_rating:
        query = query.join_from(each, decisions, of.id == each.c.decision_id)
    by_conversation = span.of(query).group_by(of.conversation_hash).subquery()
    (found,) = archive.ask(select(*columns(by_conversation)))
    return Moments.from_row([archive.number(each) for each in found]).gain
