"""What happened in a time: decisions, errors, tokens, money, ratings, latency; summed up where the rows are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from sqlalchemy import CTE, ColumnElement, FromClause, Select, case, func, select

from proxy.learning.archive import Archive
from proxy.learning.asking import Span, is_failure, is_sound_rating, one_if
from proxy.learning.clusters import NOTHING, Mean, Sums, rating_sums
from proxy.learning.tables import decisions, feedback
from proxy.routing.arrays import Floats

By = Literal["route and model", "route", "model", "day"]
Key = tuple[str, ...]

DAY_S = 86_400.0
_NONE: Floats = np.empty(0)


@dataclass
class Figures:
    """Of one group of decisions."""

    counts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By the names in `_sums`; `retried` after an answer, and `again_usd`, what the baseline of retries would cost."""
    seconds: Floats = field(default_factory=lambda: _NONE)
    """(decisions,)."""
    first_token_s: Floats = field(default_factory=lambda: _NONE)
    """(those that had a first content,)."""
    rating: Mean = NOTHING
    first: float | None = None
    """When the first of them was made, in seconds since 1970."""
    last: float | None = None

    @property
    def saved_usd(self) -> float | None:
        """
        What the baseline would have cost more; None where it is not known.

        Of a question that was answered and asked again the baseline's cost counts once: it would have been asked once.
        So what asking again costs is taken off.
        """
        if not self.counts["compared"]:
            return None
        return self.counts["baseline_cost_usd"] - self.counts["again_usd"] - self.counts["compared_cost_usd"]


def merged(several: list[Figures]) -> Figures:
    """Of all of them together; their ratings cannot be told from those of the parts."""
    found = Figures()
    for one in several:
        for name, value in one.counts.items():
            found.counts[name] += value
    found.first = min((one.first for one in several if one.first is not None), default=None)
    found.last = max((one.last for one in several if one.last is not None), default=None)
    found.seconds = np.concatenate([_NONE, *(one.seconds for one in several)])
    found.first_token_s = np.concatenate([_NONE, *(one.first_token_s for one in several)])
    return found


def figures(
    archive: Archive, by: By, span: Span, ratings: Callable[[], Mapping[Key, Sums]]
) -> tuple[Figures, dict[Key, Figures]]:
    """
    The figures of all decisions, and of each group of them: days in their order, else the largest first.

    Args:
        archive: open.
        by: how they are grouped.
        span: to look at.
        ratings: gives what `ratings_by` found for the same; asked for last, so that it may be found meanwhile.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    parts: defaultdict[Key, list[Figures]] = defaultdict(list)
    for route, answered, day, piece in _pieces(archive, by, span):
        if (one := _figures_of(archive, piece, route, answered)).counts["decisions"]:
            parts[_key(by, route, answered, day)].append(one)
    found = {key: merged(several) for key, several in parts.items()}
    for before, after, times, usd in _retried(archive, by, span):
        if before in found:
            found[before].counts["retried"] += times
        if after in found:
            found[after].counts["again_usd"] += usd
    total = merged(list(found.values()))
    # A conversation that is in two groups counts as two for the total: to gather it again takes as long as all else.
    rated_by = ratings()
    for key in found.keys() & rated_by.keys():
        found[key].rating = rated_by[key].share
    if rated_by:
        total.rating = Sums(*map(sum, zip(*rated_by.values(), strict=True))).share
    if by == "day":
        return total, dict(sorted(found.items()))
    return total, dict(sorted(found.items(), key=lambda item: (-item[1].counts["decisions"], item[0])))


def percentile(values: Floats, share: float) -> float | None:
    """The value below which such a share of them is; None of nothing."""
    if not len(values):
        return None
    place = min(int(share * len(values)), len(values) - 1)
    return float(np.partition(values, place)[place])


def _pieces(archive: Archive, by: By, span: Span) -> Iterator[tuple[str, str, int, Span]]:
    columns = decisions.c
    pieces: Select[Any] = select(columns.route, columns.answered).group_by(columns.route, columns.answered)
    for route, answered in map(tuple, archive.ask(pieces)):
        if by != "day":
            yield route, answered, 0, span
            continue
        # Those days that there are: a clock that began in 1970 leaves many out.
        rest = span
        while (first := _first(archive, rest, route, answered)) is not None and math.isfinite(first):
            day = int(first // DAY_S)
            until = max((day + 1) * DAY_S, math.nextafter(first, math.inf))
            yield route, answered, day, Span(first, until if span.until is None else min(until, span.until))
            rest = Span(until, span.until)


def _first(archive: Archive, span: Span, route: str, answered: str) -> float | None:
    """When the first of a piece was made."""
    ((first,),) = archive.ask(span.in_piece(select(func.min(decisions.c.time)), route, answered))
    return archive.number(first)


def _key(by: By, route: str, answered: str, day: float) -> Key:
    if by == "day":
        return (_date(day),)
    return {"route": (route,), "model": (answered,)}.get(by, (route, answered))


def _date(day: float) -> str:
    """Of UTC; of a clock that was out of order the days since 1970."""
    try:
        return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return f"{day:g} days"


def _figures_of(archive: Archive, span: Span, route: str, answered: str) -> Figures:
    columns = decisions.c
    ends = func.min(columns.time).label("first"), func.max(columns.time).label("last")
    (row,) = archive.ask(span.in_piece(select(*_sums(), *ends), route, answered))
    found = Figures(first=archive.number(row.first), last=archive.number(row.last))
    for name, value in row._mapping.items():
        found.counts[name] = float(value or 0)
    values = archive.numbers(
        span.in_piece(select(columns.seconds, func.coalesce(columns.first_token_s, -1.0)), route, answered)
    )
    found.seconds, found.first_token_s = values[:, 0], values[values[:, 1] >= 0.0, 1]
    return found


def _sums() -> list[ColumnElement[Any]]:
    columns = decisions.c
    is_compared = _is_compared()
    made = {
        "decisions": func.count(),
        "errors": func.sum(one_if(is_failure())),
        "left": func.sum(one_if(columns.outcome == "client_left")),
        "priced": func.count(columns.cost_usd),
        "cost_usd": func.sum(columns.cost_usd),
        "compared": func.sum(one_if(is_compared)),
        "compared_cost_usd": func.sum(case((is_compared, columns.cost_usd))),
        "baseline_cost_usd": func.sum(case((is_compared, columns.baseline_cost_usd))),
        "cut": func.sum(one_if(columns.is_cut)),
        "bad_tool_calls": func.sum(one_if(columns.bad_tool_calls > 0)),
    }
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    made |= {name: func.sum(columns[name]) for name in tokens}
    return [expression.label(name) for name, expression in made.items()]


def _is_compared() -> ColumnElement[bool]:
    """Whether of decisions both costs are known, their own and the baseline's."""
    return decisions.c.baseline_cost_usd.is_not(None) & decisions.c.cost_usd.is_not(None)


