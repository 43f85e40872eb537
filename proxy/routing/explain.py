"""A decision in full, for a person: the shape that `/v1/route` and `pointsman explain --json` give."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.config import Config, named_by
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.routing.topics import TopicScores


def explain(
    router: Router, config: Config, facts: Facts, signals: Signals, decision: Decision, *, decision_id: str
) -> dict[str, Any]:
    """
    Everything that led to a decision, as JSON-ready values.

    `topic` is null and `topics` empty when no rule asked for the text; `note` then says why, if there is a why, and
    where a policy is missing. `quality`, `cost_usd` and `score` are there where a policy chose.
    Prices are per million tokens, in USD.
    """
    found = signals.topics
    uses = {route.name: named_by(route.use) for route in config.routes}
    return {
        "id": decision_id,
        "route": decision.route,
        "model": decision.model,
        "reason": decision.reason,
        "arm": decision.arm,
        "topic": None
        if found is None
        else {"name": found.best, "score": round(found.score, 4), "threshold": round(found.threshold, 4)},
        "topics": [] if found is None else _topics(found),
        "complexity": None if signals.complexity is None else round(signals.complexity, 4),
        "note": _note(router, decision, signals),
        "block": None
        if decision.block is None
        else {"status": decision.block.status, "message": decision.block.message},
        "tokens": facts.tokens,
        "candidates": _candidates(router, config, facts, decision),
        "rules": [
            {
                "route": trace.route,
                "matched": trace.matched,
                "why": trace.why,
                "models": list(uses[trace.route]),
            }
            for trace in router.explain(facts, signals)
        ],
    }


def _topics(found: TopicScores) -> list[dict[str, Any]]:
    thresholds = dict(zip(found.names, found.thresholds, strict=True))
    return [
        {"name": name, "score": round(score, 4), "threshold": round(thresholds[name], 4)}
        for name, score in found.ranked
    ]


def _note(router: Router, decision: Decision, signals: Signals) -> str | None:
    """Why there is nothing to see where one would look for it."""
    if signals.missing is None and router.waits_for_policy(decision.route):
        return "there is no policy yet, so this route takes the first of its models; 'pointsman train' makes one"
    return signals.missing


def _candidates(router: Router, config: Config, facts: Facts, decision: Decision) -> list[dict[str, Any]]:
    """Every model, the chosen one first: why it cannot serve this, what the policy thinks of it, price and targets."""
    excluded = router.candidates(facts)
    learned = {candidate.model: candidate for candidate in decision.candidates}
    names = dict.fromkeys(name for name in (decision.model, *excluded) if name in excluded)
    found = []
    for name in names:
        price = config.models[name].price
        seen = learned.get(name)
        found.append(
            {
                "model": name,
                "excluded": excluded[name],
                "quality": None if seen is None else round(seen.quality, 6),
                "correction": None if seen is None else round(seen.correction, 4),
                "cost_usd": None if seen is None or seen.cost_usd is None else round(seen.cost_usd, 8),
                "score": None if seen is None else round(seen.score, 6),
                "price": None if price is None else msgspec.to_builtins(price),
                "targets": [f"{target.upstream}/{target.name}" for target in config.models[name].all_targets],
            }
        )
    return found
