"""A decision in full, for a person: the shape that `/v1/route` and `pointsman explain --json` give."""

from __future__ import annotations

from typing import Any

from proxy.config import Config
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.router import Router
from proxy.routing.signals import Signals


def explain(
    router: Router, config: Config, facts: Facts, signals: Signals, decision: Decision, *, decision_id: str
) -> dict[str, Any]:
    """
    Everything that led to a decision, as JSON-ready values.

    `topic` is null and `topics` empty when no rule asked for the text; `note` then says why, if there is a why.
    Prices are per million tokens, in USD.
    """
    found = signals.topics
    return {
        "id": decision_id,
        "route": decision.route,
        "model": decision.model,
        "reason": decision.reason,
        "topic": None
        if found is None
        else {"name": found.best, "score": round(found.score, 4), "threshold": round(found.threshold, 4)},
        "topics": [] if found is None else [{"name": name, "score": round(score, 4)} for name, score in found.ranked],
        "complexity": None if signals.complexity is None else round(signals.complexity, 4),
        "note": signals.missing,
        "block": None
        if decision.block is None
        else {"status": decision.block.status, "message": decision.block.message},
        "tokens": facts.tokens,
        "candidates": _candidates(router, config, facts, decision),
        "rules": [
            {"route": trace.route, "matched": trace.matched, "why": trace.why}
            for trace in router.explain(facts, signals)
        ],
    }


def _candidates(router: Router, config: Config, facts: Facts, decision: Decision) -> list[dict[str, Any]]:
    """Every model, the chosen one first: why it cannot serve this request if it cannot, its price and targets."""
    excluded = router.candidates(facts)
    names = dict.fromkeys(name for name in (decision.model, *excluded) if name in excluded)
    found = []
    for name in names:
        price = config.models[name].price
        found.append(
            {
                "model": name,
                "excluded": excluded[name],
                "price": None if price is None else {"input": price.input, "output": price.output},
                "targets": [f"{target.upstream}/{target.name}" for target in config.models[name].all_targets],
            }
        )
    return found
