"""The series of an app in whose shadow something else decides; one without a shadow has none of them."""

from __future__ import annotations

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Summary

ShadowResult = Literal["same", "other", "unknown"]
"""The same model, another one, or it could not tell."""

Chooser = Literal["live", "shadow"]


class ShadowMetrics:
    """What the shadow would have done, beside what was done for the very same requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "pointsman_shadow_decisions",
            "Decisions that the shadow looked at too, by the model that it would have used.",
            ["result"],
            registry=registry,
        )
        self._failures = Counter(
            "pointsman_shadow_failures", "Decisions at which the shadow failed unexpectedly.", registry=registry
        )
        self._cost = Counter(
            "pointsman_shadow_cost_usd",
            "What requests cost, and what their tokens would have cost at the shadow's choice, where both are known.",
            ["choice"],
            registry=registry,
        )
        self._quality = Summary(
            "pointsman_shadow_quality",
            "Quality of the live choice and of the shadow's, 0 to 1, as the policy of either predicts it for both.",
            ["judge", "choice"],
            registry=registry,
        )
        for result in get_args(ShadowResult):
            self._decisions.labels(result)
        for choice in get_args(Chooser):
            self._cost.labels(choice)
            for judge in get_args(Chooser):
                self._quality.labels(judge, choice)

    def decided(self, result: ShadowResult) -> None:
        """One more decision was looked at."""
        self._decisions.labels(result).inc()

    def failed(self) -> None:
        """Something went wrong that should not."""
        self._failures.inc()

    def cost(self, live: float, shadow: float) -> None:
        """What one request cost, and what it would have, in USD."""
        self._cost.labels("live").inc(live)
        self._cost.labels("shadow").inc(shadow)

    def quality(self, judge: Chooser, live: float, shadow: float) -> None:
        """What one policy predicts of both choices for one request."""
        self._quality.labels(judge, "live").observe(live)
        self._quality.labels(judge, "shadow").observe(shadow)
