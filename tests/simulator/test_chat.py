"""Chat completions without streaming, seen through the official client and on the wire."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.simulator.conftest import Upstream

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "days", "unit"],
        },
    },
}
SEARCH = {"type": "function", "function": {"name": "search_web", "description": "Search the web for pages"}}


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_the_whole_shape(upstream: Upstream) -> None:
    answer = upstream.chat("What is a monad?").json()
    assert re.fullmatch(r"chatcmpl-\w{29}", answer.pop("id"))
    assert answer.pop("created") > 1_700_000_000
    assert answer.pop("system_fingerprint").startswith("fp_")
    (choice,) = answer.pop("choices")
    assert "gpt-4o-mini at east" in choice["message"].pop("content")
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": "stop",
    }
    usage = answer.pop("usage")
    assert usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 0}
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0
    assert answer == {"object": "chat.completion", "model": "gpt-4o-mini", "service_tier": "default"}


def test_headers_of_openai(upstream: Upstream) -> None:
    first, second = upstream.chat(), upstream.chat()
    assert first.headers["content-type"] == "application/json"
    for name in ("openai-processing-ms", "openai-version", "x-ratelimit-remaining-tokens", "date", "server"):
        assert len(first.headers.get_list(name)) == 1
    assert first.headers["x-request-id"].startswith("req_")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    cookies = first.headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert set(cookies).isdisjoint(second.headers.get_list("set-cookie"))


def test_a_careless_cookie_jar_would_send_the_cookie_back(upstream: Upstream) -> None:
    """Or no test could see that a proxy's jar leaks."""
    with httpx.Client(base_url=upstream.url) as careless:
        careless.get("/v1/models")
        careless.get("/v1/models")
    assert "__cf_bm=" in (upstream.simulator.log.last.header("cookie") or "")


def test_same_request_same_text_and_another_prompt_another_text(upstream: Upstream) -> None:
    first, again = upstream.chat("sort a list"), upstream.chat("sort a list")
    assert text_of(first) == text_of(again)
    assert first.json()["id"] != again.json()["id"]
    assert text_of(upstream.chat("bake some bread")) != text_of(first)


def test_a_seed_fixes_every_byte(upstream: Upstream) -> None:
    one, same, other = (upstream.chat(headers={"x-simulate-seed": seed}) for seed in "778")
    assert one.content == same.content
    assert one.json()["id"] != other.json()["id"]


def test_the_answer_says_who_answers_and_what_was_asked(upstream: Upstream) -> None:
    body = {"model": "some-model", "messages": [{"role": "user", "content": "Plan my garden"}]}
    text = text_of(upstream.http.post("/v1/chat/completions", json=body))
    assert "This is some-model (simulated)" in text
    assert "“Plan my garden”" in text


def test_personas_differ(upstream: Upstream) -> None:
    small, large, coder = (text_of(upstream.chat("merge lists", model=m)) for m in ("gpt-4o-mini", "gpt-4o", "x-coder"))
    assert len(large) > 2 * len(small)
    assert "```python\ndef merge_lists(" in coder
    assert "```" not in small + large


def test_reasoning_is_counted_and_some_models_show_it(upstream: Upstream) -> None:
    hidden = upstream.chat(model="o3-mini").json()
    low = upstream.chat(model="o3-mini", reasoning_effort="low").json()
    tokens, low_tokens = (a["usage"]["completion_tokens_details"]["reasoning_tokens"] for a in (hidden, low))
    assert tokens > low_tokens > 0
    assert hidden["usage"]["completion_tokens"] > tokens
    assert "reasoning_content" not in hidden["choices"][0]["message"]
    assert upstream.chat(model="deepseek-r1").json()["choices"][0]["message"]["reasoning_content"]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_limit(upstream: Upstream, limit: str) -> None:
    fields: dict[str, Any] = {limit: 3}
    answer = upstream.chat(**fields).json()
    assert answer["choices"][0]["message"]["content"] == "This is gpt-4o-mini"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_a_limit_below_the_reasoning_leaves_nothing_to_say(upstream: Upstream) -> None:
    answer = upstream.chat(model="o1", max_completion_tokens=10).json()
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 10


