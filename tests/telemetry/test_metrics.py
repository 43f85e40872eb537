"""Which series there are, and the text that Prometheus scrapes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.metrics import (
    CONTENT_TYPE,
    DISCONNECT_PHASES,
    STAGES,
    TOKEN_KINDS,
    Metrics,
    ReloadMetrics,
    ReloadResult,
    exposition,
)
from tests.telemetry.series import counted, samples, series

# Dashboards and alerts read these: a change here is a change for every operator.
SERIES: dict[str, tuple[type, tuple[str, ...]]] = {
    "decisions": (Counter, ("route", "model", "reason")),
    "experiment_decisions": (Counter, ("route", "arm")),
    "decision_seconds": (Histogram, ()),
    "decision_stage_seconds": (Histogram, ("stage",)),
    "requests": (Counter, ("route", "model", "status")),
    "request_seconds": (Histogram, ("route", "model")),
    "first_token_seconds": (Histogram, ("model",)),
    "in_flight": (Gauge, ()),
    "usage": (Counter, ("model",)),
    "tokens": (Counter, ("model", "kind")),
    "cost_usd": (Counter, ("model",)),
    "attempts": (Counter, ("target", "outcome")),
    "fallbacks": (Counter, ("from", "to", "cause")),
    "target_state": (Gauge, ("target",)),
    "target_info": (Gauge, ("model", "target")),
    "overloads": (Counter, ()),
    "baseline_cost_usd": (Counter, ()),
    "client_disconnects": (Counter, ("phase",)),
    "embed_cache": (Counter, ("result",)),
    "embed_queue": (Gauge, ()),
    "fail_open": (Counter, ("cause",)),
    "topic_score": (Histogram, ("topic",)),
    "config_info": (Gauge, ("sha256",)),
    "policy_info": (Gauge, ("version",)),
    "policy_correction": (Gauge, ("region", "model")),
    "build_info": (Gauge, ("version",)),
}


def seeded() -> Metrics:
    metrics = Metrics()
    metrics.seed(
        version="1.2.3",
        config_sha256="abc",
        policy_version="p1",
        decisions=[("code", "large", "topic"), ("default", "small", "default")],
        arms=[("trial", "large"), ("trial", "learned")],
        passed=[("passthrough", "-"), ("passthrough", "small")],
        models=["small", "large"],
        targets=[("small", "sim/a"), ("large", "sim/a"), ("large", "sim/b")],
        topics=["code", "law"],
        fallbacks=[("small", "large")],
        fallback_causes=["failed", "resting"],
        outcomes=["ok", "cut"],
        fail_open_causes=["late", "full"],
    )
    return metrics


def test_the_names_kinds_and_labels() -> None:
    collectors = {
        collector for collector in vars(Metrics()).values() if isinstance(collector, Counter | Gauge | Histogram)
    }
    assert {c._name: (type(c), tuple(c._labelnames)) for c in collectors} == {
        f"pointsman_{name}": kind for name, kind in SERIES.items()
    }


def test_every_series_says_what_it_is() -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(exposition(seeded().registry, {}).decode())
    }
    assert set(families) == {f"pointsman_{name}" for name in SERIES}
    for family in families.values():
        assert family.documentation.endswith(".")


def test_what_is_known_in_advance_is_there_at_zero() -> None:
    found = series(exposition(seeded().registry, {}).decode())
    assert counted(seeded()) == {
        'build_info{version="1.2.3"}': 1,
        'config_info{sha256="abc"}': 1,
        'policy_info{version="p1"}': 1,
        'target_info{model="small",target="sim/a"}': 1,
        'target_info{model="large",target="sim/a"}': 1,
        'target_info{model="large",target="sim/b"}': 1,
    }
    expected = {
        *(f'{name}{{model="{model}",{more}route="{route}"{last}}}'
          for route, model, reason in [("code", "large", "topic"), ("default", "small", "default")]
          for name, more, last in [
              ("decisions_total", f'reason="{reason}",', ""),
              ("requests_total", "", ',status="200"'),
              ("request_seconds_count", "", ""), ("request_seconds_sum", "", ""),
          ]),
        *(f'{name}{{model="{model}",route="passthrough"{last}}}' for model in ("-", "small") for name, last in [
            ("requests_total", ',status="200"'), ("request_seconds_count", ""), ("request_seconds_sum", ""),
        ]),
        *(f'tokens_total{{kind="{kind}",model="{model}"}}' for kind in TOKEN_KINDS for model in ("small", "large")),
        *(f'{name}{{model="{model}"}}' for model in ("small", "large")
          for name in ("usage_total", "cost_usd_total", "first_token_seconds_count", "first_token_seconds_sum")),
        *(f'attempts_total{{outcome="{outcome}",target="sim/{name}"}}' for outcome in ("ok", "cut") for name in "ab"),
        *(f'target_state{{target="sim/{name}"}}' for name in "ab"),
        *(f'target_info{{model="{model}",target="sim/{name}"}}' for model, name in (("small", "a"), ("large", "a"), ("large", "b"))),
        *(f'fallbacks_total{{cause="{cause}",from="small",to="large"}}' for cause in ("failed", "resting")),
        "overloads_total", 'requests_total{model="-",route="-",status="503"}', "baseline_cost_usd_total",
            *(f'experiment_decisions_total{{arm="{arm}",route="trial"}}' for arm in ("large", "learned")),
        *(f'topic_score_{part}{{topic="{topic}"}}' for topic in ("code", "law") for part in ("count", "sum")),
        *(f'decision_stage_seconds_{part}{{stage="{stage}"}}' for stage in STAGES for part in ("count", "sum")),
        *(f'client_disconnects_total{{phase="{phase}"}}' for phase in DISCONNECT_PHASES),
        *(f'embed_cache_total{{result="{result}"}}' for result in ("hit", "miss")),
        *(f'fail_open_total{{cause="{cause}"}}' for cause in ("late", "full")),
        "decision_seconds_count", "decision_seconds_sum", "in_flight", "embed_queue",
        'build_info{version="1.2.3"}', 'config_info{sha256="abc"}', 'policy_info{version="p1"}',
    }  # fmt: skip
    assert set(found) == expected


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        pytest.param("decision_seconds", 0.0001, 0.1, id="decisions"),
        pytest.param("decision_stage_seconds", 0.0001, 0.1, id="stages"),
        pytest.param("request_seconds", 0.01, 120, id="requests"),
        pytest.param("topic_score", 0.1, 1.0, id="scores"),
    ],
)
def test_the_buckets_resolve_what_matters(name: str, least: float, most: float) -> None:
    text = exposition(seeded().registry, {}).decode()
    edges = {float(s.labels["le"]) for s in samples(text) if s.name == f"pointsman_{name}_bucket"}
    assert {least, most, float("inf")} <= edges
    assert len(edges) >= 10


def test_the_text_is_in_the_format_that_its_type_says() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    text = exposition(seeded().registry, {}).decode()
    assert text.endswith("\n")
    assert "# EOF" not in text, "that is OpenMetrics"
    assert "_created" not in text


def test_a_target_that_a_model_no_longer_has_is_not_told_of() -> None:
    metrics = seeded()
    metrics.seed(
        version="1.2.3", config_sha256="def", policy_version="p1", decisions=[], arms=[], passed=[], models=["large"],
        targets=[("large", "sim/b"), ("large", "sim/c")], topics=[], fallbacks=[], fallback_causes=[], outcomes=[],
        fail_open_causes=[],
    )  # fmt: skip
    found = series(exposition(metrics.registry, {}).decode())
    assert {name for name in found if name.startswith("target_info")} == {
        'target_info{model="large",target="sim/b"}',
        'target_info{model="large",target="sim/c"}',
    }


def test_how_the_last_reload_ended_is_told() -> None:
    registry = CollectorRegistry()
    metrics = ReloadMetrics(registry)

    def told() -> float:
        return series(exposition(registry, {}).decode())["config_last_reload_successful"]

    assert told() == 1, "the start is the first one"
    results: tuple[ReloadResult, ...] = ("invalid", "unchanged", "tests_failed", "ok", "error", "invalid", "ok")
    for result in results:
        metrics.count(result)
        assert told() == (result in ("ok", "unchanged"))


def test_corrections_of_another_policy_take_the_place_of_those_before() -> None:
    metrics = Metrics()

    def shown() -> dict[str, float]:
        found = series(exposition(metrics.registry, {}).decode())
        return {name: value for name, value in found.items() if name.startswith("policy_correction")}

    metrics.show_corrections(("small", "large"), [[0.1, 0.0], [-0.2, 0.0]])
    assert shown() == {
        f'policy_correction{{model="{model}",region="{region}"}}': value
        for model, region, value in [("small", 0, 0.1), ("large", 0, 0), ("small", 1, -0.2), ("large", 1, 0)]
    }
    metrics.show_corrections(("large", "coder"), [[0.0, 0.3]])
    assert shown() == {
        'policy_correction{model="large",region="0"}': 0,
        'policy_correction{model="coder",region="0"}': 0.3,
    }
    metrics.show_corrections((), ())
    assert shown() == {}


# In a process of its own, since the prometheus client looks at this variable when it is imported.
_WORKERS = """
import os, pathlib, subprocess, sys
folder = pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
one = "from proxy.telemetry.metrics import Metrics; m = Metrics(); m.requests.labels('r', 'm', '200').inc(2); m.in_flight.inc()"
subprocess.run([sys.executable, "-c", one], check=True)
from proxy.telemetry.metrics import Metrics, exposition
metrics = Metrics()
metrics.requests.labels("r", "m", "200").inc(3)
metrics.in_flight.inc()
metrics.show_corrections(("m",), [[0.2]])
later = "import sys; from proxy.telemetry.metrics import Metrics; Metrics().show_corrections(('m',), [[0.1]]); print(flush=True); sys.stdin.read()"
with subprocess.Popen([sys.executable, "-c", later], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
    other.stdout.readline()
    sys.stdout.write(exposition(metrics.registry).decode())
    other.stdin.close()
"""


def test_workers_are_summed_and_a_dead_ones_gauges_forgotten(tmp_path: Path) -> None:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _WORKERS], env=environ, capture_output=True, text=True, check=True)
    found = series(done.stdout)
    assert found['requests_total{model="m",route="r",status="200"}'] == 5
    assert found["in_flight"] == 1
    assert found['policy_correction{model="m",region="0"}'] == 0.1, "each worker says the same; the latest is right"


_LIVE = """
import sys
from prometheus_client import Gauge
from proxy.telemetry.metrics import Metrics, ReloadMetrics
from proxy.telemetry.store_metrics import StoreMetrics
metrics = Metrics()
for each in (metrics, ReloadMetrics(metrics.registry), StoreMetrics(metrics.registry)):
    for gauge in [one for one in vars(each).values() if isinstance(one, Gauge)]:
        (gauge.labels(*gauge._labelnames) if gauge._labelnames else gauge).set(float(sys.argv[1]))
print(flush=True)
sys.stdin.read()
"""
_TOLD_IN_TURN = (3, 1, 2)
_ALL, _MOST, _LEAST, _LATEST = sum(_TOLD_IN_TURN), max(_TOLD_IN_TURN), min(_TOLD_IN_TURN), _TOLD_IN_TURN[-1]
OF_WORKERS = {
    "in_flight": _ALL,
    "embed_queue": _ALL,
    "store_queue": _ALL,
    'target_state{target="target"}': _MOST,  # one that rests for any of them
    'target_info{model="model",target="target"}': _MOST,
    'config_info{sha256="sha256"}': _MOST,
    'policy_info{version="version"}': _MOST,
    'build_info{version="version"}': _MOST,
    "config_last_reload_successful": _LEAST,  # one that still has an old configuration is enough for an alert
    'policy_correction{model="model",region="region"}': _LATEST,
}


def test_every_gauge_of_several_workers_says_what_an_operator_takes_it_for(tmp_path: Path) -> None:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with ExitStack() as workers:
        for value in _TOLD_IN_TURN:
            command = [sys.executable, "-c", _LIVE, str(value)]
            popen = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            one = workers.enter_context(popen)
            assert one.stdout is not None
            assert one.stdout.readline() == b"\n"
        found = series(exposition(CollectorRegistry(), {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}).decode())
    assert {name: value for name, value in found.items() if value} == OF_WORKERS


def test_a_file_that_a_worker_makes_at_this_moment_fails_no_scrape(tmp_path: Path) -> None:
    """The library's own trips over one that is empty, as each is between being made and getting its size."""
    begun = MmapedDict(str(tmp_path / f"counter_{os.getpid()}.db"))  # type: ignore[no-untyped-call]
    begun.write_value(mmap_key("pointsman_cost_usd", "pointsman_cost_usd_total", ["model"], ["a"], "x"), 2.5, 0.0)  # type: ignore[no-untyped-call]
    begun.close()  # type: ignore[no-untyped-call]
    for name in ("counter_1.db", f"gauge_livesum_{os.getpid()}.db"):
        (tmp_path / name).touch()
    found = series(exposition(CollectorRegistry(), {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}).decode())
    assert found == {'cost_usd_total{model="a"}': 2.5}


def test_a_file_that_is_removed_at_this_moment_fails_no_scrape(tmp_path: Path) -> None:
    """As those of a worker that did not start are."""
    kept, passing = tmp_path / "counter_1.db", [tmp_path / f"counter_{number}.db" for number in range(2, 42)]
    is_over = threading.Event()
    begun = MmapedDict(str(kept))  # type: ignore[no-untyped-call]
    begun.write_value(mmap_key("pointsman_cost_usd", "pointsman_cost_usd_total", ["model"], ["a"], "x"), 2.5, 0.0)  # type: ignore[no-untyped-call]
    begun.close()  # type: ignore[no-untyped-call]

    def come_and_go() -> None:
        while not is_over.is_set():
            for file in passing:
                os.link(kept, file)
            for file in passing:
                file.unlink()

    with ThreadPoolExecutor(1) as pool:
        gone = pool.submit(come_and_go)
        try:
            for _ in range(200):
                found = series(exposition(CollectorRegistry(), {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}).decode())
                assert found['cost_usd_total{model="a"}'] >= 2.5
        finally:
            is_over.set()
        gone.result()
