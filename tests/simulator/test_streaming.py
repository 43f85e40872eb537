"""The event stream, on the wire and through the official client."""

import json
import time
from typing import Any

import pytest

from tests.simulator.conftest import Upstream
from tests.simulator.test_chat import SEARCH, WEATHER, text_of


def events_of(body: str) -> list[Any]:
    """The events' data, `[DONE]` checked and taken off."""
    assert body.endswith("data: [DONE]\n\n")
    lines = body.removesuffix("data: [DONE]\n\n").split("\n\n")
    assert lines.pop() == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_the_whole_shape(upstream: Upstream) -> None:
    answer = upstream.chat("What is a monad?", stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(answer.text)
    assert len({event["id"] for event in events}) == 1
    for event in events:
        assert event["object"] == "chat.completion.chunk"
        assert set(event) == {
            *("id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "obfuscation")
        }
    first, *middle, last = [event["choices"][0] for event in events]
    assert first["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert last == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert all(choice["finish_reason"] is None for choice in middle)
    assert "".join(choice["delta"]["content"] for choice in middle) == text_of(upstream.chat("What is a monad?"))


def test_usage_chunk(upstream: Upstream) -> None:
    fields: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}
    *events, last = events_of(upstream.chat(**fields).text)
    assert all(event["usage"] is None and "obfuscation" not in event for event in events)
    assert last["choices"] == []
    assert last["usage"] == upstream.chat().json()["usage"]


def test_choices_advance_side_by_side(upstream: Upstream) -> None:
    events = events_of(upstream.chat(stream=True, n=2).text)
    order = [event["choices"][0]["index"] for event in events]
    assert order[:6] == [0, 1, 0, 1, 0, 1]
    whole = upstream.chat(n=2).json()["choices"]
    for index in (0, 1):
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in mine) == whole[index]["message"]["content"]
        assert mine[-1]["finish_reason"] == "stop"


def test_tool_calls_come_as_fragments(upstream: Upstream) -> None:
    fields: dict[str, Any] = {"tools": [WEATHER, SEARCH]}
    prompt = "get_weather in Paris and search_web"
    whole = upstream.chat(prompt, headers={"x-simulate-seed": "1"}, **fields).json()["choices"][0]["message"]
    events = events_of(upstream.chat(prompt, stream=True, **fields).text)
    calls: dict[int, dict[str, str]] = {}
    for event in events:
        for part in event["choices"][0]["delta"].get("tool_calls", ()):
            call = calls.setdefault(part["index"], {"arguments": ""})
            call["arguments"] += part["function"]["arguments"]
            if "id" in part:
                call |= {"id": part["id"], "name": part["function"]["name"]}
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": None, "refusal": None}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert sum("tool_calls" in event["choices"][0]["delta"] for event in events) > 4
    assert [(call["name"], call["arguments"]) for _, call in sorted(calls.items())] == [
        (call["function"]["name"], call["function"]["arguments"]) for call in whole["tool_calls"]
    ]


def test_reasoning_comes_before_the_content(upstream: Upstream) -> None:
    deltas = [event["choices"][0]["delta"] for event in events_of(upstream.chat(model="deepseek-r1", stream=True).text)]
    kinds = ["thought" if "reasoning_content" in delta else "content" for delta in deltas[1:-1]]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"thought", "content"}


def test_logprobs(upstream: Upstream) -> None:
    _, *middle, _ = events_of(upstream.chat(stream=True, logprobs=True).text)
    for event in middle:
        (choice,) = event["choices"]
        assert choice["logprobs"]["content"][0]["token"] == choice["delta"]["content"]


def test_limit(upstream: Upstream) -> None:
    events = events_of(upstream.chat(stream=True, max_tokens=2).text)
    assert len(events) == 4  # role, two tokens, finish
    assert events[-1]["choices"][0]["finish_reason"] == "length"


def test_the_official_client_assembles_it(upstream: Upstream) -> None:
    with upstream.openai.chat.completions.stream(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == text_of(upstream.chat("hello", model="gpt-4o"))
    assert final.usage is not None


@pytest.mark.parametrize("stream", [True, False])
def test_tokens_are_paced(upstream: Upstream, stream: bool) -> None:
    headers = {"x-simulate-first-token-ms": "60", "x-simulate-token-ms": "10", "x-simulate-tokens": "9"}
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    started = time.monotonic()
    times: list[float] = []
    with upstream.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        times.extend(time.monotonic() - started for _ in answer.iter_raw())
    assert times[0] >= (0.06 if stream else 0.15)
    assert times[-1] >= 0.14
    assert len(times) >= (6 if stream else 1)  # they arrived one by one, not at the end


def test_an_instant_simulator_does_not_wait(upstream: Upstream) -> None:
    started = time.monotonic()
    for _ in range(20):
        assert upstream.chat(model="o1", stream=True).text.endswith("[DONE]\n\n")
    assert time.monotonic() - started < 1  # at o1's own pace it would be half a minute
