"""The series of an app that keeps decisions; one without a store has none of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

DropCause = Literal["full", "refused", "shutdown"]
"""The queue was full, the store did not take the row, or did not take it before the end."""

RatingKind = Literal["down", "neutral", "up"]


class StoreMetrics:
    """What became of rows and ratings."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue = Gauge(
            "pointsman_store_queue",
            "Decisions that wait to be written.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.writes = Counter(
            "pointsman_store_writes",
            "Batches that were written, and tries that failed.",
            ["result"],
            registry=registry,
        )
        self._dropped = Counter(
            "pointsman_store_dropped",
            "Decisions that were not kept, by why.",
            ["cause"],
            registry=registry,
        )
        self._feedback = Counter(
            "pointsman_feedback",
            "Ratings of decisions, by the model that answered; the same one again does not count.",
            ["route", "model", "rating"],
            registry=registry,
        )
        for result in ("ok", "failed"):
            self.writes.labels(result)
        for cause in get_args(DropCause):
            self._dropped.labels(cause)

    def seed(self, ways: Iterable[tuple[str, str]]) -> None:
        """Bring the series of ratings into being, for each route and model of a configuration."""
        for route, model in ways:
            for rating in get_args(RatingKind):
                self._feedback.labels(route, model, rating)

    def dropped(self, cause: DropCause, rows: int) -> None:
        """So many decisions are not kept."""
        self._dropped.labels(cause).inc(rows)

    def rated(self, route: str, model: str, rating: RatingKind) -> None:
        """A decision was rated, `up`, `down` or `neutral`."""
        self._feedback.labels(route, model, rating).inc()
