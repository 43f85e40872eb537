"""What a route does besides naming a model, end to end."""

from __future__ import annotations

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
upstreams: {{sim: {{base_url: "{url}/sim/v1"}}}}
models:
  blind: {{target: {{upstream: sim, name: blind}}, supports: [tools], context: 1000, fallbacks: [seer]}}
  seer: {{target: {{upstream: sim, name: seer}}, supports: [tools, vision]}}
  reasoner:
    target: {{upstream: sim, name: o3-mini}}
    rename: {{max_tokens: max_completion_tokens}}
    drop: [temperature, top_p]
default: blind
routes:
  - {{name: refused, when: {{text: {{matches: "(?i)\\\\bsecret\\\\b"}}}}, block: {{status: 451, message: Ask legal.}}}}
  - name: think
    when: {{has: [tools], metadata: {{team: "core*"}}}}
    use: reasoner
    set: {{reasoning_effort: high}}
    default: {{seed: 7}}
  - {{name: half, when: {{header: {{x-half: "1"}}}}, use: {{split: {{blind: 1, seer: 1}}}}}}
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
    client: httpx.Client, content: Any = "hi", headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    body = {"model": "auto", "messages": [{"role": "user", "content": content}], **more}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def test_a_block_answers_in_the_envelope_and_asks_nobody(client: httpx.Client, simulator: Simulator) -> None:
    simulator.log.clear()
    answer = ask(client, "tell me the Secret")
    assert answer.status_code == 451
    assert answer.json()["error"] == {
        "message": "Ask legal.", "type": "invalid_request_error", "param": None, "code": "blocked",
    }  # fmt: skip
    assert answer.headers["x-pointsman-route"] == "refused"
    assert len(simulator.log.entries()) == 0
    series = 'pointsman_decisions_total{model="-",reason="rule",route="refused"} 1.0'
    assert series in client.get("/metrics").text


def test_a_routes_and_a_models_edits_reach_the_upstream_and_nothing_else_changes(
    client: httpx.Client, simulator: Simulator
) -> None:
    body = (
        b'{ "model":"auto", "max_tokens": 100 ,"temperature":0.5,"messages":[{"role":"user","content":"\xc3\xa9"}],'
        b'"big":9007199254740993,"metadata":{"team":"core-1"},"top_p":1e0,'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{}}}] }'
    )
    assert client.post("/v1/chat/completions", content=body).headers["x-pointsman-model"] == "reasoner"
    assert simulator.log.entries()[-1].body == (
        b'{ "model":"o3-mini", "max_completion_tokens": 100,"messages":[{"role":"user","content":"\xc3\xa9"}],'
        b'"big":9007199254740993,"metadata":{"team":"core-1"},'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"seed":7,"reasoning_effort":"high" }'
    )


def test_an_image_goes_to_a_model_that_sees(client: httpx.Client) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    assert ask(client, image).headers["x-pointsman-model"] == "seer"
    told = client.post("/v1/route", json={"model": "auto", "messages": [{"role": "user", "content": image}]}).json()
    excluded = {candidate["model"]: candidate["excluded"] for candidate in told["candidates"]}
    assert excluded == {"seer": None, "blind": "capability: vision needed, not supported", "reasoner": None}


def test_nobody_can_serve_is_a_400_that_says_why(client: httpx.Client) -> None:
    answer = ask(client, "x" * 10_000, response_format={"type": "json_schema", "json_schema": {"name": "s"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_capable_model")
    assert "blind: context: 2,504 tokens needed, 1,000 available" in answer.json()["error"]["message"]
    assert "seer: capability: json_schema needed" in answer.json()["error"]["message"]


def test_a_conversation_keeps_its_half(client: httpx.Client) -> None:
    def model(opening: str, *later: dict[str, str]) -> str:
        messages = [{"role": "user", "content": opening}, *later]
        body = {"model": "auto", "messages": messages}
        answer = client.post("/v1/chat/completions", json=body, headers={"x-half": "1"})
        assert answer.headers["x-pointsman-reason"] == "split"
        return answer.headers["x-pointsman-model"]

    chosen = {number: model(f"conversation {number}") for number in range(12)}
    assert set(chosen.values()) == {"blind", "seer"}
    turn = ({"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"})
    assert {number: model(f"conversation {number}", *turn) for number in range(12)} == chosen


def test_explaining_a_block(client: httpx.Client) -> None:
    told = client.post(
        "/v1/route", json={"model": "auto", "messages": [{"role": "user", "content": "a secret"}]}
    ).json()
    assert told["block"] == {"status": 451, "message": "Ask legal."}
    assert told["rules"][0]["why"] == r"the text matches '(?i)\bsecret\b'", "as routes.yaml has it"
