"""A decision in full, for a person: the shape that `/v1/route` and `pointsman explain --json` give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proxy.config import Config
from proxy.routing.conditions import Signals
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.router import Router


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
        "note": signals.missing,
        "tokens": facts.tokens,
        "candidates": [_candidate(config, name) for name in _candidates(config, decision)],
        "rules": [
            {"route": trace.route, "matched": trace.matched, "why": trace.why}
            for trace in router.explain(facts, signals)
        ],
    }


def _candidates(config: Config, decision: Decision) -> Iterable[str]:
    """The chosen model first, then the others that this file could have chosen."""
    others = dict.fromkeys([*(route.use for route in config.routes), config.default])
    return dict.fromkeys([decision.model, *others])


def _candidate(config: Config, name: str) -> dict[str, Any]:
    price = config.models[name].price
    return {
        "model": name,
        "price": None if price is None else {"input": price.input, "output": price.output},
        "targets": [f"{target.upstream}/{target.name}" for target in config.models[name].all_targets],
    }
