"""Anthropic's Python SDK cannot tell Pointsman from Anthropic."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import OpenAI

from proxy.app import build_app
from proxy.config import parse_config
from proxy.simulator import Log
from tests.clients.calls import CODE, simulate
from tests.serving import serving

ROUTES = """
version: 1
upstreams:
  sim: {{base_url: "{upstream}"}}
  claude: {{base_url: "{upstream}", protocol: anthropic, api_key: sk-operator}}
models:
  small: {{target: {{upstream: sim, name: gpt-4o-mini}}}}
  haiku: {{target: {{upstream: claude, name: claude-haiku}}}}
  opus: {{target: {{upstream: claude, name: claude-opus}}}}
default: small
retry: {{attempts: 1}}
topics:
  code: {{examples: [Write a Python function, Fix this bug in my loop, Why does my program crash?]}}
  smalltalk: {{examples: [hello there, thanks a lot, good morning]}}
routes:
  - {{name: code, when: {{topic: code}}, use: opus, fallbacks: [small]}}
"""
TOOL: Any = {
    "name": "lookup",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def url(upstream_url: str) -> Iterator[str]:
    config = parse_config(ROUTES.format(upstream=upstream_url), source="routes.yaml", environ={})
    with serving(build_app(config)) as proxy:
        yield proxy.url


@pytest.fixture(scope="module")
def claude(url: str) -> Iterator[Anthropic]:
    """Through Pointsman."""
    with Anthropic(base_url=url, api_key="sk-ant-client", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def straight(upstream_url: str) -> Iterator[Anthropic]:
    """Straight to the upstream."""
    with Anthropic(base_url=upstream_url.removesuffix("/v1"), api_key="sk-ant-client", max_retries=0) as client:
        yield client


def asked(content: Any = CODE, **more: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 300, "messages": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize(
    ("content", "model", "route"),
    [pytest.param(CODE, "claude-opus", "code", id="topic"), pytest.param("thanks a lot", "claude-haiku", "default", id="default")],
)  # fmt: skip
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_messages_are_routed(
    claude: Anthropic, log: Log, content: str, model: str, route: str, is_stream: bool
) -> None:
    """By their text, and only to what speaks their protocol: the default does not."""
    raw = claude.messages.with_raw_response.create(**asked(content, stream=is_stream))
    assert raw.headers["x-pointsman-route"] == route
    message: Any = raw.parse()
    assert (next(iter(message)).message if is_stream else message).model == model
    assert (log.last.header("x-api-key"), log.last.header("authorization")) == ("sk-operator", None)
    assert log.last.header("anthropic-version")


def test_the_stream_helper_ends_with_the_whole(claude: Anthropic) -> None:
    whole = claude.messages.create(**asked())
    with claude.messages.stream(**asked()) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.content[0].type == whole.content[0].type == "text"
    assert text == final.content[0].text == whole.content[0].text
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)


def test_tools(claude: Anthropic) -> None:
    first = claude.messages.create(**asked(tools=[TOOL]))
    (use,) = first.content
    assert (first.stop_reason, use.type) == ("tool_use", "tool_use")
    assert use.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    messages = [
        {"role": "user", "content": CODE},
        {"role": "assistant", "content": [use.to_dict()]},
        {"role": "user", "content": [result]},
    ]
    second = claude.messages.create(**asked(messages=messages, tools=[TOOL]))
    assert second.content[0].type == "text"
    assert "sunny" in second.content[0].text
    assert second.model == "claude-opus", "amid tool calls nothing switches"


def test_counting(claude: Anthropic, straight: Anthropic) -> None:
    call: Any = {"model": "haiku", "messages": [{"role": "user", "content": CODE}]}
    counted = straight.messages.count_tokens(**call)
    assert counted.input_tokens > 0
    assert claude.messages.count_tokens(**call) == counted
    routed = claude.messages.with_raw_response.count_tokens(**{**call, "model": "auto"})
    assert (routed.headers["x-pointsman-target"], routed.parse()) == ("claude/claude-haiku", counted)


@pytest.mark.parametrize("kind", ["plain", "tool", "cached", "pieces"])
def test_the_bytes_of_a_stream_are_the_same(claude: Anthropic, straight: Anthropic, kind: str) -> None:
    knobs = {"cached": {"cached_tokens": 4}, "pieces": {"chunk_bytes": 7}}.get(kind, {})
    # The target of this very name, so that even the body is the same.
    call = asked(
        model="claude-opus",
        stream=True,
        tools=[TOOL] if kind == "tool" else [],
        extra_headers=simulate(seed=3, **knobs),
    )

    def read(one: Anthropic) -> bytes:
        with one.messages.with_streaming_response.create(**call) as answer:
            body: bytes = answer.read()
            return body

    assert read(claude) == read(straight)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError), (401, anthropic.AuthenticationError), (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError), (413, anthropic.RequestTooLargeError), (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError), (529, anthropic.OverloadedError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_error_classes(
    straight: Anthropic, claude: Anthropic, url: str, status: int, kind: type[anthropic.APIStatusError], is_stream: bool
) -> None:
    # Our own key being refused is not the client's fault, and it is told so; a 403 may be about what it asked.
    if status == 401:
        kind = anthropic.InternalServerError
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude.messages.create(**asked(stream=is_stream, extra_headers=simulate(status=status)))
    assert type(caught.value) is kind
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"


def test_what_pointsman_refuses_itself(claude: Anthropic, url: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.create(**asked(extra_headers={"x-pointsman-model": "nobody"}))
    assert "not served here" in str(caught.value)
    with pytest.raises(anthropic.BadRequestError, match="speaks OpenAI's"):
        claude.messages.create(**asked(extra_headers={"x-pointsman-model": "small"}))
    answer = httpx.post(f"{url}/v1/messages", content=b"{")
    assert (answer.status_code, answer.json()["type"], answer.json()["error"]["type"]) == (
        400,
        "error",
        "invalid_request_error",
    )


def test_the_models_are_those_that_speak_its_api(claude: Anthropic) -> None:
    listed = claude.models.list(limit=1)
    assert [model.id for model in listed] == ["auto", "haiku", "opus"]
    assert (listed.has_more, listed.first_id, listed.last_id) == (False, "auto", "opus")
    for model in listed:
        assert (model.type, model.display_name, model.lifecycle) == ("model", model.id, "active")
        assert model.created_at == datetime.fromtimestamp(0, UTC)
        assert claude.models.retrieve(model.id) == model
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("small")


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        pytest.param("get", "/v1/models/nope", "not_found_error", id="a-model-that-is-not-there"),
        pytest.param("post", "/v2/x", "not_found_error", id="a-path-that-is-not-there"),
        pytest.param("post", "/v1/models", "invalid_request_error", id="a-wrong-method"),
        pytest.param("get", "/v1/files/", "not_found_error", id="a-path-that-is-not-passed"),
    ],
)
def test_beside_its_api_it_is_told_of_errors_in_its_envelope_too(
    claude: Anthropic, method: str, path: str, kind: str
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        getattr(claude, method)(path, cast_to=object)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)


@pytest.mark.parametrize("pieces", [{}, {"chunk_bytes": 7}], ids=["event-by-event", "in-small-pieces"])
def test_a_cut_stream_raises_its_error(claude: Anthropic, pieces: dict[str, int]) -> None:
    seen: list[str] = []
    with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
        for event in claude.messages.create(**asked(stream=True, extra_headers=simulate(cut=5, **pieces))):
            seen.append(event.type)  # noqa: PERF401  # a comprehension would lose those before the error
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "api_error"
    assert seen == ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]


def test_a_cut_stream_raises_in_the_helper(claude: Anthropic) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="broke off"),
        claude.messages.stream(**asked(extra_headers=simulate(cut=5))) as stream,
    ):
        stream.get_final_message()


def test_leaving_a_stream_frees_the_upstream(claude: Anthropic, log: Log) -> None:
    with claude.messages.create(**asked(stream=True, extra_headers=simulate(stall=4))) as stream:
        next(iter(stream))
    log.wait_for(lambda entry: entry.disconnected_at is not None)


def test_openais_clients_beside_it_get_openais_models(url: str) -> None:
    with OpenAI(base_url=url + "/v1", api_key="sk-test", max_retries=0) as client:
        code = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": CODE}])
        assert [model.id for model in client.models.list()] == ["auto", "small", "haiku", "opus"]
        assert code.model == "gpt-4o-mini", "the route's model speaks another protocol, its fallback does not"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_usage_is_counted(claude: Anthropic, url: str, is_stream: bool) -> None:
    def counted() -> dict[str, float]:
        series = re.findall(
            r'pointsman_tokens_total\{kind="(\w+)",model="haiku"\} (.+)', httpx.get(url + "/metrics").text
        )
        return {kind: float(value) for kind, value in series}

    before = counted()
    message: Any = claude.messages.create(
        **asked("thanks a lot", stream=is_stream, extra_headers=simulate(cached_tokens=3, tokens=9))
    )
    events = list(message) if is_stream else []
    used = events[0].message.usage if is_stream else message.usage
    wanted = {"prompt": used.input_tokens + 3, "cached": 3, "cache_write": 0, "completion": 9, "reasoning": 0}
    deadline = time.monotonic() + 3
    while counted() != {kind: before[kind] + more for kind, more in wanted.items()}:
        assert time.monotonic() < deadline, counted()  # counted just after the last byte is out


def test_asynchronous(url: str) -> None:
    async def talk() -> tuple[str, str]:
        async with AsyncAnthropic(base_url=url, api_key="sk-ant", max_retries=0) as client:
            whole = await client.messages.create(**asked())
            async with client.messages.stream(**asked()) as stream:
                final = await stream.get_final_message()
            assert whole.content[0].type == final.content[0].type == "text"
            return whole.content[0].text, final.content[0].text

    whole, streamed = asyncio.run(talk())
    assert whole == streamed
