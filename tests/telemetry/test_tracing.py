"""Traces, from both ends: what a collector gets, and what upstreams and clients see of them."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from proxy.telemetry.tracing import NO_TRACER, is_wanted, tracing, why_not
from tests.relay.wire import MESSAGES, ROUTES, SSE, Exchange, House
from tests.relay.wire import house as open_house
from tests.telemetry.collector import Collector, Seen, collecting

WITH_MORE = (
    ROUTES.replace("models:", "  anthropic: {base_url: '${RAW}/v1', protocol: anthropic}\nmodels:")
    .replace(
        "  raw: {target: {upstream: raw, name: raw-model}}",
        "  raw: {target: {upstream: raw, name: raw-model}}\n"
        "  claude: {target: {upstream: anthropic, name: claude-model}}\n"
        "  shaky: {target: {upstream: raw, name: shaky-model}, fallbacks: [sim]}",
    )
    .replace(
        "routes:", "routes:\n  - {name: closed, when: {header: {x-closed: 'yes'}}, block: {status: 403, message: no}}"
    )
)
PLAIN = b'{"id":"c-1","model":"made-7","choices":[{"message":{"content":"the reply"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5}}}'


class Traced:
    """A house, and the collector that it reports to."""

    def __init__(self, house: House, collector: Collector) -> None:
        self.house = house
        self.collector = collector

    def chat(
        self, model: str, *, headers: dict[str, str] | None = None, **fields: object
    ) -> tuple[httpx.Response, str]:
        """The answer, and the id of the trace that the client began."""
        trace_id, parent = parent_of()
        return self.house.chat(model, headers={"traceparent": parent, **(headers or {})}, **fields), trace_id


def parent_of(flags: str = "01") -> tuple[str, str]:
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-00f067aa0ba902b7-{flags}"


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@contextmanager
def heard_at_the_root() -> Iterator[list[logging.LogRecord]]:
    """What the program's log gets; caplog would listen at loggers too that keep their records to themselves."""
    records: list[logging.LogRecord] = []
    handler, root = logging.Handler(logging.INFO), logging.getLogger()
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield records
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@contextmanager
def nothing_of(module: str) -> Iterator[None]:
    """As if this module, and with it all below it, were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, module, None)
        yield


@contextmanager
def traced_house(routes: str = WITH_MORE, **variables: str) -> Iterator[Traced]:
    with (
        collecting() as collector,
        environment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables),
        open_house(routes) as house,
    ):
        yield Traced(house, collector)


@pytest.fixture(scope="module")
def shared() -> Iterator[Traced]:
    with traced_house(OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue") as traced:
        yield traced


@pytest.fixture
def traced(shared: Traced) -> Traced:
    shared.house.raw.exchanges.clear()
    shared.house.raw.script = lambda exchange: exchange.answer(PLAIN, b"content-type: application/json")
    return shared


def only(spans: dict[str, list[Seen]], kind: str) -> Seen:
    [span] = spans[kind]
    return span


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
            assert caplog.records[-1].__dict__["fields"]["trace_id"] == trace_id


def test_a_fallback_is_a_second_attempt(traced: Traced) -> None:
    traced.house.raw.script = lambda exchange: exchange.answer(b"{}", status=b"503 Busy")
    answer, trace_id = traced.chat("shaky")
    assert answer.status_code == 200
    spans = traced.collector.trace(trace_id)
    first, second = spans["client"]
    assert (first.name, first.is_error, first.attributes["error.type"]) == ("chat shaky-model", True, "503")
    assert (first.attributes["http.response.status_code"], first.attributes["pointsman.outcome"]) == (503, "failed")
    assert (second.name, second.is_error) == ("chat gpt-4o-mini", False)
    assert second.attributes["http.request.resend_count"] == 1
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
        pytest.param("hasty", silence, {}, 504, "first_token", id="no-first-token"),
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
    assert only(spans, "internal").attributes["error.type"] == "model_not_found"
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
    reply = b'{"id":"m-1","model":"made-7","stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}'
    traced.house.raw.script = lambda exchange: exchange.answer(reply, b"content-type: application/json")
    asked = {"model": "claude", "max_tokens": 9, "messages": MESSAGES}
    assert traced.house.http.post("/v1/messages", json=asked, headers={"traceparent": parent}).is_success
    client = only(traced.collector.trace(trace_id), "client")
    assert client.name == "chat claude-model"
    assert client.attributes["gen_ai.provider.name"] == "anthropic"
    assert client.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert client.attributes["gen_ai.usage.input_tokens"] == 3


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


def test_the_sampler_is_the_environments() -> None:
    with traced_house(
        OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0", OTEL_SERVICE_NAME="gate"
    ) as traced:
        assert traced.house.chat("raw").status_code == 200
        [sent] = traced.house.raw.last.values(b"traceparent")
        assert not int(sent[-2:], 16) & 1
        _, trace_id = traced.chat("raw")  # whose client decided that it is sampled
        assert only(traced.collector.trace(trace_id), "server").resource["service.name"] == "gate"
        assert not traced.collector.has(sent.decode().split("-")[1])


def test_what_is_left_is_sent_at_the_end() -> None:
    with traced_house(OTEL_BSP_SCHEDULE_DELAY="600000") as traced:
        _, trace_id = traced.chat("raw")
        traced.house.wait_for_metric("pointsman_in_flight", 0)
        assert not traced.collector.has(trace_id)
        collector = traced.collector
    assert collector.has(trace_id)


def test_a_collector_that_is_down_costs_spans_and_one_line() -> None:
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    with traced_house(**small) as traced, heard_at_the_root() as records:
        traced.collector.status = 400  # which is not tried again
        for _ in range(20):
            assert traced.house.chat("raw").status_code == 200
        traced.collector.wait_for_batches(2)
        deadline = time.monotonic() + 5
        lost = 0.0
        while lost < 60:
            assert time.monotonic() < deadline, lost
            lost = sum(
                traced.house.metric(f'pointsman_spans_dropped_total{{cause="{cause}"}}')
                for cause in ("queue_full", "export_failed")
            )
        traced.collector.status = 200
        _, trace_id = traced.chat("raw")
        traced.collector.trace(trace_id)
    assert lost == 60
    told = [record for record in records if "collector" in record.getMessage()]
    assert [record.getMessage() for record in told] == [
        "spans do not reach the collector",
        "spans reach the collector again",
    ]
    assert "code: 400" in told[0].__dict__["reason"]
    assert not [record for record in records if record.name.startswith("opentelemetry")]


def test_the_end_does_not_wait_for_a_collector_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.exporting._PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with environment(OTEL_EXPORTER_OTLP_ENDPOINT=url), open_house() as house:
            assert house.chat("raw").status_code == 200
            began = time.monotonic()
        assert time.monotonic() - began < 3


def test_off_the_headers_pass_and_nothing_is_imported(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_of("opentelemetry"), environment(OTEL_EXPORTER_OTLP_ENDPOINT=""), open_house() as house:
        assert house.chat("raw", headers={"traceparent": "as it came", "tracestate": "a=1"}).status_code == 200
        assert house.raw.last.values(b"traceparent") == [b"as it came"]
        assert house.raw.last.values(b"tracestate") == [b"a=1"]
        assert "spans_dropped" not in house.http.get("/metrics").text
    assert not [record for record in caplog.records if record.msg == "tracing is off"]


@pytest.mark.parametrize(
    ("environ", "wanted", "trouble"),
    [
        pytest.param({}, False, "", id="nothing-said"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False, "", id="empty"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True, "", id="endpoint"),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, True, "", id="endpoint-of-traces"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False, "", id="disabled"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False, "", id="none"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, True, "'zipkin'", id="zipkin"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True, "'grpc'", id="grpc"
        ),
    ],
)  # fmt: skip
def test_the_environment_decides(environ: dict[str, str], wanted: bool, trouble: str) -> None:
    assert is_wanted(environ) is wanted
    assert (trouble in why_not(environ)) if trouble else (not wanted or not why_not(environ))


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry"])
def test_without_the_extra_that_is_said(missing: str, caplog: pytest.LogCaptureFixture) -> None:
    async def begin() -> None:
        named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
        async with tracing(named, CollectorRegistry(), version="1") as tracer:
            assert tracer is NO_TRACER

    with nothing_of(missing):
        asyncio.run(begin())
    [line] = caplog.records
    assert "pip install 'pointsman[otel]'" in line.__dict__["reason"]


def test_a_bad_number_turns_it_off_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}
    with environment(**named), open_house() as house:
        assert house.chat("raw").status_code == 200
    assert ["many" in record.__dict__["reason"] for record in caplog.records if record.msg == "tracing is off"] == [
        True
    ]
