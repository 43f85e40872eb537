"""The main job, end to end: a client, Pointsman and a simulated upstream, each a real server on a free port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.app import build_app
from proxy.config import parse_config
from proxy.simulator import Simulator, build_simulator
from tests.serving import serving

ROUTES = """
version: 1
upstreams:
  sim: {{base_url: "{url}/sim/v1", timeouts: {{first_token: 500ms, whole_answer: 500ms, idle: 500ms}}}}
models:
  small: {{target: {{upstream: sim, name: gpt-4o-mini}}, price: {{input: 1, output: 2}}}}
  large: {{target: {{upstream: sim, name: gpt-4o}}}}
default: small
server: {{max_body: 1000000, body_timeout: 300ms}}
topics:
  code: {{examples: [Write a Python function, Fix this bug in my loop, Why does my program crash?]}}
  smalltalk: {{examples: [hello there, thanks a lot, good morning]}}
routes:
  - {{name: asked, when: {{model: "big-*"}}, use: large}}
  - {{name: code, when: {{topic: code}}, use: large}}
"""


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return build_simulator(pace=0)


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    with serving(simulator) as upstream:
        config = parse_config(ROUTES.format(url=upstream.url), source="routes.yaml", environ={})
        with serving(build_app(config)) as proxy, httpx.Client(base_url=proxy.url) as client:
            yield client


def ask(
    client: httpx.Client, text: str = "hi", *, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def metric(client: httpx.Client, series: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series + " "))


@pytest.mark.parametrize(
    ("text", "model", "route", "reason"),
    [
        pytest.param("Fix the bug in this Python program", "auto", "code", "topic", id="by-topic"),
        pytest.param("Fix the bug in this Python program", "big-one", "asked", "rule", id="first-match-wins"),
        pytest.param("What is the capital of Peru?", "auto", "default", "default", id="no-topic-falls-through"),
    ],
)
def test_each_request_goes_to_the_model_that_fits(
    client: httpx.Client, simulator: Simulator, text: str, model: str, route: str, reason: str
) -> None:
    answer = ask(client, text, model=model)
    assert answer.status_code == 200
    assert (answer.headers["x-pointsman-route"], answer.headers["x-pointsman-reason"]) == (route, reason)
    name = {"small": "gpt-4o-mini", "large": "gpt-4o"}[answer.headers["x-pointsman-model"]]
    assert answer.json()["model"] == name
    assert json.loads(simulator.log.entries()[-1].body)["model"] == name


def test_the_body_arrives_byte_for_byte_but_for_the_model(client: httpx.Client, simulator: Simulator) -> None:
    body = (
        b'{ "seed":9007199254740993, "x":1e2,"y":100.0 , "model" : "auto","m\\u006fdels":"\\ud83d\\ude00 \xc3\xa9",'
        + (b'"messages":[{"role":"user","content":"model \\"model\\": 1","name":"n"}]}')
    )
    assert client.post("/v1/chat/completions", content=body).status_code == 200
    assert simulator.log.entries()[-1].body == body.replace(b'"auto"', b'"gpt-4o-mini"')


def test_a_stream_is_the_same_bytes_as_from_the_upstream_itself(client: httpx.Client, simulator: Simulator) -> None:
    with serving(simulator) as upstream, httpx.Client(base_url=upstream.url + "/sim") as direct:
        headers = {"x-simulate-seed": "7"}
        more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        through = ask(client, "thanks a lot", headers=headers, **more)
        straight = ask(direct, "thanks a lot", headers=headers, model="gpt-4o-mini", **more)
    assert through.content == straight.content
    assert through.content.endswith(b"data: [DONE]\n\n")
    assert through.headers["content-type"] == straight.headers["content-type"]
    assert metric(client, 'pointsman_tokens_total{kind="completion",model="small"}') > 0


def test_a_stream_that_is_cut_ends_with_one_error_event(client: httpx.Client) -> None:
    answer = ask(client, stream=True, headers={"x-simulate-cut": "3"})
    events = answer.content.split(b"\n\n")
    assert answer.status_code == 200
    assert [json.loads(event.removeprefix(b"data: ")).get("object") for event in events[:-2]] == [
        "chat.completion.chunk"
    ] * 3
    assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"] == "upstream_cut"
    assert events[-1] == b""


def test_silence_is_a_504_that_says_which_deadline(client: httpx.Client) -> None:
    answer = ask(client, headers={"x-simulate-stall-headers": "1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "whole_answer_timeout")
    assert metric(client, 'pointsman_attempts_total{outcome="whole_answer",target="sim/gpt-4o-mini"}') >= 1


def test_a_client_that_leaves_before_the_headers_frees_the_upstream(client: httpx.Client, simulator: Simulator) -> None:
    simulator.log.clear()
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/v1/chat/completions",
            json={"model": "auto", "messages": [{"role": "user", "content": "hi"}]},
            headers={"x-simulate-stall-headers": "1"},
            timeout=0.1,
        )
    simulator.log.wait_for(lambda entry: entry.disconnected_at is not None, timeout=2)
    assert metric(client, 'pointsman_client_disconnects_total{phase="upstream"}') >= 1


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        pytest.param(b"", 400, "JSON", id="empty"),
        pytest.param(b"{nope", 400, "JSON", id="not-json"),
        pytest.param(b"[1]", 400, "an array", id="no-object"),
        pytest.param(b'{"messages":[]}', 400, "'model'", id="no-model"),
        pytest.param(b'{"model":3,"messages":[]}', 400, "a number", id="model-is-a-number"),
        pytest.param(b'{"model":"a"}', 400, "'messages'", id="no-messages"),
        pytest.param(b'{"model":"a","messages":"hi"}', 400, "a string", id="messages-is-a-string"),
        pytest.param(b'{"model":"a","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "deep", id="nested"),
        pytest.param(b'{"model":"a","messages":[{"content":"\xff"}]}', 400, "UTF-8", id="not-utf-8"),
        pytest.param(
            b'{"model":"a","messages":[{"role":"user","content":"\\ud800 half a character"}]}',
            400,
            "JSON",
            id="lone-surrogate",
        ),
        pytest.param(b'{"model":"a","x":"' + b"y" * 1_000_001 + b'"}', 413, "bytes", id="too-large"),
        pytest.param(b'{"model":"a","messages":[]}', 400, "messages", id="empty-messages-judged-upstream"),
    ],
)
def test_bad_input_is_a_clear_refusal_and_the_next_request_is_served(
    client: httpx.Client, body: bytes, status: int, told: str
) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert told in error["message"]
    assert error["type"] == "invalid_request_error"
    assert ask(client).status_code == 200


def test_complexity_decides_where_no_topic_does(simulator: Simulator) -> None:
    routes = ROUTES.replace("routes:", "routes:\n  - {{name: hard, when: {{complexity: {{min: 0.7}}}}, use: large}}")
    own = "complexity: {{simple: [red, blue, green], complex: [one two, three four, five six]}}\n"
    with serving(simulator) as upstream:
        for text, references, prompt, route in (
            (routes, "", "Design a consensus protocol for asymmetric partitions and prove that it is safe", "hard"),
            (routes, "", "What is the capital of Peru?", "default"),
            (routes, own, "seven eight", "hard"),
            (routes, own, "yellow", "default"),
        ):
            config = parse_config((text + references).format(url=upstream.url), source="routes.yaml", environ={})
            with serving(build_app(config)) as proxy, httpx.Client(base_url=proxy.url) as client:
                answer = ask(client, prompt)
                assert answer.headers["x-pointsman-route"] == route
                assert answer.headers["x-pointsman-reason"] == {"hard": "complexity"}.get(route, "default")
                series = 'pointsman_decisions_total{model="large",reason="complexity",route="hard"}'
                assert metric(client, series) == (route == "hard")


def test_what_only_the_upstream_can_judge_passes_through(client: httpx.Client, simulator: Simulator) -> None:
    messages: list[Any] = [{"role": "user", "content": [{"type": "hologram", "data": 1}]}, 7]
    simulator.log.clear()
    client.post("/v1/chat/completions", json={"model": "auto", "messages": messages})
    assert json.loads(simulator.log.entries()[-1].body)["messages"] == messages


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
def test_an_upstreams_own_error_passes_unchanged(client: httpx.Client, status: int) -> None:
    answer = ask(client, headers={"x-simulate-status": str(status)})
    assert answer.status_code == status
    assert answer.headers["x-pointsman-model"] == "small"
    assert "error" in answer.json()


def test_no_upstream_is_a_502_in_the_envelope() -> None:
    config = parse_config(ROUTES.format(url="http://127.0.0.1:9"), source="routes.yaml", environ={})
    with serving(build_app(config)) as proxy, httpx.Client(base_url=proxy.url) as client:
        answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")


def test_route_explains_and_sends_nothing(client: httpx.Client, simulator: Simulator) -> None:
    simulator.log.clear()
    body = {"model": "auto", "messages": [{"role": "user", "content": "Why does my program crash?"}]}
    told = client.post("/v1/route", json=body).json()
    assert (told["route"], told["model"], told["reason"]) == ("code", "large", "topic")
    assert [rule["matched"] for rule in told["rules"]] == [False, True]
    assert told["topic"]["score"] >= told["topic"]["threshold"]
    assert len(simulator.log.entries()) == 0
