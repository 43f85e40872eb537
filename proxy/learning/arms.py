"""Experiments: the arms of a route against each other, a conversation counting as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from proxy.learning.archive import Archive
from proxy.learning.asking import Span, is_failure, one_if
from proxy.learning.clusters import NOTHING, Mean, Sums, rating_sums, sums_of
from proxy.learning.tables import decisions

MEASURES = ("rating", "cost_usd", "seconds", "error")


@dataclass(frozen=True)
class Arm:
    """What came of the conversations that one of them was drawn for; a fallback's answers are its own."""

    name: str
    decisions: int
    conversations: int
    means: Mapping[str, Mean]
    """By the names in MEASURES; `error` is the share of failures."""


def arms(archive: Archive, order: Mapping[str, Sequence[str]], span: Span) -> dict[str, list[Arm]]:
    """
    The arms of each route that has some.

    Args:
        archive: open.
        order: of a route's arms, as far as it is known; the first is what the others are compared with. Those that are
            not named come behind, the largest first.
        span: to look at.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    columns = decisions.c
    by = (columns.route, columns.arm)
    inner = (
        span.of(
            select(
                *by,
                func.count().label("seconds_n"),
                func.sum(columns.seconds).label("seconds_s"),
                func.count().label("error_n"),
                func.sum(one_if(is_failure()) * 1.0).label("error_s"),
                func.count(columns.cost_usd).label("cost_usd_n"),
                func.coalesce(func.sum(columns.cost_usd), 0.0).label("cost_usd_s"),
            ).where(columns.arm.is_not(None))
        )
        .group_by(*by, columns.conversation_hash)
        .subquery()
    )
    names = [inner.c.route, inner.c.arm]
    sums = [column for measure in MEASURES[1:] for column in sums_of(inner, measure)]
    found: dict[str, list[Arm]] = {}
    rows = archive.ask(select(*names, *sums).group_by(*names))
    ratings = _ratings(archive, span) if rows else {}  # to look for those of no arm takes as long as for all
    for row in rows:
        sums_by = {measure: Sums.of(row, measure) for measure in MEASURES[1:]}
        means = {measure: own.share if measure == "error" else own.mean for measure, own in sums_by.items()}
        means["rating"] = ratings.get((row.route, row.arm), NOTHING)
        arm = Arm(row.arm, means["seconds"].rows, means["seconds"].clusters, means)
        found.setdefault(row.route, []).append(arm)
    for route, several in found.items():
        first = list(order.get(route, ()))

        def place(arm: Arm, first: list[str] = first) -> tuple[Any, ...]:
            return (first.index(arm.name) if arm.name in first else len(first), -arm.decisions, arm.name)

        several.sort(key=place)
    return dict(sorted(found.items()))


def _ratings(archive: Archive, span: Span) -> dict[tuple[str, str], Mean]:
    columns = decisions.c
    found = archive.ask(rating_sums([columns.route, columns.arm], span, columns.arm.is_not(None)))
    return {(row.route, row.arm): Sums.of(row, "rating").share for row in found}
