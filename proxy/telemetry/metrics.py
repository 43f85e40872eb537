"""Every series this proxy exports; dashboards and alerts read these names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

UNROUTED = "-"
"""The label for a request that was answered before a route or model was known; no name can be this."""

# Seconds. A decision without embedding takes tens of microseconds, one with some milliseconds.
_DECISION_BUCKETS = (
    0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25,
)  # fmt: skip
_REQUEST_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)
_SCORE_BUCKETS = tuple(round(0.1 * step, 1) for step in range(1, 11))

STAGES = ("read", "embed", "decide")
TARGET_STATES = ("closed", "half_open", "open")
"""In the order of the values of `pointsman_target_state`."""
TOKEN_KINDS = ("prompt", "cached", "cache_write", "completion", "reasoning")
DISCONNECT_PHASES = ("body", "decision", "upstream", "answer")


class Metrics:
    """
    The series, in a registry of their own so that several apps can live in one process.

    Labels come from routes.yaml and closed sets, never from a request: a client can invent a million model names.
    Every series that is known in advance is there at zero from the start, since a rate over a series that was
    born with its first error misses that error.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()

        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which no question here needs

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pointsman_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"pointsman_{name}", text, labels, buckets=buckets, registry=registry)

        def gauge(name: str, text: str, mode: str, *labels: str) -> Gauge:
            return Gauge(f"pointsman_{name}", text, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        self.registry = registry
        self.decisions = counter("decisions", "Decisions, by what was decided and why.", "route", "model", "reason")
        self.experiment_decisions = counter(
            "experiment_decisions", "Decisions of routes that split their requests, by the arm drawn.", "route", "arm"
        )
        self.decision_seconds = histogram(
            "decision_seconds", "From the whole body to the decision, embedding included.", _DECISION_BUCKETS
        )
        self.decision_stage_seconds = histogram(
            "decision_stage_seconds", "The parts of a decision: read, embed, decide.", _DECISION_BUCKETS, "stage"
        )
        self.requests = counter("requests", "Requests answered, by the status sent.", "route", "model", "status")
        self.request_seconds = histogram(
            "request_seconds", "From a routed request's head to its answer's last byte.", _REQUEST_BUCKETS,
            "route", "model",
        )  # fmt: skip
        self.first_token_seconds = histogram(
            "first_token_seconds",
            "Of streams, from the request to an upstream to its first content.",
            _REQUEST_BUCKETS,
            "model",
        )
        self.in_flight = gauge("in_flight", "Requests being answered now.", "livesum")
        self.usage = counter("usage", "Answers to POST whose tokens upstreams told.", "model")
        self.tokens = counter("tokens", "Tokens of what was asked by POST, as upstreams counted them.", "model", "kind")
        self.cost = counter("cost_usd", "What the tokens cost at the prices in routes.yaml, in USD.", "model")
        self.baseline_cost = counter(
            "baseline_cost_usd",
            "What the tokens of requests with a known cost would have cost at the prices of `baseline`, in USD.",
        )
        self.attempts = counter("attempts", "Tries of a target, by how they ended.", "target", "outcome")
        self.fallbacks = counter(
            "fallbacks",
            "Requests that went on to another model, by why the one before did not do.",
            "from",
            "to",
            "cause",
        )
        self.target_state = gauge(
            "target_state", "0 for a target that gets requests, 1 for one on trial, 2 for one that rests.", "livemax",
            "target",
        )  # fmt: skip
        self.target_info = gauge(
            "target_info", "1 for each target of each model in the configuration in use.", "livemax", "model", "target"
        )
        self._served: frozenset[tuple[str, str]] = frozenset()
        self.overloads = counter("overloads", "Requests turned away because there were too many.")
        self.client_disconnects = counter(
            "client_disconnects", "Clients that left before their answer was complete.", "phase"
        )
        self.embed_cache = counter("embed_cache", "Look-ups of a text's vector.", "result")
        self.embed_queue = gauge("embed_queue", "Texts that wait for a thread or are in one.", "livesum")
        self.fail_open = counter("fail_open", "Requests decided without their text, by why.", "cause")
        self.topic_score = histogram(
            "topic_score", "The score of the best topic of a text, 0 to 1.", _SCORE_BUCKETS, "topic"
        )
        self.config_info = gauge(
            "config_info",
            "1 for the configuration in use, by a hash of what routes.yaml says, without its policy and its shadow.",
            "livemax", "sha256",
        )  # fmt: skip
        self.policy_info = gauge(
            "policy_info", "1 for the policy in use; version none without one.", "livemax", "version"
        )
        self.policy_correction = gauge(
            "policy_correction",
            "What feedback adds to the quality that the policy predicts, in regions of texts; used in mode apply.",
            "livemostrecent", "region", "model",
        )  # fmt: skip
        self._corrected: frozenset[tuple[str, str]] = frozenset()
        self.build_info = gauge("build_info", "1 for the version that runs.", "livemax", "version")

    def forget_config(self, sha256: str) -> None:
        """This configuration is no longer the one in use."""
        self._forget(self.config_info, sha256)

    def forget_policy(self, version: str) -> None:
        """This policy is no longer the one in use."""
        self._forget(self.policy_info, version)

    def show_corrections(self, models: Sequence[str], corrections: Sequence[Sequence[float]]) -> None:
        """
        These are the corrections now, and those of before that are not among them are none any more.

        Args:
            models: of routes.yaml, those that the policy knows.
            corrections: for each region those of these models.
        """
        found = {
            (str(region), model): value
            for region, row in enumerate(corrections)
            for model, value in zip(models, row, strict=True)
        }
        for labels, value in found.items():
            self.policy_correction.labels(*labels).set(value)
        for labels in self._corrected - found.keys():
            self._forget(self.policy_correction, *labels)
        self._corrected = frozenset(found)

    @staticmethod
    def _forget(gauge: Gauge, *labels: str) -> None:
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # The client cannot remove a series from the workers' shared files. The highest of all or the latest is
            # shown, so 0 is what remains once the last worker has let go.
            gauge.labels(*labels).set(0)
        else:
            gauge.remove(*labels)

    def seed(
        self,
        *,
        version: str,
        config_sha256: str,
        policy_version: str,
        decisions: Iterable[tuple[str, str, str]],
        arms: Iterable[tuple[str, str]],
        passed: Iterable[tuple[str, str]],
        models: Iterable[str],
        targets: Iterable[tuple[str, str]],
        topics: Iterable[str],
        fallbacks: Iterable[tuple[str, str]],
        fallback_causes: Iterable[str],
        outcomes: Iterable[str],
        fail_open_causes: Iterable[str],
    ) -> None:
        """
        Bring every series that is known in advance into being, at zero.

        Args:
            decisions: route, model and reason of each that can come out.
            arms: route and arm of each experiment.
            passed: what stands for the route, and the model, of requests that no decision is made for.
            targets: each model with each of its targets.
        """
        self.build_info.labels(version).set(1)
        self.config_info.labels(config_sha256).set(1)
        self.policy_info.labels(policy_version).set(1)
        for route, model, reason in decisions:
            self.decisions.labels(route, model, reason)
            self._seed_requests(route, model)
        for route, arm in arms:
            self.experiment_decisions.labels(route, arm)
        for route, model in passed:
            self._seed_requests(route, model)
        self.requests.labels(UNROUTED, UNROUTED, "503")  # of those turned away
        for model in models:
            self.first_token_seconds.labels(model)
            self.cost.labels(model)
            self.usage.labels(model)
            for kind in TOKEN_KINDS:
                self.tokens.labels(model, kind)
        outcome_names = tuple(outcomes)
        served = frozenset(targets)
        for model, target in served:
            self.target_info.labels(model, target).set(1)
            self.target_state.labels(target)
            for outcome in outcome_names:
                self.attempts.labels(target, outcome)
        for model, target in self._served - served:
            self._forget(self.target_info, model, target)
        self._served = served
        causes = tuple(fallback_causes)
        for before, after in fallbacks:
            for cause in causes:
                self.fallbacks.labels(before, after, cause)
        for topic in topics:
            self.topic_score.labels(topic)
        for stage in STAGES:
            self.decision_stage_seconds.labels(stage)
        for phase in DISCONNECT_PHASES:
            self.client_disconnects.labels(phase)
        for result in ("hit", "miss"):
            self.embed_cache.labels(result)
        for cause in fail_open_causes:
            self.fail_open.labels(cause)

    def _seed_requests(self, route: str, model: str) -> None:
        self.requests.labels(route, model, "200")
        self.request_seconds.labels(route, model)


ReloadResult = Literal["ok", "invalid", "tests_failed", "error", "unchanged"]
RELOAD_RESULTS: tuple[ReloadResult, ...] = get_args(ReloadResult)


class ReloadMetrics:
    """The series of an app that watches a file; one without a file has nothing to reload, and none of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.config_reloads = Counter(
            "pointsman_config_reloads",
            "Reloads of routes.yaml tried, by how they ended.",
            ["result"],
            registry=registry,
        )
        for result in RELOAD_RESULTS:
            self.config_reloads.labels(result)
        # Two counters cannot tell which of them grew last.
        self.config_last_reload_successful = Gauge(
            "pointsman_config_last_reload_successful",
            "1 while the configuration in use is that of the files, 0 while they were refused or the policy's is gone.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.config_last_reload_successful.set(1)

    def count(self, result: ReloadResult, *, stands_in: bool = False) -> None:
        """One more ended so; `stands_in` with a policy whose file is gone, without which a new process would start."""
        self.config_reloads.labels(result).inc()
        self.config_last_reload_successful.set(result in ("ok", "unchanged") and not stands_in)


def exposition(registry: CollectorRegistry, environ: Mapping[str, str] = os.environ) -> bytes:
    """The text that Prometheus scrapes: this process's series, or with several workers the sum over all of them."""
    if folder := environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _forget_dead_workers(Path(folder))
        registry = CollectorRegistry()
        registry.register(_AllWorkers(Path(folder)))
    return generate_latest(registry)


class _AllWorkers(Collector):
    """The library's own, but for files that are made or removed at this moment: it fails on those empty or gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """The sums over all files."""
        while True:
            files = [str(file) for file in self._folder.glob("*.db") if _is_begun(file)]
            try:
                found: Iterable[Metric] = multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
            except FileNotFoundError:  # of a worker that did not start
                continue
            return found


def _is_begun(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # of a worker that is gone
        return False


def _forget_dead_workers(folder: Path) -> None:
    """Drop the live gauges of workers that are gone; their counters stay, since what was counted has happened."""
    for pid in {int(file.stem.rsplit("_", 1)[1]) for file in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # alive, and somebody else's by now
