"""What is passed on for no model of routes.yaml says nothing of the target that it goes to, nor of its keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.endpoints.passing import JSON
from tests.relay.wire import Exchange, House
from tests.relay.wire import house as open_house

ROUTES = """
version: 1
upstreams: {{u: {{base_url: "${{RAW}}/v1", {keys}, timeouts: {{whole_answer: 150ms}}}}}}
models: {{m: {{target: {{upstream: u, name: m}}}}}}
rewrite: []
default: m
retry: {{free: 1000}}
"""
ONE, TWO = "api_key: sk-1", "api_keys: [sk-1, sk-2]"
PASSED: Any = [("GET", "/v1/organization/projects", None), ("POST", "/v1/images/generations", {"model": "dall-e-3"})]


@pytest.fixture(params=[ONE, TWO], ids=["one-key", "two-keys"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with open_house(ROUTES.format(keys=request.param)) as house:
        yield house


def told(house: House) -> dict[str, Any]:
    """The one target, as `/v1/targets` shows it."""
    found: dict[str, Any] = house.http.get("/v1/targets").json()["models"][0]["targets"][0]
    return found


def never_answers(exchange: Exchange) -> None:
    exchange.wait_until_left()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        pytest.param(b"401 No", [], id="401"),
        pytest.param(b"403 No", [], id="403"),
        pytest.param(b"429 Busy", [b"retry-after: 120"], id="429"),
        pytest.param(b"500 Oh", [], id="500"),
    ],
)
def test_a_refusal_is_about_what_was_asked(house: House, status: bytes, headers: list[bytes]) -> None:
    house.raw.script = lambda exchange: exchange.answer(b'{"error": {}}', JSON, *headers, status=status)
    for _ in range(3):
        for method, path, body in PASSED:
            assert house.http.request(method, path, json=body).status_code >= 400
    seen = told(house)
    assert (seen["state"], seen["keys_resting"], seen["error_rate"]) == ("closed", [], 0)
    assert house.http.post("/v1/embeddings", json={"model": "m"}).status_code >= 400
    if status.startswith((b"401", b"429")) and seen["keys"] == 2:
        assert told(house)["keys_resting"], "this is of a model, though it is not routed"


def test_an_answer_that_takes_its_time_is_not_the_model_s(house: House) -> None:
    house.raw.script = lambda exchange: exchange.answer(b'{"choices": []}', JSON)
    assert house.chat("m").status_code == 200
    before = told(house)["latency_ms"]
    for method, path, body in [*PASSED, ("POST", "/v1/embeddings", {"model": "m"})]:
        assert house.http.request(method, path, json=body).status_code == 200
    assert told(house)["latency_ms"] == before
    house.raw.script = never_answers
    for _ in range(5):
        assert house.http.get("/v1/files").status_code == 504
    assert told(house)["state"] == "closed"


def test_a_target_that_cannot_be_reached_rests(house: House) -> None:
    house.raw.script = Exchange.cut
    for _ in range(2):
        assert house.http.get("/v1/files").status_code == 502
    seen = told(house)
    assert (seen["state"], seen["reason"]) == ("open", "unreachable")


def test_an_answer_to_what_is_passed_on_keeps_no_failing_model_in_use(house: House) -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(b"{}", JSON, status=b"200 OK" if exchange.line.startswith(b"GET") else b"500 Oh")

    house.raw.script = script
    for _ in range(2):
        assert house.chat("m").status_code == 500, "after three attempts"
        assert house.http.get("/v1/files").status_code == 200
    seen = told(house)
    assert (seen["state"], seen["reason"]) == ("open", "failed")


def test_what_is_passed_on_takes_no_trial_s_place_from_a_model() -> None:
    spare = "{m: {target: {upstream: u, name: m}, fallbacks: [spare]}, spare: {target: {upstream: u, name: s}}}"
    text = ROUTES.format(keys=ONE).replace("{m: {target: {upstream: u, name: m}}}", spare).replace("150ms", "10s")
    is_over = threading.Event()

    def busy(exchange: Exchange) -> None:
        is_m = json.loads(exchange.body)["model"] == "m"
        exchange.answer(b'{"choices": []}', JSON, b"retry-after-ms: 10", status=b"429 Busy" if is_m else b"200 OK")

    def well(exchange: Exchange) -> None:
        if exchange.line.startswith(b"GET"):
            exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n.")
            is_over.wait(10)
            exchange.send(b".")
        else:
            exchange.answer(b'{"choices": []}', JSON)

    with open_house(text) as house:
        house.raw.script = busy
        assert house.chat("m").headers["x-pointsman-model"] == "spare"
        house.wait_for_metric('pointsman_target_state{target="u/m"}', 1)
        house.raw.script = well
        with house.http.stream("GET", "/v1/files/file-1/content") as download:
            assert house.chat("m").headers["x-pointsman-model"] == "m", "the target is on trial, and not yet tried"
            is_over.set()
            assert download.read() == b".."
