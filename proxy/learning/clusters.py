"""
Means of what comes in conversations, with intervals: the turns of one are no independent witnesses.

The variance is that of a ratio of sums over clusters (Cameron and Miller, A Practitioner's Guide to Cluster-Robust
Inference, 2015). It needs of each cluster its sum and its count only, and of all of them five sums, which a database
makes where the rows are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Label, Select, Subquery, func, select

from proxy.learning.asking import Span, rated
from proxy.learning.offpolicy import FEWEST, Z95
from proxy.learning.tables import decisions

_Z80 = 0.841621
"""With the other: a difference of `LEAST` is found with 95% confidence in 80 of 100 experiments."""
LEAST = 0.05
"""The difference of mean ratings that an experiment should be able to tell."""
_UNKNOWN_VARIANCE = 0.25
"""Of a rating that is 0 or 1, each half of the time: the most there can be."""


class Sums(NamedTuple):
    """Over clusters of each one's sum s and size n, as far as n is not 0."""

    clusters: int
    size: float
    total: float
    squares: float
    """Of s."""
    products: float
    """Of s and n."""
    size_squares: float

    @classmethod
    def of(cls, row: Any, name: str) -> Sums:
        """Those that `sums_of` has labelled so, whatever numbers the database gives."""
        return cls(
            int(getattr(row, f"{name}_clusters") or 0),
            *(float(getattr(row, f"{name}_{part}") or 0.0) for part in cls._fields[1:]),
        )

    @property
    def mean(self) -> Mean:
        """Of all rows, clusters in which there are more of them counting for more."""
        if not self.size:
            return NOTHING
        value = self.total / self.size
        if self.clusters < 2:
            return Mean(value, math.inf, self.clusters, int(self.size))
        left = self.squares - 2 * value * self.products + value**2 * self.size_squares
        variance = max(left, 0.0) / self.size**2 * self.clusters / (self.clusters - 1)
        return Mean(value, math.sqrt(variance), self.clusters, int(self.size))

    @property
    def share(self) -> Mean:
        """
        The same of what is 0 to 1 on each row, where all alike is no certainty: none in forty may be one in fifty.

        Then the error is that of a share with two more of either kind (Agresti and Coull, The American Statistician 52,
        1998).
        """
        mean = self.mean
        if mean.error > 0.0 or mean.value is None:
            return mean
        around = (mean.value * mean.clusters + 2.0) / (mean.clusters + 4.0)
        return mean._replace(error=math.sqrt(around * (1.0 - around) / (mean.clusters + 4.0)))


def sums_of(inner: Subquery, name: str) -> list[Label[Any]]:
    """
    The columns for `Sums.of`.

    Args:
        inner: a row for each cluster, with `NAME_s` and `NAME_n`.
        name: of what is summed.
    """
    total, count = inner.c[f"{name}_s"], inner.c[f"{name}_n"]
    # As floats: integers would overflow in one database, and come as another type from the other.
    floats: ColumnElement[Any] = count * 1.0
    return [
        func.count(func.nullif(count, 0)).label(f"{name}_clusters"),
        func.sum(floats).label(f"{name}_size"),
        func.sum(total).label(f"{name}_total"),
        func.sum(total * total).label(f"{name}_squares"),
        func.sum(total * floats).label(f"{name}_products"),
        func.sum(floats * floats).label(f"{name}_size_squares"),
    ]


def rating_sums(by: Sequence[ColumnElement[Any]], span: Span, *which: ColumnElement[bool]) -> Select[Any]:
    """
    A row for each group of rated decisions: the group's columns, and `Sums` of `rating` over its conversations.

    Args:
        by: what decisions are grouped by, each with a name.
        span: to look at.
        which: of its decisions to look at; all without it.
    """
    each = rated()
    rows = select(*by, func.sum(each.c.rating).label("rating_s"), func.count().label("rating_n"))
    rows = span.of(rows.join_from(each, decisions, decisions.c.id == each.c.decision_id).where(*which))
    inner = rows.group_by(*by, decisions.c.conversation_hash).subquery()
    names = [inner.c[column.name] for column in by]
    return select(*names, *sums_of(inner, "rating")).group_by(*names)


class Mean(NamedTuple):
    """A mean and how sure it is."""

    value: float | None
    """None of nothing."""
    error: float
    """The standard error; infinite of one cluster."""
    clusters: int
    rows: int

    @property
    def is_enough(self) -> bool:
        """Whether there are enough clusters to believe the interval."""
        return self.clusters >= FEWEST

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95%; None where there is none."""
        if self.value is None or not math.isfinite(self.error):
            return None
        return self.value - Z95 * self.error, self.value + Z95 * self.error

    def less(self, other: Mean) -> Mean:
        """The difference to a mean over other clusters."""
        if self.value is None or other.value is None:
            return NOTHING
        fewer = min(self, other, key=lambda mean: mean.clusters)
        error = math.hypot(self.error, other.error)
        return Mean(self.value - other.value, error, fewer.clusters, min(self.rows, other.rows))

    def more_needed(self, other: Mean) -> int:
        """Roughly how many rated rows more it takes here until a difference of `LEAST` to the other can be told."""
        variances = (each.error**2 * each.rows if each.is_enough else _UNKNOWN_VARIANCE for each in (self, other))
        needed = (Z95 + _Z80) ** 2 * sum(variances) / LEAST**2
        return max(0, math.ceil(needed) - self.rows)


NOTHING = Mean(None, math.inf, 0, 0)
