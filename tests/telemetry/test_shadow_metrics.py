"""The series of an app in whose shadow something decides."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from proxy.telemetry.metrics import exposition
from proxy.telemetry.shadow_metrics import ShadowMetrics
from tests.telemetry.series import series

FRESH = {
    "shadow_failures_total",
    *(f'shadow_decisions_total{{result="{result}"}}' for result in ("same", "other", "unknown")),
    *(f'shadow_cost_usd_total{{choice="{choice}"}}' for choice in ("live", "shadow")),
    *(
        f'shadow_quality_{part}{{choice="{choice}",judge="{judge}"}}'
        for part in ("count", "sum")
        for choice in ("live", "shadow")
        for judge in ("live", "shadow")
    ),
}


def test_every_series_is_there_at_zero_and_counts_what_it_says() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    assert series(exposition(registry, {}).decode()) == dict.fromkeys(FRESH, 0)
    metrics.decided("other")
    metrics.failed()
    metrics.cost(0.5, 0.25)
    metrics.quality("live", 0.75, 0.5)
    told = series(exposition(registry, {}).decode())
    assert {name: value for name, value in told.items() if value} == {
        'shadow_decisions_total{result="other"}': 1,
        "shadow_failures_total": 1,
        'shadow_cost_usd_total{choice="live"}': 0.5,
        'shadow_cost_usd_total{choice="shadow"}': 0.25,
        'shadow_quality_count{choice="live",judge="live"}': 1,
        'shadow_quality_count{choice="shadow",judge="live"}': 1,
        'shadow_quality_sum{choice="live",judge="live"}': 0.75,
        'shadow_quality_sum{choice="shadow",judge="live"}': 0.5,
    }
