"""POST /route: the one-call form, against the same question asked as a chat."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from typing import Any

import httpx
import pytest

from tests.relay.wire import Exchange, House

CODE = "fix the bug in my code"


def test_the_answer_and_the_decision_are_those_of_the_chat(house: House) -> None:
    asked = {"model": "auto", "messages": [{"role": "user", "content": CODE}]}
    chat = house.http.post("/v1/chat/completions", json=asked)
    answer = house.http.post("/route", json={"query": CODE})
    assert answer.status_code == 200
    told = answer.json()
    assert told["model"] == "team/slashed"
    assert told["response"] == chat.json()["choices"][0]["message"]["content"]
    assert list(told["scores"]) == ["code", "weather"]
    assert told["scores"]["code"] > 0.5 > told["scores"]["weather"]
    for name in ("route", "model", "reason", "target", "score"):
        assert answer.headers[f"x-pointsman-{name}"] == chat.headers[f"x-pointsman-{name}"]
    assert answer.headers["content-type"] == "application/json"
    one, other = (json.loads(entry.body) for entry in house.simulator.log.entries())
    assert one == other


def test_headers_decide_as_ever_and_it_is_counted_once(house: House) -> None:
    series = 'pointsman_requests_total{model="other",route="urgent",status="200"}'
    before = house.metric(series)
    answer = house.http.post("/route", json={"query": CODE}, headers={"x-priority": "high"})
    assert answer.json()["model"] == "other"
    house.wait_for_metric(series, before + 1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"", "not valid JSON", id="empty"),
        pytest.param(b"{", "not valid JSON", id="cut"),
        pytest.param(b'{"query": "\xff"}', "not valid JSON", id="no-utf-8"),
        pytest.param(b"[]", "Expected `object`", id="a-list"),
        pytest.param(b"{}", "missing required field `query`", id="nothing-asked"),
        pytest.param(b'{"query": 7}', "Expected `str`, got `int`", id="a-number"),
        pytest.param(b'{"query": "x", "stream": true}', "unknown field `stream`", id="unknown-key"),
    ],
)
def test_another_body_is_refused_in_words(house: House, body: bytes, says: str) -> None:
    answer = house.http.post("/route", content=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] == answer.headers["x-pointsman-id"]
    assert house.simulator.log.entries() == []


def pinned(house: House, script: Any) -> httpx.Response:
    house.raw.script = script
    return house.http.post("/route", json={"query": "hi"}, headers={"x-pointsman-model": "raw"})


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_upstreams_refusal_passes_as_it_is(house: House, coding: str) -> None:
    refusal = b'{"error": {"message": "no", "type": "x", "param": null, "code": null}}'
    sent = gzip.compress(refusal) if coding == "gzip" else refusal
    headers = [b"content-type: application/problem+json", b"retry-after: 7", b"content-encoding: " + coding.encode()]
    answer = pinned(house, lambda exchange: exchange.answer(sent, *headers, status=b"429 Too Many"))
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, refusal, "7")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status", "response"),
    [
        pytest.param(b'{"choices": [{"message": {"content": "yes"}}]}', 200, "yes", id="text"),
        pytest.param(
            rb'{"choices": [{"message": {"content": "cut \ud83d"}}]}', 200, "cut \ufffd", id="half-of-a-surrogate-pair"
        ),
        pytest.param(b'{"choices": [{"message": {"content": null, "tool_calls": []}}]}', 200, "", id="no-text"),
        pytest.param(b'{"choices": []}', 502, None, id="no-choice"),
        pytest.param(b'{"choices": [{"message": "yes"}]}', 502, None, id="another-shape"),
    ],
)
def test_what_the_model_may_answer(house: House, body: bytes, status: int, response: str | None) -> None:
    answer = pinned(house, lambda exchange: exchange.answer(body, b"content-type: application/json"))
    assert answer.status_code == status
    assert answer.json().get("response") == response


GOOD = b'{"choices": [{"message": {"content": "yes"}}]}'


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        pytest.param(b'{"choices": []}', [], "upstream_unavailable", id="no-choice"),
        pytest.param(GOOD.replace(b"yes", b"\xff"), [], "upstream_unavailable", id="not-utf-8"),
        pytest.param(gzip.compress(GOOD), [b"content-encoding: gzip"], "upstream_unavailable", id="compressed"),
        pytest.param(
            b"data: " + GOOD + b"\n\n", [b"content-type: text/event-stream"], "upstream_unavailable", id="a-stream"
        ),
        pytest.param(GOOD.replace(b"yes", b"y" * 2_000_000), [], "upstream_cut", id="cut"),
    ],
)
def test_what_cannot_be_unwrapped_is_known_by_its_id_and_counted_as_what_the_client_got(
    house: House, body: bytes, headers: list[bytes], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    def script(exchange: Exchange) -> None:
        is_cut = code == "upstream_cut"
        length = b"content-length: %d" % (len(body) + is_cut)
        exchange.send(b"\r\n".join((b"HTTP/1.1 200 OK", length, *headers, b"", body)))
        if is_cut:
            exchange.cut()

    series = 'pointsman_requests_total{model="raw",route="pinned",status="502"}'
    before = house.metric(series)
    with caplog.at_level(logging.INFO, "pointsman.request"):
        answer = pinned(house, script)
        house.wait_for_metric(series, before + 1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, code)
    told = [answer.headers[name] for name in ("x-pointsman-target", "x-pointsman-attempts", "content-type")]
    assert told == ["raw/raw-model", "1", "application/json"]
    [logged] = (record.__dict__["fields"] for record in caplog.records if record.name == "pointsman.request")
    assert (logged["status"], logged["error"]) == (502, code)
    assert logged["id"] == answer.headers["x-pointsman-id"] == answer.headers["x-request-id"]


def test_any_good_status_is_an_answer(house: House) -> None:
    series = 'pointsman_requests_total{model="raw",route="pinned",status="200"}'
    before = house.metric(series)
    kind = b"content-type: application/json"
    answer = pinned(house, lambda exchange: exchange.answer(GOOD, kind, status=b"201 Created"))
    assert (answer.status_code, answer.json()["response"]) == (200, "yes")
    house.wait_for_metric(series, before + 1)


def test_a_client_that_leaves_stops_the_upstream(house: House) -> None:
    asked, left = threading.Event(), threading.Event()

    def wait(exchange: Exchange) -> None:
        asked.set()
        exchange.wait_until_left()
        left.set()

    house.raw.script = wait
    with (
        httpx.Client(base_url=house.url, timeout=httpx.Timeout(5, read=0.3)) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post("/route", json={"query": "hi"}, headers={"x-pointsman-model": "raw"})
    assert asked.is_set()
    assert left.wait(3)