def _columns(by: By, rows: FromClause = decisions) -> list[ColumnElement[Any]]:
    columns = rows.c
    if by == "day":
        # Not a cast: one database rounds there and the other cuts off. And a half is rounded in two ways.
        return [func.round(columns.time / DAY_S - (0.5 - 1e-9)).label("day")]
    chosen: dict[By, list[ColumnElement[Any]]] = {
        "route": [columns.route],
        "model": [columns.answered],
        "route and model": [columns.route, columns.answered],
    }
    return chosen[by]


def _row_key(by: By, row: Sequence[Any]) -> Key:
    return _key(by, "", "", float(row[0])) if by == "day" else tuple(row[: len(_columns(by))])


def _retried(archive: Archive, by: By, span: Span) -> list[tuple[Key, Key, int, float]]:
    """
    How often the same was asked again, by the groups of the answer before and of the one after; and what the baseline
    would have cost for those after, where it is counted before as well. Where that had no cost, it failed, and what
    counts is the last one before it that had; without any the baseline is owed for the one that answered.
    """
    again = _again()
    columns = [*_columns(by), *(one.label(f"again_{one.name}") for one in _columns(by, again))]
    is_twice = _is_compared() & again.c.is_compared
    if span.until is not None:
        is_twice &= again.c.time < span.until
    times = func.sum(one_if(again.c.retry_of == decisions.c.id)).label("times")
    usd = func.sum(case((is_twice, again.c.baseline_cost_usd), else_=0.0)).label("usd")
    query: Select[Any] = select(*columns, times, usd).join_from(
        again, decisions, decisions.c.id == again.c.asked_before
    )
    query = span.of(query).group_by(*columns)
    half = len(columns) // 2
    rows = [tuple(row) for row in archive.ask(query)]
    return [(_row_key(by, row), _row_key(by, row[half:]), row[-2], row[-1]) for row in rows]


def damaged_ratings(archive: Archive, span: Span) -> int:
    """
    How many of what stands for ratings of a time's decisions are none, and in no figure.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    of_decisions = select(func.count()).select_from(feedback).join(decisions, decisions.c.id == feedback.c.decision_id)
    ((count,),) = archive.ask(span.of(of_decisions.where(~is_sound_rating())))
    return int(count)


def _again() -> CTE:
    """
    Each decision that asked the same again, with the one before it; and where its costs are known, with those before
    that, back to the last whose costs are known as well.

    It is not asked for its id, which is not in the index for reports: SQLite would read every row of the table for it.
    """
    columns = decisions.c
    own = [columns.retry_of, columns.route, columns.answered, columns.time, columns.baseline_cost_usd]
    first = select(*own, _is_compared().label("is_compared"), columns.retry_of.label("asked_before"))
    found = first.where(columns.retry_of.is_not(None)).cte("again", recursive=True)
    *kept, asked_before = found.c
    before = select(*kept, columns.retry_of).join(decisions, columns.id == asked_before)
    # Without doubles, so that it ends even where a damaged store has each of two asked after the other.
    return found.union(before.where(found.c.is_compared, ~_is_compared(), columns.retry_of.is_not(None)))


def ratings_by(archive: Archive, by: By, span: Span) -> dict[Key, Sums]:
    """
    What the ratings of each group of decisions sum up to; half of a report's time, where many are rated.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    return {_row_key(by, row): Sums.of(row, "rating") for row in archive.ask(rating_sums(_columns(by), span))}
