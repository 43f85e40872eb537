"""POST /route: the one-call form, against the same question asked as a chat."""

from __future__ import annotations

import json
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
    assert house.simulator.log.entries() == []


def pinned(house: House, script: Any) -> httpx.Response:
    house.raw.script = script
    return house.http.post("/route", json={"query": "hi"}, headers={"x-pointsman-model": "raw"})


def test_an_upstreams_refusal_passes_as_it_is(house: House) -> None:
    refusal = b'{"error": {"message": "no", "type": "x", "param": null, "code": null}}'

    def refuse(exchange: Exchange) -> None:
        exchange.answer(refusal, b"content-type: application/json", b"retry-after: 7", status=b"429 Too Many")

    answer = pinned(house, refuse)
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, refusal, "7")


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


def test_any_good_status_is_an_answer(house: House) -> None:
    body = b'{"choices": [{"message": {"content": "yes"}}]}'
    kind = b"content-type: application/json"
    answer = pinned(house, lambda exchange: exchange.answer(body, kind, status=b"201 Created"))
    assert (answer.status_code, answer.json()["response"]) == (200, "yes")


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
