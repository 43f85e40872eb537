"""The figures of simulated traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum
from typing import Any

from proxy.simulator.traffic import Asked, Candidate, Traffic


def tally(traffic: Traffic) -> dict[str, Any]:
    """
    The figures of traffic of which something was answered, as JSON-ready values.

    `quality` is the mean chance of a right answer, `right` the share that were; `oracle` is the mean chance of the
    best candidate for each prompt, and `regret` what `quality` is short of it. `best_single` is the candidate with the
    highest mean. A cost that is not known is None.
    """
    asked, candidates = traffic.asked, traffic.candidates
    rated = [each.is_rated for each in asked if each.is_rated is not None]
    return {
        "requests": len(asked) + len(traffic.errors),
        "errors": dict(Counter(traffic.errors).most_common()),
        **_worth(asked),
        "right": _mean([each.is_right for each in asked]),
        "best_single": _best_single(asked, candidates),
        "cost_usd": traffic.cost_usd or None,
        "models": [_of_model(name, asked) for name in _names(asked, candidates)],
        "topics": [_of_topic(topic, asked, candidates) for topic in sorted({each.topic for each in asked})],
        "ratings": {"accepted": sum(rated), "refused": len(rated) - sum(rated)},
    }


def _worth(asked: Sequence[Asked]) -> dict[str, float]:
    quality, oracle = _mean([each.quality for each in asked]), _mean([max(each.compared) for each in asked])
    return {"quality": quality, "oracle": oracle, "regret": oracle - quality}


def _best_single(asked: Sequence[Asked], candidates: Sequence[Candidate]) -> dict[str, Any]:
    means = [_mean([each.compared[place] for each in asked]) for place in range(len(candidates))]
    best = max(range(len(candidates)), key=means.__getitem__)
    return {"model": candidates[best].model, "quality": means[best]}


def _of_model(name: str, asked: Sequence[Asked]) -> dict[str, Any]:
    mine = [each for each in asked if each.model == name]
    quality = _mean([each.quality for each in mine]) if mine else None
    return {"model": name, "requests": len(mine), "share": len(mine) / len(asked), "quality": quality}


def _of_topic(topic: str, asked: Sequence[Asked], candidates: Sequence[Candidate]) -> dict[str, Any]:
    mine = [each for each in asked if each.topic == topic]
    return {"topic": topic, "requests": len(mine), **_worth(mine), "best": _best_single(mine, candidates)["model"]}


def _names(asked: Sequence[Asked], candidates: Sequence[Candidate]) -> list[str]:
    """Of the candidates, in their order, and of what else answered."""
    return list(dict.fromkeys([*(each.model for each in candidates), *(each.model for each in asked)]))


def _mean(values: Sequence[float]) -> float:
    """Of one or more, summed exactly: a figure must not hang on which answer came first."""
    return fsum(values) / len(values)
