"""Tokens and money, end to end: asked for where the client did not, and held against a baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.relay.wire import MESSAGES, SSE, Exchange, House
from tests.relay.wire import house as open_house

ROUTES = """
version: 1
upstreams:
  raw: {base_url: "${RAW}/v1"}
  asked: {base_url: "${RAW}/v1", usage: inject}
  anthropic: {base_url: "${RAW}/v1", protocol: anthropic}
  sim: {base_url: "${SIM}/east/v1"}
models:
  asked: {target: {upstream: asked, name: m}, price: {input: 1, cached_input: 0.5, output: 2}}
  plain: {target: {upstream: raw, name: m}, price: {input: 1, output: 2}}
  written: {target: {upstream: raw, name: m}, price: {input: 1, cached_input: 0.5, cache_write: 1.25, output: 2}}
  claude: {target: {upstream: anthropic, name: m}, price: {input: 1, cached_input: 0.5, cache_write: 1.25, output: 2}}
  unpriced: {target: {upstream: asked, name: m}}
  dear: {target: {upstream: sim, name: gpt-4o}, price: {input: 10, output: 30}}
default: asked
baseline: dear
rewrite: []
"""
CHUNK = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":10,'
    b'"prompt_tokens_details":{"cached_tokens":40},"completion_tokens_details":{"reasoning_tokens":3}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
COST = "pointsman_cost_usd_total"
BASELINE = "pointsman_baseline_cost_usd_total"


@pytest.fixture(scope="module")
def counting() -> Iterator[House]:
    with open_house(ROUTES) as house:
        yield house


@pytest.fixture
def house(counting: House) -> House:
    counting.raw.exchanges.clear()
    counting.raw.script = answer
    return counting


def answer(exchange: Exchange) -> None:
    """A stream that tells its usage to who asks."""
    asks = bool((json.loads(exchange.body).get("stream_options") or {}).get("include_usage"))
    exchange.send(SSE + CHUNK + (USAGE if asks else b"") + DONE)
    exchange.cut()


def tokens(house: House, model: str) -> dict[str, float]:
    kinds = ("prompt", "cached", "cache_write", "completion", "reasoning")
    return {kind: house.metric(f'pointsman_tokens_total{{kind="{kind}",model="{model}"}}') for kind in kinds}


def stream(house: House, model: str, **more: Any) -> bytes:
    """What the client of a stream gets; its record is left by then."""
    body = {"model": model, "messages": MESSAGES, "stream": True, **more}
    got = house.http.post("/v1/chat/completions", json=body)
    assert got.status_code == 200
    house.wait_for_metric("pointsman_in_flight", 0)
    return got.content


@pytest.mark.parametrize(
    "options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False, "x": 1}}]
)
def test_a_stream_is_asked_for_its_usage_and_its_client_does_not_see_it(house: House, options: Any) -> None:
    before = tokens(house, "asked")
    assert stream(house, "asked", **options) == CHUNK + DONE
    sent = json.loads(house.raw.last.body)
    assert sent["stream_options"] == {**(options.get("stream_options") or {}), "include_usage": True}
    after = tokens(house, "asked")
    assert {kind: after[kind] - before[kind] for kind in after} == {
        "prompt": 100, "cached": 40, "cache_write": 0, "completion": 10, "reasoning": 3,
    }  # fmt: skip


def test_a_client_that_asks_sees_it(house: House) -> None:
    options = {"stream_options": {"include_usage": True}}
    assert stream(house, "asked", **options) == CHUNK + USAGE + DONE
    assert json.loads(house.raw.last.body)["stream_options"] == options["stream_options"]


@pytest.mark.parametrize(
    ("path", "said"), [("responses", {"input": "hi"}), ("chat/completions", {"messages": MESSAGES})]
)
def test_only_apis_that_know_the_option_are_asked_by_it(house: House, path: str, said: dict[str, Any]) -> None:
    """The others tell the usage anyway, and would refuse what they do not know."""
    house.http.post(f"/v1/{path}", json={"model": "asked", "stream": True, **said})
    assert ("stream_options" in json.loads(house.raw.last.body)) == (path == "chat/completions")


def test_without_inject_nothing_is_asked(house: House) -> None:
    assert stream(house, "plain") == CHUNK + DONE
    assert "stream_options" not in json.loads(house.raw.last.body)
    assert sum(tokens(house, "plain").values()) == 0


def test_an_answer_that_tells_no_tokens_makes_the_mean_of_those_that_do_no_lower(house: House) -> None:
    told, of_prompts = 'pointsman_usage_total{model="plain"}', 'pointsman_tokens_total{kind="prompt",model="plain"}'
    before = house.metric(told), house.metric(of_prompts)
    for options in ({}, {"stream_options": {"include_usage": True}}, {}):
        stream(house, "plain", **options)
    assert (house.metric(told) - before[0], house.metric(of_prompts) - before[1]) == (1, 100)


def test_a_whole_answer_is_not_asked(house: House) -> None:
    house.raw.script = Exchange.answer
    body = {"model": "asked", "messages": MESSAGES}
    assert house.http.post("/v1/chat/completions", json=body).status_code == 200
    assert json.loads(house.raw.last.body) == {**body, "model": "m"}


def test_a_chat_that_tells_of_the_cache_in_anthropics_words_too_counts_it_once(house: House) -> None:
    house.raw.script = lambda exchange: exchange.answer(
        b'{"choices":[{}],"usage":{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":'
        b'{"cached_tokens":80},"cache_read_input_tokens":80,"cache_creation_input_tokens":15}}',
        b"content-type: application/json",
    )
    before = tokens(house, "asked")
    house.http.post("/v1/chat/completions", json={"model": "asked", "messages": MESSAGES})
    house.wait_for_metric("pointsman_in_flight", 0)
    after = tokens(house, "asked")
    assert {kind: after[kind] - before[kind] for kind in after} == {
        "prompt": 100, "cached": 80, "cache_write": 15, "completion": 5, "reasoning": 0,
    }  # fmt: skip


def test_cost_and_what_the_baseline_would_have_cost(house: House) -> None:
    cost, baseline = house.metric(f'{COST}{{model="asked"}}'), house.metric(BASELINE)
    stream(house, "asked")
    assert house.metric(f'{COST}{{model="asked"}}') - cost == pytest.approx((60 * 1 + 40 * 0.5 + 10 * 2) / 1e6)
    assert house.metric(BASELINE) - baseline == pytest.approx((100 * 10 + 10 * 30) / 1e6)


OF_CHATS = (
    b'"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":20}'
)
OF_MESSAGES = b'"input_tokens":40,"cache_read_input_tokens":40,"cache_creation_input_tokens":20,"output_tokens":10'


@pytest.mark.parametrize(
    ("path", "model", "usage", "usd"),
    [
        pytest.param("chat/completions", "written", OF_CHATS, 40 * 1 + 40 * 0.5 + 20 * 1.25 + 10 * 2, id="chat"),
        pytest.param("messages", "claude", OF_MESSAGES, 40 * 1 + 40 * 0.5 + 20 * 1.25 + 10 * 2, id="message"),
        pytest.param("chat/completions", "plain", OF_CHATS, 100 * 1 + 10 * 2, id="no-price-of-its-own"),
    ],
)
def test_what_is_written_to_the_cache_costs_its_own_price(
    house: House, path: str, model: str, usage: bytes, usd: float
) -> None:
    house.raw.script = lambda exchange: exchange.answer(
        b'{"type":"message","choices":[{}],"usage":{%b}}' % usage, b"content-type: application/json"
    )
    before, cost = tokens(house, model), house.metric(f'{COST}{{model="{model}"}}')
    house.http.post(f"/v1/{path}", json={"model": model, "max_tokens": 9, "messages": MESSAGES}).raise_for_status()
    house.wait_for_metric("pointsman_in_flight", 0)
    after = tokens(house, model)
    assert {kind: after[kind] - before[kind] for kind in after} == {
        "prompt": 100, "cached": 40, "cache_write": 20, "completion": 10, "reasoning": 0,
    }  # fmt: skip
    assert house.metric(f'{COST}{{model="{model}"}}') - cost == pytest.approx(usd / 1e6)


def test_what_has_no_price_is_held_against_nothing(house: House) -> None:
    before = house.metric(BASELINE)
    stream(house, "unpriced")
    assert tokens(house, "unpriced")["prompt"] == 100
    assert house.metric(BASELINE) == before


def test_reading_a_stored_answer_again_costs_nothing(house: House) -> None:
    house.raw.script = lambda exchange: exchange.answer(
        b'{"id":"resp_1","usage":{"input_tokens":100,"output_tokens":10}}', b"content-type: application/json"
    )
    before = tokens(house, "plain")
    for method, path in (("GET", "/v1/responses/resp_1"), ("POST", "/v1/embeddings")):
        got = house.http.request(method, path, json={}, headers={"x-pointsman-model": "plain"})
        assert got.status_code == 200
    house.wait_for_metric("pointsman_in_flight", 0)
    assert tokens(house, "plain")["prompt"] - before["prompt"] == 100
