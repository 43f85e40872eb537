"""What `pointsman report` says, as one object for scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from proxy.config import Store
from proxy.learning.archive import Archive
from proxy.learning.arms import MEASURES, Arm, arms
from proxy.learning.asking import Span
from proxy.learning.clusters import LEAST, Mean
from proxy.learning.gain import Gain
from proxy.learning.period import By, Figures, damaged_ratings, figures, percentile, ratings_by
from proxy.learning.shadowed import Shadow, shadow

T = TypeVar("T")

_TOKENS = ("prompt", "cached", "completion", "reasoning")


def report_of(store: Store, by: By, span: Span, order: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """
    The report of a time. Costs are in USD, times in seconds, shares 0 to 1, each `interval` of 95%.

    Args:
        store: to read, on as many connections as there are parts: a database works on several at once.
        by: what decisions are grouped by.
        span: the time.
        order: of a route's arms, as far as it is known.

    Raises:
        StoreUnreadable: the database does not answer.
    """
    heads = ["route", "model"] if by == "route and model" else [by]

    def asked(part: Callable[[Archive], T]) -> T:
        with Archive(store) as archive:
            return part(archive)

    with ThreadPoolExecutor() as pool:
        ratings = pool.submit(asked, lambda archive: ratings_by(archive, by, span))
        of_groups = pool.submit(asked, lambda archive: figures(archive, by, span, ratings.result))
        of_arms = pool.submit(asked, lambda archive: arms(archive, order, span))
        of_shadow = pool.submit(asked, lambda archive: shadow(archive, span))
        damaged = pool.submit(asked, lambda archive: damaged_ratings(archive, span))
        (total, groups), experiments, beside = of_groups.result(), of_arms.result(), of_shadow.result()
    return {
        "first": total.first,
        "last": total.last,
        "by": heads,
        "total": _group(total),
        "groups": [{**dict(zip(heads, key, strict=True)), **_group(group)} for key, group in groups.items()],
        "experiments": {route: _experiment(several) for route, several in experiments.items()},
        "damaged_ratings": damaged.result(),
        "shadow": None if beside is None else _shadow(beside),
    }


def _group(group: Figures) -> dict[str, Any]:
    counts = group.counts
    whole = ("decisions", "errors", "left", "priced", "cut", "bad_tool_calls", "retried")
    return {
        **{name: int(counts[name]) for name in whole},
        "tokens": {kind: int(counts[f"{kind}_tokens"]) for kind in _TOKENS},
        "cost_usd": counts["cost_usd"],
        "baseline_cost_usd": counts["baseline_cost_usd"] if counts["compared"] else None,
        "saved_usd": group.saved_usd,
        "p50_s": percentile(group.seconds, 0.5),
        "p95_s": percentile(group.seconds, 0.95),
        "first_token_p50_s": percentile(group.first_token_s, 0.5),
        "first_token_p95_s": percentile(group.first_token_s, 0.95),
        "rating": {**_mean(group.rating), "rated": group.rating.rows},
    }


def _mean(mean: Mean) -> dict[str, Any]:
    return {"value": mean.value, "interval": mean.interval, "conversations": mean.clusters, "enough": mean.is_enough}


def _experiment(several: list[Arm]) -> list[dict[str, Any]]:
    first = several[0]
    found: list[dict[str, Any]] = []
    for arm in several:
        told: dict[str, Any] = {"arm": arm.name, "decisions": arm.decisions, "conversations": arm.conversations}
        told |= {measure: _mean(arm.means[measure]) for measure in MEASURES}
        if arm is not first:
            less = {measure: arm.means[measure].less(first.means[measure]) for measure in MEASURES}
            told["difference"] = {measure: _mean(each) for measure, each in less.items()}
            one, other = arm.means["rating"], first.means["rating"]
            more = max(one.more_needed(other), other.more_needed(one))
            told["verdict"] = _verdict(less["rating"], more)
            told["more_ratings_needed"] = more
        found.append(told)
    return found


def _verdict(less: Mean, more: int) -> str:
    """What the difference of ratings says, in words; so many more would tell."""
    needed = f"some {more:,} more ratings of each would tell a difference of {LEAST:g}"
    if less.interval is None or not less.is_enough:
        return f"not enough ratings to say; {needed}"
    low, high = less.interval
    if low > 0 or high < 0:
        return f"rated {'better' if low > 0 else 'worse'}, and not by chance"
    return f"no difference in ratings that could not be chance; {needed}" if more else "no difference in ratings"


def _shadow(beside: Shadow) -> dict[str, Any]:
    return {
        "decisions": beside.decisions,
        "agreed": beside.agreed,
        "drawn": beside.drawn,
        "differing": [
            {"route": pair.route, "model": pair.model, "shadow_route": pair.shadow_route,
             "shadow_model": pair.shadow_model, "decisions": pair.decisions}
            for pair in beside.pairs
        ],
        "rating": _gain(beside.rating),
        "cost_usd": _gain(beside.cost_usd),
    }  # fmt: skip


def _gain(gain: Gain) -> dict[str, Any]:
    return {"value": gain.value, "low": gain.low, "high": gain.high, "decisions": gain.rows,
            "effective": gain.effective, "enough": gain.is_enough}  # fmt: skip
