"""The pieces of questions to the store that both databases understand, and that an index answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, case, func, select

from proxy.learning.tables import decisions, feedback

FAILURES = ("unauthorized", "forbidden", "failed", "rate_limited", "garbled", "unreachable", "cut", "connect",
            "first_token", "whole_answer", "idle", "total")  # fmt: skip
"""The outcomes that are nobody's fault but an upstream's, after which the client had no answer or half of one."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time, in seconds since 1970; from or to any where it is None."""

    since: float | None = None
    """Inclusive."""
    until: float | None = None
    """Exclusive."""

    def of(self, query: Select[Any]) -> Select[Any]:
        """
        Only decisions of this time.

        By an expression, for which SQLite has no index: it would take the one by time, and then fetch every row from
        where it lies, instead of all that is asked for from `decisions_for_reports`.
        """
        when = decisions.c.time + 0.0
        if self.since is not None:
            query = query.where(when >= self.since)
        return query if self.until is None else query.where(when < self.until)

    def in_piece(self, query: Select[Any], route: str, answered: str) -> Select[Any]:
        """Only those of a route and a model that answered: one stretch of the index."""
        columns = decisions.c
        query = query.where(columns.route == route, columns.answered == answered)
        if self.since is not None:
            query = query.where(columns.time >= self.since)
        return query if self.until is None else query.where(columns.time < self.until)


def is_failure() -> ColumnElement[bool]:
    """Whether the client got no answer, or half of one, and did not leave by itself."""
    return decisions.c.outcome.in_(FAILURES) | (decisions.c.status >= 500)


def one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 or 0, to be summed."""
    return case((condition, 1), else_=0)


def is_sound_rating() -> ColumnElement[bool]:
    """
    Whether what stands for a rating is one, 0 to 1.

    In SQLite a text or a blob may, which compares as greater than any number, and which its AVG would take for 0.
    """
    return feedback.c.rating.between(0.0, 1.0)


def rated() -> Subquery:
    """Each rated decision's id and the mean of its sources' ratings."""
    mean = func.avg(feedback.c.rating).label("rating")
    return select(feedback.c.decision_id, mean).where(is_sound_rating()).group_by(feedback.c.decision_id).subquery()
