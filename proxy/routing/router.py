"""Facts and signals to a decision. Pure: no clock, no I/O, no globals; the same input gives the same answer."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from proxy.config import Config
from proxy.errors import UnknownModel
from proxy.routing.conditions import Condition, Signals, compile_when
from proxy.routing.decision import DEFAULT_ROUTE, PINNED_ROUTE, Decision, Reason, RuleTrace
from proxy.routing.facts import Facts

AUTO = "auto"
"""The requested name that is always routed."""

PIN_HEADER = "x-pointsman-model"


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    model: str
    conditions: tuple[Condition, ...]
    reason: Reason


class Router:
    """The rules of one routes.yaml, ready to decide."""

    def __init__(self, config: Config) -> None:
        self._models = frozenset(config.models)
        self._default = config.default
        self._is_routed = re.compile("|".join(fnmatch.translate(glob) for glob in (AUTO, *config.rewrite))).match
        self._rules = tuple(
            _Rule(route.name, route.use, conditions := compile_when(route.when), _reason(conditions))
            for route in config.routes
        )

    def decide(self, facts: Facts, signals: Signals) -> Decision | None:
        """
        Choose the model for one request.

        Returns:
            The decision; None when it depends on the text and `signals` do not have it yet. Ask again with
            signals that are final: then there always is one.

        Raises:
            UnknownModel: the client asked for a model that is not served here.
        """
        if (pinned := self._pinned(facts)) is not None:
            return Decision(PINNED_ROUTE, pinned, "pinned")
        for rule in self._rules:
            for condition in rule.conditions:
                if condition.needs_text and not signals.is_final:
                    return None
                if not condition.holds(facts, signals):
                    break
            else:
                return Decision(rule.name, rule.model, rule.reason)
        return Decision(DEFAULT_ROUTE, self._default, "overload" if signals.is_overload else "default")

    def explain(self, facts: Facts, signals: Signals) -> list[RuleTrace]:
        """Every route in its order, with why it did or did not apply; `signals` must be final."""
        if self._pinned(facts) is not None:
            return [RuleTrace(rule.name, False, "not looked at: the client named the model") for rule in self._rules]
        traces: list[RuleTrace] = []
        for rule in self._rules:
            failing = next((c for c in rule.conditions if not c.holds(facts, signals)), None)
            if failing is not None:
                traces.append(RuleTrace(rule.name, False, failing.why(facts, signals)))
                continue
            why = "; ".join(c.why(facts, signals) for c in rule.conditions) or "it applies to every request"
            if any(trace.matched for trace in traces):
                traces.append(RuleTrace(rule.name, False, f"would apply, but an earlier route did: {why}"))
            else:
                traces.append(RuleTrace(rule.name, True, why))
        return traces

    def decisions(self) -> set[tuple[str, str, Reason]]:
        """Every route, model and reason that can come out, for metrics that are there from the start."""
        found: set[tuple[str, str, Reason]] = {(rule.name, rule.model, rule.reason) for rule in self._rules}
        found |= {(PINNED_ROUTE, model, "pinned") for model in self._models}
        found.add((DEFAULT_ROUTE, self._default, "default"))
        if any(condition.needs_text for rule in self._rules for condition in rule.conditions):
            found.add((DEFAULT_ROUTE, self._default, "overload"))
        return found

    def _pinned(self, facts: Facts) -> str | None:
        """The model that the client insists on, by header or by a name that is not routed."""
        if (named := facts.headers.get(PIN_HEADER)) is not None:
            if named not in self._models:
                raise UnknownModel(f"Header {PIN_HEADER}: model {named!r} is not served here; see /v1/models.")
            return named
        if self._is_routed(facts.model):
            return None
        if facts.model not in self._models:
            raise UnknownModel(
                f"Model {facts.model!r} is not served here; see /v1/models, or ask for {AUTO!r}.", param="model"
            )
        return facts.model


def _reason(conditions: tuple[Condition, ...]) -> Reason:
    return "topic" if any(condition.needs_text for condition in conditions) else "rule"
