"""Traces, from both ends: what a collector gets, and what upstreams and clients see of them."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.telemetry.attributes import error_of_request
from proxy.telemetry.record import Record
from tests.relay.wire import MESSAGES, SSE, Exchange
from tests.telemetry.traced import (
    PLAIN,
    WITH_MORE,
    Traced,
    only,
    parent_of,
    traced_house,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Traced]:
    with traced_house(OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue") as traced:
        yield traced


@pytest.fixture
def traced(shared: Traced) -> Traced:
    shared.house.raw.exchanges.clear()
    shared.house.raw.script = lambda exchange: exchange.answer(PLAIN, b"content-type: application/json")
    return shared


def test_a_request_makes_a_tree_of_three(traced: Traced) -> None:
    answer, trace_id = traced.chat("raw")
    spans = traced.collector.trace(trace_id)
    server, decision, client = (only(spans, kind) for kind in ("server", "internal", "client"))
    assert (server.name, server.parent) == ("POST /v1/chat/completions", "00f067aa0ba902b7")
    assert (decision.name, decision.parent) == ("decide", server.id)
    assert (client.name, client.parent) == ("chat raw-model", server.id)
    assert server.began <= decision.began < decision.ended <= client.began < client.ended <= server.ended
    assert not any(span.is_error for span in (server, decision, client))
    assert server.resource["service.name"] == "pointsman"
    assert traced.collector.headers[-1][b"x-tenant"] == b"blue"
    assert (
        server.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.route": "/v1/chat/completions",
            "url.scheme": "http",
            "url.path": "/v1/chat/completions",
            "http.response.status_code": 200,
            "gen_ai.request.model": "raw",
            "pointsman.decision_id": answer.headers["x-pointsman-id"],
            "pointsman.model": "raw",
            "pointsman.reason": "pinned",
            "pointsman.target": "raw/raw-model",
            "pointsman.attempts": 1,
        }.items()
    )
    assert client.attributes == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": traced.house.raw.port,
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "raw-model",
        "gen_ai.response.id": "c-1",
        "gen_ai.response.model": "made-7",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "pointsman.target": "raw/raw-model",
        "pointsman.outcome": "ok",
    }


def test_a_decision_tells_its_topic_and_its_time(traced: Traced) -> None:
    _, trace_id = traced.chat("auto", messages=[{"role": "user", "content": "fix the bug in my code"}])
    spans = traced.collector.trace(trace_id)
    decision, server = only(spans, "internal").attributes, only(spans, "server").attributes
    assert (decision["pointsman.route"], decision["pointsman.topic"]) == ("code", "code")
    assert 0 < decision["pointsman.score"] <= 1
    assert decision["pointsman.embed_seconds"] > 0
    assert server["pointsman.score"] == decision["pointsman.score"]


def test_a_decision_of_an_experiment_tells_its_arm() -> None:
    trial = WITH_MORE.replace(
        "routes:", "routes:\n  - {name: trial, when: {header: {x-trial: 'yes'}}, use: {split: {raw: 1}}}"
    )
    with traced_house(trial) as traced:
        traced.house.raw.script = lambda exchange: exchange.answer(PLAIN, b"content-type: application/json")
        _, trace_id = traced.chat("auto", headers={"x-trial": "yes"})
        assert only(traced.collector.trace(trace_id), "internal").attributes["pointsman.arm"] == "raw"


def test_a_name_as_long_as_a_body_is_cut(traced: Traced) -> None:
    endless = PLAIN.replace(b"made-7", b"m" * 50_000)
    traced.house.raw.script = lambda exchange: exchange.answer(endless, b"content-type: application/json")
    _, trace_id = traced.chat("raw")
    assert only(traced.collector.trace(trace_id), "client").attributes["gen_ai.response.model"] == "m" * 1000


def test_the_upstream_goes_on_from_the_attempt(traced: Traced) -> None:
    _, trace_id = traced.chat("raw", headers={"tracestate": "vendor=1,other=2", "baggage": "user=7"})
    client = only(traced.collector.trace(trace_id), "client")
    arrived = traced.house.raw.last
    assert arrived.values(b"traceparent") == [f"00-{trace_id}-{client.id}-01".encode()]
    assert arrived.values(b"tracestate") == [b"vendor=1,other=2"]
    assert arrived.values(b"baggage") == [b"user=7"]
    assert client.state == "vendor=1,other=2"


def test_a_client_without_a_trace_gets_a_new_one(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pointsman.request"):
        for headers in ({}, {"traceparent": "00-nonsense"}, {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"}):
            assert traced.house.chat("raw", headers=headers).status_code == 200
            [sent] = traced.house.raw.last.values(b"traceparent")
            trace_id = sent.decode().split("-")[1]
            assert only(traced.collector.trace(trace_id), "server").parent == ""
            lines = [record for record in caplog.records if record.name == "pointsman.request"]
            assert lines[-1].__dict__["fields"]["trace_id"] == trace_id


def test_a_fallback_is_a_second_attempt(traced: Traced) -> None:
    traced.house.raw.script = lambda exchange: exchange.answer(b"{}", status=b"503 Busy")
    answer, trace_id = traced.chat("shaky", stream=True, stream_options={"include_usage": True})
    assert answer.status_code == 200
    spans = traced.collector.trace(trace_id)
    first, second = spans["client"]
    assert (first.name, first.is_error, first.attributes["error.type"]) == ("chat shaky-model", True, "503")
    assert (first.attributes["http.response.status_code"], first.attributes["pointsman.outcome"]) == (503, "failed")
    assert (second.name, second.is_error) == ("chat gpt-4o-mini", False)
    assert second.attributes["http.request.resend_count"] == 1
    assert [each.attributes["gen_ai.request.stream"] for each in (first, second)] == [True, True]
    assert second.attributes["gen_ai.usage.output_tokens"] > 0
    assert first.ended <= second.began
    server = only(spans, "server")
    assert (server.attributes["pointsman.decided"], server.attributes["pointsman.model"]) == ("shaky", "sim")
    assert server.attributes["pointsman.attempts"] == 2
    assert not server.is_error


def test_a_stream_tells_its_first_token_and_its_usage(traced: Traced) -> None:
    answer, trace_id = traced.chat("sim", stream=True, stream_options={"include_usage": True})
    assert "[DONE]" in answer.text
    found = only(traced.collector.trace(trace_id), "client").attributes
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.time_to_first_chunk"] > 0
    assert found["gen_ai.usage.output_tokens"] > 0
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert found["gen_ai.response.model"].startswith("gpt-4o-mini")
    assert found["gen_ai.response.id"] in answer.text


def a_stream_that_is_cut(exchange: Exchange) -> None:
    event = b'data: {"choices":[{"delta":{"content":"some"}}]}\n\n'
    head = SSE.replace(b"connection: close", b"transfer-encoding: chunked")
    exchange.send(head + b"%x\r\n%s\r\n" % (len(event), event))
    exchange.cut()


def silence(exchange: Exchange) -> None:
    exchange.wait_until_left()


@pytest.mark.parametrize(
    ("model", "script", "fields", "status", "error"),
    [
        pytest.param("dead", silence, {}, 502, "unreachable", id="refused"),
        pytest.param("hasty", silence, {"stream": True}, 504, "first_token", id="no-first-token"),
        pytest.param("hasty", silence, {}, 504, "whole_answer", id="no-answer"),
        pytest.param("raw", a_stream_that_is_cut, {"stream": True}, 200, "cut", id="cut-in-the-middle"),
    ],
)
def test_a_failure_ends_its_spans_as_one(
    traced: Traced, model: str, script: Any, fields: dict[str, Any], status: int, error: str
) -> None:
    traced.house.raw.script = script
    answer, trace_id = traced.chat(model, **fields)
    assert answer.status_code == status
    spans = traced.collector.trace(trace_id)
    server, attempt = only(spans, "server"), spans["client"][-1]
    assert server.is_error
    assert server.attributes["http.response.status_code"] == status
    assert attempt.is_error
    assert attempt.attributes["error.type"] == attempt.attributes["pointsman.outcome"] == error


def test_a_clients_mistake_is_no_error_of_ours(traced: Traced) -> None:
    answer, trace_id = traced.chat("nobody-has-this")
    assert answer.status_code == 404
    spans = traced.collector.trace(trace_id)
    server = only(spans, "server")
    assert (server.attributes["http.response.status_code"], server.is_error) == (404, False)
    decision = only(spans, "internal")
    assert (decision.attributes["error.type"], decision.is_error) == ("model_not_found", False)
    assert not spans["client"]


def test_a_blocked_request_asks_nobody(traced: Traced) -> None:
    answer, trace_id = traced.chat("auto", headers={"x-closed": "yes"})
    assert answer.status_code == 403
    spans = traced.collector.trace(trace_id)
    assert only(spans, "server").attributes["http.response.status_code"] == 403
    assert only(spans, "internal").attributes["pointsman.route"] == "closed"
    assert not spans["client"]


def test_a_client_that_leaves_ends_its_spans(traced: Traced) -> None:
    traced.house.raw.script = silence
    trace_id, parent = parent_of()
    body = json.dumps({"model": "raw", "messages": MESSAGES}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntraceparent: {parent}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", traced.house.port)) as caller:
        caller.sendall(head.encode() + body)
        deadline = time.monotonic() + 5
        while not traced.house.raw.exchanges:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    spans = traced.collector.trace(trace_id)
    server, client = only(spans, "server"), only(spans, "client")
    assert server.attributes["pointsman.client_left"] == "upstream"
    assert "http.response.status_code" not in server.attributes
    assert client.attributes["pointsman.outcome"] == "client_left"
    assert not server.is_error
    assert not client.is_error


@pytest.mark.parametrize(
    ("status", "error", "phase", "told"),
    [
        pytest.param(200, "upstream_error", "", "upstream_error", id="in-a-stream"),
        pytest.param(200, "upstream_error", "body", "", id="in-a-stream-that-nobody-reads"),
        pytest.param(404, "model_not_found", "", "", id="the-clients"),
        pytest.param(502, "", "", "502", id="ours"),
    ],
)
def test_whose_error_it_is(status: int, error: str, phase: str, told: str) -> None:
    record = Record("ptm-1", "r", "/v1/chat/completions", status=status, error=error, phase=phase)
    assert error_of_request(record) == told


def test_one_request_too_many_is_an_error_of_the_server() -> None:
    crowded = WITH_MORE.replace("server: {", "server: {max_in_flight: 1, ")
    with traced_house(crowded) as traced:
        asked, go_on = threading.Event(), threading.Event()

        def hold(exchange: Exchange) -> None:
            asked.set()
            assert go_on.wait(5)
            exchange.answer(PLAIN, b"content-type: application/json")

        traced.house.raw.script = hold
        first = threading.Thread(target=traced.chat, args=("raw",))
        first.start()
        assert asked.wait(5)
        answer, trace_id = traced.chat("raw")
        go_on.set()
        first.join()
        assert answer.status_code == 503
        spans = traced.collector.trace(trace_id)
        server = only(spans, "server")
        assert (server.attributes["http.response.status_code"], server.is_error) == (503, True)
        assert not spans["client"]


def test_anthropics_messages_are_chats_too(traced: Traced) -> None:
    trace_id, parent = parent_of()
    reply = b'{"id":"m-1","model":"made-7","stop_reason":"end_turn","usage":{"input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":2}}'
    traced.house.raw.script = lambda exchange: exchange.answer(reply, b"content-type: application/json")
    asked = {"model": "claude", "max_tokens": 9, "messages": MESSAGES}
    assert traced.house.http.post("/v1/messages", json=asked, headers={"traceparent": parent}).is_success
    client = only(traced.collector.trace(trace_id), "client")
    assert client.name == "chat claude-model"
    assert client.attributes["gen_ai.provider.name"] == "anthropic"
    assert client.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert client.attributes["gen_ai.usage.input_tokens"] == 5
    assert client.attributes["gen_ai.usage.cache_creation.input_tokens"] == 2


def test_other_urls_are_traced_by_their_shape(traced: Traced) -> None:
    trace_id, parent = parent_of()
    traced.house.raw.script = Exchange.answer
    asked = {"model": "raw", "input": "x"}
    for path in ("embeddings", "audio/speech"):
        assert traced.house.http.post(f"/v1/{path}?key=s3cret", json=asked, headers={"traceparent": parent}).is_success
    traced.house.wait_for_metric("pointsman_in_flight", 0)
    deadline = time.monotonic() + 5
    while len((spans := traced.collector.trace(trace_id))["server"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert [span.name for span in spans["server"]] == ["POST /v1/{path}"] * 2
    assert [span.attributes["url.path"] for span in spans["server"]] == ["/v1/embeddings", "/v1/audio/speech"]
    assert [span.name for span in spans["client"]] == ["embeddings raw-model", "POST"]
    assert traced.house.raw.last.values(b"traceparent") == [f"00-{trace_id}-{spans['client'][1].id}-01".encode()]


def test_neither_prompt_nor_reply_nor_key_leaves(traced: Traced) -> None:
    told = [{"role": "user", "content": "a confidential question"}]
    for fields in ({}, {"user": "someone"}):
        _, trace_id = traced.chat("raw", headers={"authorization": "Bearer sk-client"}, messages=told, **fields)
        traced.collector.trace(trace_id)
    _, trace_id = traced.chat("sim", headers={"authorization": "Bearer sk-client"}, messages=told)
    traced.collector.trace(trace_id)
    everything = b"".join(traced.collector.bodies)
    assert b"raw-model" in everything
    for secret in (b"confidential", b"the reply", b"sk-client", b"sk-operator", b"s3cret", b"someone"):
        assert secret not in everything


def test_a_long_name_of_a_model_is_cut(traced: Traced) -> None:
    _, trace_id = traced.chat("x" * 50_000)
    assert only(traced.collector.trace(trace_id), "server").attributes["gen_ai.request.model"] == "x" * 1000


def test_a_client_that_does_not_sample_is_not_recorded(traced: Traced) -> None:
    trace_id, parent = parent_of(flags="00")
    assert traced.house.chat("raw", headers={"traceparent": parent}).status_code == 200
    [sent] = traced.house.raw.last.values(b"traceparent")
    assert sent.startswith(f"00-{trace_id}-".encode())
    assert not int(sent[-2:], 16) & 1
    assert parent.encode() != sent
    _, later = traced.chat("raw")
    traced.collector.trace(later)  # which would have come after it
    assert not traced.collector.has(trace_id)
