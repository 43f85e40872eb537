"""A request that cannot be read is a clear 4xx, and the next one is served."""

import json
import logging

import pytest

from tests.relay.wire import MESSAGES, House

DEEP = b"[" * 100_000 + b"]" * 100_000
M = b'"messages":[]'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{", 400, id="not-json"),
        *[pytest.param(body, 400, id=f"top-{body.decode()}") for body in (b"[]", b'"a"', b"1", b"null")],
        pytest.param(b"{" + M + b"}", 400, id="no-model"),
        pytest.param(b'{"model":1,' + M + b"}", 400, id="model-number"),
        pytest.param(b'{"model":"sim"}', 400, id="no-messages"),
        *[
            pytest.param(b'{"model":"sim","messages":' + value + b"}", 400, id=f"messages-{value.decode()}")
            for value in (b'"a"', b"{}", b"null", b"1")
        ],
        pytest.param(b'{"model":"sim","messages":' + DEEP + b"}", 400, id="deep-messages"),
        pytest.param(b'{"model":"sim",' + M + b',"x":' + DEEP + b"}", 400, id="deep-elsewhere"),
        pytest.param(b'{"model":"sim","messages":[{"role":"user","content":"\xff"}]}', 400, id="not-utf-8"),
        pytest.param(b'{"model":"\\ud800",' + M + b"}", 400, id="lone-surrogate"),
        pytest.param(b'{"model":"sim","messages":[{"content":"a \\udc00 b"}]}', 400, id="lone-surrogate-in-content"),
        pytest.param(b'{"model":"nobody",' + M + b"}", 404, id="unknown-model"),
        pytest.param(b'{"x":"' + b"x" * 33554432 + b'"}', 413, id="too-large"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_bad_body(path: str, body: bytes, status: int, house: House) -> None:
    answer = house.http.post(path, content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert house.raw.exchanges == []
    assert house.chat("sim").status_code == 200


@pytest.mark.parametrize(
    ("path", "route", "status"), [("/v1/chat/completions", "-", 404), ("/v1/embeddings", "passthrough", 200)]
)
def test_of_a_name_without_end_only_the_head_is_kept(
    path: str, route: str, status: int, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    series = f'pointsman_requests_total{{model="-",route="{route}",status="{status}"}}'
    before = house.metric(series)
    with caplog.at_level(logging.INFO, "pointsman.request"):
        body = {"model": "x" * 100_000, "messages": MESSAGES, "input": "a"}
        assert house.http.post(path, json=body).status_code == status
        house.wait_for_metric(series, before + 1)
    [told] = (record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request")
    assert told["requested"] == "x" * 1000


@pytest.mark.parametrize(
    "messages",
    [[], [1, None], [{"role": "user", "content": ""}], [{"role": "user", "content": [{"type": "new", "x": 1}]}]],
)
def test_what_the_upstream_judges_is_passed_on(messages: list[object], house: House) -> None:
    assert house.chat("raw", messages=messages).status_code == 200
    assert len(house.raw.exchanges) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_half_a_character_is_told_as_such(path: str, house: House) -> None:
    answer = house.http.post(path, content=b'{"model":"sim","messages":[{"role":"user","content":"a \\ud83d b"}]}')
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "JSON" in error["message"]
    assert "at byte 55 stands half of a surrogate pair" in error["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
@pytest.mark.parametrize("name", [b"nobody", b"auto", b"SIM", b"", b"sim, sim", b"\xff", b"x" * 5000])
def test_a_pin_to_no_model_is_a_404(path: str, name: bytes, house: House) -> None:
    answer = house.http.post(path, json={"model": "sim", "messages": MESSAGES}, headers=[(b"x-pointsman-model", name)])
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
    assert "x-pointsman-model" in error["message"]
    assert house.simulator.log.entries() == []
    assert house.chat("sim").status_code == 200


def test_a_pin_wins_over_everything(house: House) -> None:
    answer = house.chat("nobody", headers={"x-pointsman-model": "other", "x-priority": "high"})
    assert answer.status_code == 200
    assert (answer.headers["x-pointsman-model"], answer.headers["x-pointsman-reason"]) == ("other", "pinned")
    assert house.simulator.log.entries()[-1].header("x-pointsman-model") is None


def test_a_tool_call_has_no_content_and_passes(house: House) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "fix the bug in my code"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain and wind"},
    ]
    answer = house.chat("auto", messages=messages)
    assert answer.status_code == 200
    assert answer.headers["x-pointsman-route"] == "code"
    assert json.loads(house.simulator.log.entries()[-1].body)["messages"] == messages
    told = house.http.post("/v1/route", json={"model": "auto", "messages": messages})
    assert told.json()["route"] == "code"
