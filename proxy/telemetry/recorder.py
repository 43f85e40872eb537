"""What happens, counted for Prometheus, logged, and shown to whoever looks on."""

from __future__ import annotations

import logging
from typing import Any

from proxy.telemetry.metrics import TARGET_STATES, UNROUTED, Metrics
from proxy.telemetry.record import Record
from proxy.telemetry.watchers import Watchers

logger = logging.getLogger("pointsman.request")


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
