"""What an operator asks: is it alive, is it ready, what has it done?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import __version__
from proxy.embedding.pool import FAIL_OPEN_CAUSES
from proxy.relay.reply import OUTCOMES
from proxy.reload.prepare import fingerprint
from proxy.routing.router import Router
from proxy.telemetry.metrics import DISCONNECT_PHASES, STAGES, TOKEN_KINDS
from tests.endpoints.deciding import deciding
from tests.relay.wire import House, config_of
from tests.relay.wire import house as open_house
from tests.telemetry.series import series

SMALL = """
version: 1
upstreams: {here: {base_url: "${SIM}/v1"}}
models:
  small: {target: {upstream: here, name: gpt-4o-mini}, price: {input: 1, output: 2}}
  large: {target: {upstream: here, name: "gpt 4o"}}
default: small
topics:
  code: {examples: [fix the bug in my code, write code for a loop]}
  law: {examples: [draft a contract, is the clause valid]}
routes:
  - {name: urgent, when: {header: {x-priority: high}}, use: large}
  - {name: code, when: {topic: code}, use: large}
  - {name: law, when: {topic: law, tokens: {max: 99}}, use: small}
"""


@pytest.fixture(scope="module")
def fresh() -> Iterator[House]:
    """A house that nobody asks for a completion."""
    with open_house(SMALL) as house:
        yield house


def test_health(fresh: House) -> None:
    answer = fresh.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"


def test_ready(fresh: House) -> None:
    answer = fresh.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "models": 2, "routes": 3, "policy": None},
    )


def test_metrics_are_prometheus_text(fresh: House) -> None:
    answer = fresh.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)
    # An Accept for another format gets this one, which every Prometheus reads.
    wanting = fresh.http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert wanting.headers["content-type"] == answer.headers["content-type"]


def test_every_known_series_is_there_at_zero_from_the_start(fresh: House) -> None:
    config = config_of(SMALL, SIM=fresh.url)  # the address changes the fingerprint and nothing else here
    decisions = Router(config).possible.decisions
    assert decisions == {
        ("urgent", "large", "rule"), ("code", "large", "topic"), ("law", "small", "topic"), ("pinned", "small", "pinned"),
        ("pinned", "large", "pinned"), ("default", "small", "default"), ("default", "small", "overload"),
        ("pinned", "small", "conversation"), ("pinned", "large", "conversation"), ("code", "large", "conversation"),
        ("law", "small", "conversation"), ("default", "small", "conversation"),
    }  # fmt: skip
    found = series(fresh.http.get("/metrics").text)
    config_info = [name for name in found if name.startswith("config_info")]
    assert len(config_info) == 1
    assert fingerprint(config) not in config_info[0]
    served = {
        'target_info{model="small",target="here/gpt-4o-mini"}',
        'target_info{model="large",target="here/gpt 4o"}',
    }
    assert {name for name, value in found.items() if value} == served | {
        f'build_info{{version="{__version__}"}}',
        'policy_info{version="none"}',
        *config_info,
    }
    targets = ["here/gpt-4o-mini", "here/gpt 4o"]
    taken = {(route, model) for route, model, _ in decisions} | {
        ("passthrough", name) for name in ("-", *config.models)
    }
    assert set(found) == served | {
        *(f'decisions_total{{model="{model}",reason="{reason}",route="{route}"}}' for route, model, reason in decisions),
        *(f'requests_total{{model="{model}",route="{route}",status="200"}}' for route, model in taken),
        *(f'request_seconds_{part}{{model="{model}",route="{route}"}}' for route, model in taken for part in ("count", "sum")),
        *(f'{name}{{model="{model}"}}' for model in config.models
          for name in ("first_token_seconds_count", "first_token_seconds_sum", "usage_total", "cost_usd_total")),
        *(f'tokens_total{{kind="{kind}",model="{model}"}}' for model in config.models for kind in TOKEN_KINDS),
        *(f'attempts_total{{outcome="{outcome}",target="{target}"}}' for target in targets for outcome in OUTCOMES),
        *(f'target_state{{target="{target}"}}' for target in targets),
        "overloads_total", 'requests_total{model="-",route="-",status="503"}', "baseline_cost_usd_total",
        *(f'topic_score_{part}{{topic="{topic}"}}' for topic in ("code", "law") for part in ("count", "sum")),
        *(f'decision_stage_seconds_{part}{{stage="{stage}"}}' for stage in STAGES for part in ("count", "sum")),
        *(f'client_disconnects_total{{phase="{phase}"}}' for phase in DISCONNECT_PHASES),
        *(f'fail_open_total{{cause="{cause}"}}' for cause in FAIL_OPEN_CAUSES),
        'embed_cache_total{result="hit"}', 'embed_cache_total{result="miss"}',
        "decision_seconds_count", "decision_seconds_sum", "in_flight", "embed_queue",
        f'build_info{{version="{__version__}"}}', 'policy_info{version="none"}', *config_info,
    }  # fmt: skip


def test_looking_counts_nothing_but_the_texts_vector(fresh: House) -> None:
    before = series(fresh.http.get("/metrics").text)
    for path in ("/healthz", "/readyz", "/v1/models", "/v1/models/small", "/nothing"):
        fresh.http.get(path)
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    assert fresh.http.post("/v1/route", json=body).status_code == 200
    after = series(fresh.http.get("/metrics").text)
    assert {name for name in after if after[name] != before[name]} == {'embed_cache_total{result="miss"}'}


def test_a_first_token_is_that_of_a_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is not streamed comes whole: its length is no slowness to begin."""
    with deciding(tmp_path) as running, caplog.at_level(logging.INFO, "pointsman.request"):
        whole = running.ask("hello")
        body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        streamed = running.http.post("/v1/chat/completions", json=body)
        kept = [running.row(answer)["first_token_s"] for answer in (whole, streamed)]
        counted = running.until('first_token_seconds_count{model="small"}', 1)
    assert kept == [None, pytest.approx(counted['first_token_seconds_sum{model="small"}'])]
    told = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert ["first_token_ms" in line for line in told] == [False, True]
