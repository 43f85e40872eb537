"""What is known of one request when it is over: the source of its metrics and its log line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.telemetry.metrics import TARGET_STATES, UNROUTED, Metrics
from proxy.telemetry.watchers import Watchers

logger = logging.getLogger("pointsman.request")

LONGEST_NAME = 1000
"""Characters of a name that a client chose that are logged and kept in memory; spans have as many."""


@dataclass(slots=True)
class Record:
    """One request. No prompt, no reply, no key; whatever a client can invent stays out of the metrics' labels."""

    id: str
    request_id: str
    path: str
    requested: str = ""
    """The model name that the client asked for, `LONGEST_NAME` of it: it may be as long as a body."""
    is_stream: bool = False
    route: str = UNROUTED
    model: str = UNROUTED
    target: str = ""
    reason: str = ""
    arm: str | None = None
    """Of an experiment, as in the decision."""
    policy: str = ""
    """The version of the policy that had a say; empty where none had."""
    topic: str = ""
    score: float | None = None
    complexity: float | None = None
    status: int = 0
    """0 when the client left before there was one."""
    decided: str = UNROUTED
    """The model that was decided on; `model` is the one that was tried last."""
    outcome: str = ""
    """How the last attempt ended; empty when there was none."""
    attempts_before: Sequence[tuple[str, str]] = ()
    """The attempts before that: the target, and how it ended."""
    fallbacks: Sequence[tuple[str, str, str]] = ()
    """From which model to which, and why."""
    fail_open: str = ""
    phase: str = ""
    """Where the client left; empty when it stayed."""
    stages_s: dict[str, float] = field(default_factory=dict)
    decision_s: float | None = None
    first_token_s: float | None = None
    """Of a stream: what is not streamed comes whole."""
    seconds: float = 0.0
    tokens: dict[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    baseline_cost_usd: float | None = None
    """What the baseline would have cost; None where either cost is not known."""
    error: str = ""
    trace_id: str = ""
    """Empty where there is no trace."""

    def fields(self) -> dict[str, Any]:
        """The log line's fields; what did not happen is left out."""
        found: dict[str, Any] = {"id": self.id}
        if self.request_id != self.id:
            found["request_id"] = self.request_id
        if self.trace_id:
            found["trace_id"] = self.trace_id
        found["path"] = self.path
        for name in (
            "requested",
            "route",
            "model",
            "target",
            "reason",
            "arm",
            "topic",
            "outcome",
            "fail_open",
            "phase",
        ):
            if (value := getattr(self, name)) and value != UNROUTED:
                found[name] = value
        found["status"] = self.status
        if self.attempts_before:
            found["attempts"] = [{"target": target, "outcome": outcome} for target, outcome in self.attempts_before]
        if self.fallbacks:
            found["decided"] = self.decided
        if self.is_stream:
            found["stream"] = True
        for name in ("score", "complexity"):
            if (number := getattr(self, name)) is not None:
                found[name] = round(number, 3)
        for name, seconds in (("decision_ms", self.decision_s), ("first_token_ms", self.first_token_s)):
            if seconds is not None:
                found[name] = round(seconds * 1e3, 3)
        found["seconds"] = round(self.seconds, 4)
        if self.tokens:
            found["tokens"] = self.tokens
        if self.cost_usd is not None:
            found["cost_usd"] = round(self.cost_usd, 8)
        if self.baseline_cost_usd is not None:
            found["baseline_cost_usd"] = round(self.baseline_cost_usd, 8)
        if self.error:
            found["error"] = self.error
        return found


class Recorder:
    """
    Turns records into metrics and log lines.

    The children of labelled series are looked up once and kept: on the path of a request the look-ups would
    cost more than the counting.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.watchers = Watchers()
        self._children: dict[tuple[str, ...], Any] = {}

    def request(self, record: Record) -> None:
        """Count and log one request that is over."""
        metrics = self.metrics
        route, model = record.route, record.model
        if record.reason:
            self._child(metrics.decisions, route, record.decided, record.reason).inc()
        if record.arm is not None:
            self._child(metrics.experiment_decisions, route, record.arm).inc()
        if record.decision_s is not None:
            metrics.decision_seconds.observe(record.decision_s)
            for stage, seconds in record.stages_s.items():
                self._child(metrics.decision_stage_seconds, stage).observe(seconds)
        if record.topic and record.score is not None:
            self._child(metrics.topic_score, record.topic).observe(record.score)
        if record.fail_open:
            self._child(metrics.fail_open, record.fail_open).inc()
        if record.status:
            self._child(metrics.requests, route, model, str(record.status)).inc()
            if route != UNROUTED:  # refused in no time, and many in an overload: nobody would see how long answers take
                self._child(metrics.request_seconds, route, model).observe(record.seconds)
        if record.phase:
            self._child(metrics.client_disconnects, record.phase).inc()
        for target, outcome in record.attempts_before:
            self._child(metrics.attempts, target, outcome).inc()
        for fallback in record.fallbacks:
            self._child(metrics.fallbacks, *fallback).inc()
        if record.outcome:
            self._child(metrics.attempts, record.target, record.outcome).inc()
        if record.first_token_s is not None:
            self._child(metrics.first_token_seconds, model).observe(record.first_token_s)
        if record.tokens:
            self._child(metrics.usage, model).inc()
        for kind, tokens in record.tokens.items():
            if tokens:
                self._child(metrics.tokens, model, kind).inc(tokens)
        if record.cost_usd:
            self._child(metrics.cost, model).inc(record.cost_usd)
        if record.baseline_cost_usd:
            metrics.baseline_cost.inc(record.baseline_cost_usd)
        self.watchers.tell(record)
        if logger.isEnabledFor(logging.INFO):
            logger.info("request", extra={"fields": record.fields()})

    def target_state(self, target: str, state: str) -> None:
        """A target gets requests, is on trial, or rests."""
        self._child(self.metrics.target_state, target).set(TARGET_STATES.index(state))

    def overload(self) -> None:
        """A request was turned away because there were too many."""
        self.metrics.overloads.inc()

    def embed_cache(self, *, hit: bool) -> None:
        """A text was looked up in the embedder's cache."""
        self._child(self.metrics.embed_cache, "hit" if hit else "miss").inc()

    def embed_queue(self, waiting: int) -> None:
        """So many texts now wait for a thread or are in one."""
        self.metrics.embed_queue.set(waiting)

    def _child(self, series: Any, *labels: str) -> Any:
        key = (series._name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = series.labels(*labels)
        return child