@pytest.mark.parametrize("stop", [" at", ["zzz", " (sim", " at"]])
def test_stop(upstream: Upstream, stop: object) -> None:
    answer = upstream.chat(stop=stop)
    assert text_of(answer) == "This is gpt-4o-mini"
    assert answer.json()["choices"][0]["finish_reason"] == "stop"


def test_n_choices_differ(upstream: Upstream) -> None:
    choices = upstream.chat("tell me about rivers and lakes", model="gpt-4o", n=3).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in choices}) == 3


def test_logprobs(upstream: Upstream) -> None:
    (choice,) = upstream.chat(logprobs=True, top_logprobs=2).json()["choices"]
    content = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == choice["message"]["content"]
    assert bytes(content[0]["bytes"]).decode() == content[0]["token"]
    assert len(content[0]["top_logprobs"]) == 2


def test_tool_call_with_valid_arguments(upstream: Upstream) -> None:
    answer = upstream.chat("Weather in New York for 12 days in fahrenheit?", tools=[SEARCH, WEATHER]).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "New York", "days": 7, "unit": "fahrenheit"}


def test_several_tools_named_in_the_prompt_are_called_in_parallel(upstream: Upstream) -> None:
    prompt = "Call get_weather and search_web"
    calls = upstream.chat(prompt, tools=[WEATHER, SEARCH]).json()["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather", "search_web"]
    assert calls[0]["id"] != calls[1]["id"]
    one = upstream.chat(prompt, tools=[WEATHER, SEARCH], parallel_tool_calls=False).json()["choices"][0]["message"]
    assert len(one["tool_calls"]) == 1


@pytest.mark.parametrize(
    ("choice", "called", "finish"),
    [
        pytest.param("none", None, "stop", id="none"),
        pytest.param("required", "search_web", "tool_calls", id="required"),
        pytest.param({"type": "function", "function": {"name": "search_web"}}, "search_web", "stop", id="named"),
    ],
)
def test_tool_choice(upstream: Upstream, choice: object, called: str | None, finish: str) -> None:
    answer = upstream.chat("search for pages", tools=[WEATHER, SEARCH], tool_choice=choice).json()["choices"][0]
    calls = answer["message"].get("tool_calls")
    assert (calls[0]["function"]["name"] if calls else None) == called
    assert answer["finish_reason"] == finish


def test_a_tools_result_is_answered_in_text(upstream: Upstream) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees and sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "no wind"},
    ]
    text = text_of(upstream.chat(messages=messages, tools=[WEATHER]))
    assert "18 degrees and sunny" in text
    assert "no wind" in text


def test_json_object(upstream: Upstream) -> None:
    text = text_of(upstream.chat("Answer in JSON", response_format={"type": "json_object"}))
    assert json.loads(text)["model"] == "gpt-4o-mini"
    refused = upstream.chat("Answer", response_format={"type": "json_object"})
    assert refused.status_code == 400
    assert "must contain the word 'json'" in refused.json()["error"]["message"]


def test_json_schema(upstream: Upstream) -> None:
    schema = {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"type": "string"}}, "sure": {"type": "boolean"}},
        "required": ["steps", "sure"],
    }
    wrapper = {"type": "json_schema", "json_schema": {"name": "plan", "strict": True, "schema": schema}}
    plan = json.loads(text_of(upstream.chat("Plan a trip", response_format=wrapper)))
    assert plan == {"steps": ["Plan a trip"], "sure": True}


def test_images_and_audio_are_mentioned(upstream: Upstream) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    other = {"type": "file", "file": {"file_id": "file-1"}}
    content = [{"type": "text", "text": "What is this?"}, image, image, audio, other]
    text = text_of(upstream.chat(messages=[{"role": "user", "content": content}]))
    assert "You sent 2 images. You sent 1 audio clip." in text
    assert "“What is this?”" in text


def test_unknown_fields_are_ignored(upstream: Upstream) -> None:
    assert upstream.chat(a_field_of_next_month={"x": 1}, seed=2**63).status_code == 200


def test_the_official_client_reads_it(upstream: Upstream) -> None:
    answer = upstream.openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
