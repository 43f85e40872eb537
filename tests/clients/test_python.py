"""OpenAI's Python SDK cannot tell Pointsman from OpenAI, except that each request went to the right model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from proxy.simulator import Knobs, Simulator

CODE = "Fix the bug in my Python loop"
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: Any = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
        yield client


def ask(client: OpenAI, content: Any = CODE, **more: Any) -> Any:
    return client.chat.completions.create(
        model=more.pop("model", "auto"), messages=[{"role": "user", "content": content}], **more
    )


def text_of(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "long": {"max_completion_tokens": 3},
    "tools": {"tools": [TOOL]},
    "several": {"n": 2},
    "json-object": {"content": "Answer in json", "response_format": {"type": "json_object"}},
    "json-schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
    "image": {
        "content": [
            {"type": "text", "text": CODE},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]
    },
}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_what_the_upstream_itself_would_give(
    client: OpenAI, upstream_url: str, kind: str, is_stream: bool
) -> None:
    more: dict[str, Any] = {**KINDS[kind], "extra_headers": {"x-simulate-seed": "3"}}
    if is_stream:
        more |= {"stream": True, "stream_options": {"include_usage": True}}
    through = ask(client, **more, model="gpt-auto")
    model = "gpt-4o" if kind != "json-object" else "gpt-4o-mini"
    with OpenAI(base_url=upstream_url + "/sim/v1", api_key="sk-test", max_retries=0) as direct:
        straight = ask(direct, **more, model=model)
        assert list(through) == list(straight)


def test_asynchronous(base_url: str) -> None:
    async def talk() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            messages: Any = [{"role": "user", "content": "thanks a lot"}]
            whole = await client.chat.completions.create(model="auto", messages=messages)
            stream = await client.chat.completions.create(model="auto", messages=messages, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            return whole.choices[0].message.content or "", "".join(pieces)

    whole, streamed = asyncio.run(talk())
    assert whole == streamed
    assert "gpt-4o-mini" in whole


def test_streamed_tool_arguments_are_whole_json(client: OpenAI) -> None:
    chunks = ask(client, tools=[TOOL], stream=True)
    pieces = [call.function.arguments for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert isinstance(json.loads("".join(pieces))["city"], str)


def test_raw_headers_tell_the_decision_beside_the_upstreams_own(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": CODE}], extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-pointsman-route"] == "code"
    assert raw.headers["x-pointsman-model"] == "large"
    assert raw.headers["x-pointsman-reason"] == "topic"
    assert raw.headers["x-request-id"] == "mine-1"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().model == "gpt-4o"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (502, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_each_status_of_an_upstream_raises_its_class(
    client: OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error) as caught:
        ask(client, extra_headers={"x-simulate-status": str(status)})
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        pytest.param(
            lambda client: ask(client, model="unknown"), openai.NotFoundError, "model_not_found", id="unknown-model"
        ),
        pytest.param(
            lambda client: client.post("/chat/completions", body={"model": "auto"}, cast_to=object),
            openai.BadRequestError,
            "missing_required_parameter",
            id="no-messages",
        ),
    ],
)
def test_the_proxys_own_errors_raise_theirs(
    client: OpenAI, call: Callable[[OpenAI], Any], error: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(error) as caught:
        call(client)
    assert caught.value.code == code


def test_the_sdks_own_retry_works(base_url: str, simulator: Simulator) -> None:
    simulator.script(Knobs(status=503))
    with OpenAI(base_url=base_url, api_key="sk-test", max_retries=1) as client:
        assert ask(client).choices[0].finish_reason == "stop"


def test_a_client_that_gives_up_raises_and_frees_the_upstream(client: OpenAI, simulator: Simulator) -> None:
    simulator.log.clear()
    with pytest.raises(openai.APITimeoutError):
        ask(client, timeout=0.2, extra_headers={"x-simulate-stall-headers": "1"})
    simulator.log.wait_for(lambda entry: entry.disconnected_at is not None, timeout=2)


def test_a_cut_stream_raises_after_its_last_whole_event(client: OpenAI) -> None:
    chunks: list[Any] = []
    with pytest.raises(openai.APIError, match="broke off") as caught:
        chunks.extend(ask(client, stream=True, extra_headers={"x-simulate-cut": "3"}))
    assert type(caught.value) is openai.APIError  # neither a parser's complaint nor a lost connection


def test_closing_a_stream_early_frees_the_upstream(client: OpenAI, simulator: Simulator) -> None:
    simulator.log.clear()
    with ask(client, stream=True, extra_headers={"x-simulate-token-ms": "20"}) as stream:
        next(iter(stream))
    simulator.log.wait_for(lambda entry: entry.disconnected_at is not None, timeout=2)


def test_the_list_of_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["auto", "small", "large"]
    assert client.models.retrieve("small").object == "model"
