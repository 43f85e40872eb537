"""Anthropic's Messages: the documents and events are what its official client's own models ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from proxy.simulator import build_simulator
from tests.serving import serving
from tests.simulator.conftest import Upstream
from tests.simulator.test_responses import events_of, once

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
VERSION = {"anthropic-version": "2023-06-01"}
TOOL: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def client(running: Upstream) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=f"{running.url}/east", api_key="sk-ant", max_retries=0) as client:
        yield client


def ask(upstream: Upstream, *, headers: dict[str, str] | None = None, **fields: object) -> httpx.Response:
    asked = {"model": "claude-opus", "max_tokens": 500, "messages": [{"role": "user", "content": "Why?"}], **fields}
    body = {name: value for name, value in asked.items() if value is not None}
    return upstream.http.post("/east/v1/messages", json=body, headers={**VERSION, **(headers or {})})


def test_a_whole_message(upstream: Upstream) -> None:
    answer = ask(upstream, system="Be brief.", headers={"x-simulate-cached-tokens": "3"})
    assert answer.headers["request-id"].startswith("req_")
    assert "openai-version" not in answer.headers
    message = Message.model_validate(answer.json())
    assert (message.model, message.stop_reason) == ("claude-opus", "end_turn")
    assert message.content[0].type == "text"
    assert message.content[0].text.startswith("This is claude-opus at east (simulated).")
    assert message.usage.cache_read_input_tokens == 3
    plain = Message.model_validate(ask(upstream, system="Be brief.").json())
    assert plain.usage.input_tokens == message.usage.input_tokens + 3


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": [TOOL]}, {"model": "deepseek-r1"}, {"max_tokens": 3}],
    ids=["text", "tool", "thinking", "limit"],
)
def test_a_stream_has_the_right_events(upstream: Upstream, fields: dict[str, Any]) -> None:
    events = events_of(ask(upstream, stream=True, **fields).text)
    for event in events:
        if event["type"] != "ping":
            EVENT.validate_python(event)
    assert once([event["type"] for event in events]) == [
        "message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    whole = ask(upstream, **fields).json()
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert events[-2]["usage"] == {"output_tokens": whole["usage"]["output_tokens"]}
    assert events[0]["message"]["usage"]["input_tokens"] == whole["usage"]["input_tokens"]


@pytest.mark.parametrize("tools", [[], [TOOL]], ids=["text", "tool"])
def test_the_official_client_builds_up_the_whole(client: anthropic.Anthropic, tools: Any) -> None:
    asked: Any = {
        "model": "m",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "How is it in Paris today?"}],
        "tools": tools,
    }
    whole = client.messages.create(**asked, extra_headers={"x-simulate-seed": "1"})
    with client.messages.stream(**asked, extra_headers={"x-simulate-seed": "1"}) as stream:
        final = stream.get_final_message()
    for told, same in zip(final.content, whole.content, strict=True):
        assert told.type == same.type
        if told.type == "text" and same.type == "text":
            assert told.text == same.text
        if told.type == "tool_use" and same.type == "tool_use":
            assert told.input == same.input == {"city": "Paris"}
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


def test_how_it_ends(upstream: Upstream) -> None:
    assert ask(upstream, max_tokens=2).json()["stop_reason"] == "max_tokens"
    stopped = ask(upstream, stop_sequences=["(simulated)", "Why"]).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "(simulated)")
    assert stopped["content"][0]["text"] == "This is claude-opus at east "
    forced = ask(upstream, tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"}).json()
    assert (forced["stop_reason"], forced["content"][0]["type"]) == ("tool_use", "tool_use")
    assert ask(upstream, tools=[TOOL], tool_choice={"type": "none"}).json()["content"][0]["type"] == "text"


def test_a_result_of_a_tool(upstream: Upstream) -> None:
    messages = [
        {"role": "user", "content": "The weather in Paris?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]},
    ]
    assert "The tool answered: “sunny”" in ask(upstream, messages=messages, tools=[TOOL]).json()["content"][0]["text"]


def test_an_image(upstream: Upstream) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}]
    assert "1 image" in ask(upstream, messages=messages).json()["content"][0]["text"]


def test_counting(client: anthropic.Anthropic) -> None:
    few = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "hi"}])
    more = client.messages.count_tokens(
        model="m", messages=[{"role": "user", "content": "hi" * 100}], system="Be brief."
    )
    assert 0 < few.input_tokens < more.input_tokens


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"max_tokens": None}, "max_tokens: Field required", id="max-tokens"),
        pytest.param({"model": None}, "model: Field required", id="model"),
        pytest.param({"messages": None}, "messages: Field required", id="messages"),
        pytest.param({"messages": []}, "messages: at least one message is required", id="no-message"),
        pytest.param({"messages": [{"role": "user"}]}, "messages.0.content: Field required", id="content"),
        pytest.param({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0.type: Field required", id="block"),
        pytest.param({"tools": [{}]}, "tools.0.name: Field required", id="tool"),
    ],
)  # fmt: skip
def test_refusals(upstream: Upstream, fields: dict[str, Any], message: str) -> None:
    answer = ask(upstream, **fields)
    told = answer.json()
    assert (answer.status_code, told["type"]) == (400, "error")
    assert told["error"] == {"type": "invalid_request_error", "message": message}
    assert told["request_id"] == answer.headers["request-id"]


def test_a_system_message_is_no_message(upstream: Upstream) -> None:
    answer = ask(upstream, messages=[{"role": "system", "content": "x"}])
    assert 'Unexpected role "system"' in answer.json()["error"]["message"]


def test_with_its_beta_a_system_message_is_one(client: anthropic.Anthropic) -> None:
    """As Claude Code sends them."""
    messages: Any = [
        {"role": "user", "content": "Why?"},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How?"}]},
    ]
    betas = {"anthropic-beta": "claude-code-20250219,mid-conversation-system-2026-04-07,effort-2025-11-24"}
    answer: Any = client.messages.create(model="m", max_tokens=500, messages=messages, extra_headers=betas)
    assert "How?" in answer.content[0].text
    assert client.messages.count_tokens(model="m", messages=messages, extra_headers=betas).input_tokens > 0


def test_the_version_is_asked_for(upstream: Upstream) -> None:
    for path in ("messages", "messages/count_tokens"):
        answer = upstream.http.post(f"/v1/{path}", json={"model": "m", "max_tokens": 1, "messages": []})
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "anthropic-version: header is required")


def test_the_key() -> None:
    with serving(build_simulator(pace=0, api_key="sk-ant")) as served, httpx.Client(base_url=served.url) as http:
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}

        def status(headers: dict[str, str]) -> int:
            return http.post("/v1/messages", json=body, headers={**VERSION, **headers}).status_code

        assert status({"x-api-key": "sk-ant"}) == status({"authorization": "Bearer sk-ant"}) == 200
        assert status({"x-api-key": "sk-other"}) == status({}) == 401
        assert http.post("/v1/chat/completions", json=body, headers={"x-api-key": "sk-ant"}).status_code == 401


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError), (401, anthropic.AuthenticationError), (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError), (413, anthropic.RequestTooLargeError), (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError), (529, anthropic.OverloadedError),
    ],
)  # fmt: skip
def test_each_status_raises_its_class(
    client: anthropic.Anthropic, status: int, kind: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(
            model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}],
            extra_headers={"x-simulate-status": str(status)},
        )  # fmt: skip
    assert type(caught.value) is kind


def test_a_prompt_that_is_too_long(upstream: Upstream) -> None:
    error = ask(upstream, headers={"x-simulate-context": "1"}).json()["error"]
    assert (error["type"], error["message"].startswith("prompt is too long")) == ("invalid_request_error", True)


def test_an_error_within_the_stream(client: anthropic.Anthropic) -> None:
    asked: Any = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    seen = 0
    with pytest.raises(anthropic.APIStatusError) as caught:
        for _ in client.messages.create(**asked, stream=True, extra_headers={"x-simulate-error-event": "5"}):
            seen += 1
    assert seen == 4  # and a ping, which the client keeps to itself
    assert "Overloaded" in str(caught.value)
