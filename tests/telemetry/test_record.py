"""A record becomes metrics, each counted once, and one log line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.telemetry.log import JsonFormatter
from proxy.telemetry.metrics import UNROUTED, Metrics
from proxy.telemetry.record import Record
from proxy.telemetry.recorder import Recorder
from tests.relay.wire import SSE, Exchange, House
from tests.telemetry.series import Series, counted, series

DECIDED: dict[str, Any] = {
    "route": "code",
    "model": "large",
    "decided": "large",
    "reason": "topic",
    "topic": "code",
    "score": 0.75,
}
STAGES: dict[str, Any] = {"stages_s": {"read": 0.25, "embed": 2.0, "decide": 0.5}, "decision_s": 3.0}
TRIED: dict[str, Any] = {"target": "sim/gpt-4o", "outcome": "ok", "first_token_s": 4.0}


def made(**fields: Any) -> Record:
    return Record(**{"id": "ptm-1", "request_id": "ptm-1", "path": "/v1/chat/completions"} | fields)


def histogram(name: str, labels: str, total: float) -> Series:
    return {f"{name}_count{labels}": 1.0, f"{name}_sum{labels}": total}


A_DECISION: Series = {
    'decisions_total{model="large",reason="topic",route="code"}': 1,
    **histogram("topic_score", '{topic="code"}', 0.75),
    **histogram("decision_seconds", "", 3.0),
    **histogram("decision_stage_seconds", '{stage="read"}', 0.25),
    **histogram("decision_stage_seconds", '{stage="embed"}', 2.0),
    **histogram("decision_stage_seconds", '{stage="decide"}', 0.5),
}
AN_ANSWER: Series = {
    'requests_total{model="large",route="code",status="200"}': 1,
    **histogram("request_seconds", '{model="large",route="code"}', 9.0),
    'attempts_total{outcome="ok",target="sim/gpt-4o"}': 1,
    **histogram("first_token_seconds", '{model="large"}', 4.0),
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, {}, id="left-before-the-body-with-no-phase"),
        pytest.param({"phase": "body", "seconds": 9.0}, {'client_disconnects_total{phase="body"}': 1}, id="left"),
        pytest.param(
            {"status": 400, "seconds": 9.0, "requested": "a-clients-word", "error": "invalid_type"},
            {'requests_total{model="-",route="-",status="400"}': 1},
            id="refused-before-a-decision",
        ),
        pytest.param({**DECIDED, **STAGES, **TRIED, "status": 200, "seconds": 9.0}, A_DECISION | AN_ANSWER, id="served"),
        pytest.param(
            {
                **DECIDED, **STAGES, **TRIED, "status": 200, "seconds": 9.0, "cost_usd": 0.5, "baseline_cost_usd": 0.75,
                "tokens": {"prompt": 7, "cached": 3, "cache_write": 2, "completion": 5, "reasoning": 0},
            },
            A_DECISION | AN_ANSWER | {
                'usage_total{model="large"}': 1,
                'tokens_total{kind="prompt",model="large"}': 7,
                'tokens_total{kind="cached",model="large"}': 3,
                'tokens_total{kind="cache_write",model="large"}': 2,
                'tokens_total{kind="completion",model="large"}': 5,
                'cost_usd_total{model="large"}': 0.5, "baseline_cost_usd_total": 0.75,
            },
            id="served-with-usage",
        ),
        pytest.param(
            {"route": "default", "model": "small", "decided": "small", "reason": "overload", "fail_open": "late", "target": "sim/m",
             "outcome": "unreachable", "status": 502, "seconds": 9.0},
            {
                'decisions_total{model="small",reason="overload",route="default"}': 1,
                'fail_open_total{cause="late"}': 1,
                'requests_total{model="small",route="default",status="502"}': 1,
                **histogram("request_seconds", '{model="small",route="default"}', 9.0),
                'attempts_total{outcome="unreachable",target="sim/m"}': 1,
            },
            id="failed-open-and-then-unreachable",
        ),
        pytest.param(
            {"route": "default", "model": "small", "decided": "small", "reason": "default", "phase": "upstream", "target": "sim/m",
             "outcome": "client_left"},
            {
                'decisions_total{model="small",reason="default",route="default"}': 1,
                'client_disconnects_total{phase="upstream"}': 1,
                'attempts_total{outcome="client_left",target="sim/m"}': 1,
            },
            id="left-while-the-upstream-thought",
        ),
        pytest.param(
            {"route": "code", "model": "small", "decided": "large", "reason": "rule", "target": "sim/m", "outcome": "ok",
             "attempts_before": [("sim/l", "failed"), ("sim/l2", "first_token")], "status": 200, "seconds": 9.0,
             "fallbacks": [("large", "small", "first_token")]},
            {
                'decisions_total{model="large",reason="rule",route="code"}': 1,
                'requests_total{model="small",route="code",status="200"}': 1,
                **histogram("request_seconds", '{model="small",route="code"}', 9.0),
                'attempts_total{outcome="failed",target="sim/l"}': 1,
                'attempts_total{outcome="first_token",target="sim/l2"}': 1,
                'attempts_total{outcome="ok",target="sim/m"}': 1,
                'fallbacks_total{cause="first_token",from="large",to="small"}': 1,
            },
            id="served-by-another-in-the-end",
        ),
        pytest.param(
            {"topic": "code", "score": 0.0, "status": 200, "seconds": 9.0},
            {"topic_score_count{topic=\"code\"}": 1, 'requests_total{model="-",route="-",status="200"}': 1},
            id="a-score-of-zero-is-a-score",
        ),
    ],
)  # fmt: skip
def test_what_a_record_counts_and_nothing_beside(fields: dict[str, Any], expected: Series) -> None:
    metrics = Metrics()
    recorder = Recorder(metrics)
    recorder.request(made(**fields))
    assert counted(metrics) == expected
    recorder.request(made(**fields))
    assert counted(metrics) == {name: 2 * value for name, value in expected.items()}


def test_the_cache_and_the_queue_are_counted() -> None:
    metrics = Metrics()
    recorder = Recorder(metrics)
    for hit in (True, False, True):
        recorder.embed_cache(hit=hit)
    for waiting in (1, 2, 1):
        recorder.embed_queue(waiting)
    assert counted(metrics) == {
        'embed_cache_total{result="hit"}': 2,
        'embed_cache_total{result="miss"}': 1,
        "embed_queue": 1,
    }


def test_two_recorders_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    Recorder(first).request(made(status=200))
    assert counted(first)
    assert counted(second) == {}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({}, {"status": 0, "seconds": 0.0}, id="the-least"),
        pytest.param({"request_id": "mine"}, {"request_id": "mine", "status": 0, "seconds": 0.0}, id="callers-own-id"),
        pytest.param(
            {
                **DECIDED, **STAGES, **TRIED, "requested": "auto", "is_stream": True, "status": 200, "seconds": 9.00004,
                "tokens": {"prompt": 7}, "cost_usd": 0.000000014, "score": 0.75049,
            },
            {
                "requested": "auto", "route": "code", "model": "large", "target": "sim/gpt-4o", "reason": "topic",
                "topic": "code", "outcome": "ok", "status": 200, "stream": True, "score": 0.75, "decision_ms": 3000.0,
                "first_token_ms": 4000.0, "seconds": 9.0, "tokens": {"prompt": 7}, "cost_usd": 0.00000001,
            },
            id="served",
        ),
        pytest.param(
            {"model": "small", "decided": "large", "attempts_before": [("sim/l", "cut")],
             "fallbacks": [("large", "small", "cut")]},
            {"model": "small", "decided": "large", "attempts": [{"target": "sim/l", "outcome": "cut"}], "status": 0,
             "seconds": 0.0},
            id="served-by-another",
        ),
        pytest.param(
            {"fail_open": "full", "phase": "answer", "error": "upstream_cut", "score": 0.0, "cost_usd": 0.0},
            {"fail_open": "full", "phase": "answer", "status": 0, "score": 0.0, "seconds": 0.0, "cost_usd": 0.0,
             "error": "upstream_cut"},
            id="a-bad-day",
        ),
    ],
)  # fmt: skip
def test_the_log_line_has_what_happened_and_only_that(fields: dict[str, Any], told: dict[str, Any]) -> None:
    assert made(**fields).fields() == {"id": "ptm-1", "path": "/v1/chat/completions"} | told


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The lines of requests that end meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("pointsman.request")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def at_rest(house: House) -> Series:
    """The series once every request that was answered is counted too."""
    house.wait_for_metric("pointsman_in_flight", 0)
    return series(house.http.get("/metrics").text)


def test_each_request_leaves_one_line_without_prompt_reply_or_key(house: House, log: io.StringIO) -> None:
    headers = {"authorization": "Bearer sk-clients", "x-simulate-text": "the-reply", "x-request-id": "mine"}
    assert "the-reply" in house.chat("auto", headers=headers, user="my-secret-user").text
    house.chat("nobody", headers=headers)
    at_rest(house)
    text = log.getvalue()
    served, refused = map(json.loads, text.splitlines())
    assert (served["status"], served["request_id"], served["target"]) == (200, "mine", "keyed/gpt-4o-mini")
    assert (refused["status"], refused["error"]) == (404, "model_not_found")
    for secret in ("hello there", "the-reply", "sk-clients", "sk-operator", "my-secret-user"):
        assert secret not in text


def test_no_request_can_make_a_series(house: House) -> None:
    def odd(word: str) -> None:
        headers = {"x-request-id": word, "x-priority": word, "x-odd-" + word: word, "user-agent": word}
        assert house.chat(word, headers=headers).status_code == 404
        assert house.chat("auto", headers=headers | {"x-pointsman-model": word}).status_code == 404
        assert house.chat("auto", headers=headers, metadata={word: word}, user=word).status_code == 200
        assert house.http.post("/v1/route", json={"model": word, "messages": []}).status_code == 404
        assert house.http.get(f"/v1/models/{word}").status_code == 404
        assert house.http.get(f"/{word}").status_code == 404

    before = at_rest(house)
    odd("once")
    known = at_rest(house)
    assert set(known) - set(before) <= {f'requests_total{{model="{UNROUTED}",route="{UNROUTED}",status="404"}}'}
    for number in range(50):
        odd(f"word-{number}")
    after = at_rest(house)
    assert set(after) == set(known)
    refused = 'requests_total{model="-",route="-",status="404"}'
    assert after[refused] - known[refused] == 100


def test_one_exchange_is_counted_once_everywhere(house: House) -> None:
    house.raw.script = lambda exchange: exchange.answer(
        b'{"usage":{"prompt_tokens":5,"completion_tokens":2}}', b"content-type: application/json"
    )
    before = at_rest(house)
    assert house.chat("raw").status_code == 200
    after = at_rest(house)
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert all(value == 1 for name, value in grown.items() if not name.startswith("tokens") and "_sum" not in name)
    assert {name for name in grown if "_sum" not in name} == {
        'decisions_total{model="raw",reason="pinned",route="pinned"}',
        "decision_seconds_count",
        'decision_stage_seconds_count{stage="read"}',
        'decision_stage_seconds_count{stage="decide"}',
        'requests_total{model="raw",route="pinned",status="200"}',
        'request_seconds_count{model="raw",route="pinned"}',
        'attempts_total{outcome="ok",target="raw/raw-model"}',
        'usage_total{model="raw"}',
        'tokens_total{kind="prompt",model="raw"}',
        'tokens_total{kind="completion",model="raw"}',
    }


def test_a_cut_stream_is_one_attempt_and_one_request(house: House) -> None:
    def cut(exchange: Exchange) -> None:
        exchange.send(SSE.replace(b"connection: close", b"transfer-encoding: chunked") + b"a\r\ndata: {}\n\n\r\n")
        exchange.cut()

    house.raw.script = cut
    before = at_rest(house)
    assert "upstream_cut" in house.chat("raw", stream=True).text
    after = at_rest(house)
    grown = {name for name in after if after[name] != before.get(name, 0)}
    assert {name for name in grown if name.startswith(("attempts", "requests", "client"))} == {
        'attempts_total{outcome="cut",target="raw/raw-model"}',
        'requests_total{model="raw",route="pinned",status="200"}',
    }
