"""The series of an app that keeps decisions."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from proxy.telemetry.metrics import exposition
from proxy.telemetry.store_metrics import StoreMetrics
from tests.telemetry.series import series

FRESH = {
    "store_queue",
    'store_writes_total{result="ok"}',
    'store_writes_total{result="failed"}',
    'store_dropped_total{cause="full"}',
    'store_dropped_total{cause="refused"}',
    'store_dropped_total{cause="shutdown"}',
    'feedback_total{model="large",rating="down",route="code"}',
    'feedback_total{model="large",rating="neutral",route="code"}',
    'feedback_total{model="large",rating="up",route="code"}',
}


def test_every_series_that_is_known_is_there_at_zero() -> None:
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry)
    metrics.seed([("code", "large")])
    assert series(exposition(registry, {}).decode()) == dict.fromkeys(FRESH, 0)


def test_what_counts_where() -> None:
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry)
    metrics.dropped("full", 3)
    metrics.rated("code", "large", "up")
    told = series(exposition(registry, {}).decode())
    assert {name: value for name, value in told.items() if value} == {
        'store_dropped_total{cause="full"}': 3,
        'feedback_total{model="large",rating="up",route="code"}': 1,
    }
