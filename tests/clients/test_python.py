"""OpenAI's Python SDK through Pointsman: every kind of call works, and went to the model that fits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI, AzureOpenAI, NotFoundError, OpenAI, pydantic_function_tool
from pydantic import BaseModel

from proxy.simulator import Log
from tests.clients.calls import CODE, PIXEL, SCHEMA, TOOL, ask, messages, simulate


class City(BaseModel):
    """Where it is and how many live there."""

    name: str
    people: int


def test_a_whole_answer(client: OpenAI, log: Log) -> None:
    answer = ask(client)
    assert answer.object == "chat.completion"
    assert answer.model == "gpt-4o"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert log.last.header("authorization") == "Bearer sk-test"


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_a_stream_without_usage_has_none(client: OpenAI) -> None:
    assert all(chunk.usage is None for chunk in ask(client, stream=True))


def test_events_arrive_while_the_upstream_is_still_writing(client: OpenAI, log: Log) -> None:
    with ask(client, stream=True, extra_headers=simulate(stall=3)) as stream:
        chunks = [next(stream) for _ in range(3)]
        assert log.last.ended_at is None
    assert chunks[0].choices[0].delta.role == "assistant"


@pytest.mark.parametrize(
    ("content", "model", "route", "chosen", "reason"),
    [
        pytest.param(CODE, "auto", "code", "large", "topic", id="by-topic"),
        pytest.param("thanks a lot", "gpt-4o", "asked", "large", "rule", id="by-the-name-asked-for"),
        pytest.param("thanks a lot", "o9-preview", "default", "small", "default", id="any-name-is-routed"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_raw_headers_tell_the_decision_beside_the_upstreams_own(
    client: OpenAI, content: str, model: str, route: str, chosen: str, reason: str, is_stream: bool
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages(content), stream=is_stream)
    assert raw.headers["x-pointsman-route"] == route
    assert raw.headers["x-pointsman-model"] == chosen
    assert raw.headers["x-pointsman-reason"] == reason
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 0
    parsed: Any = raw.parse()
    answers = list(parsed) if is_stream else [parsed]
    assert {answer.model for answer in answers} == {{"small": "gpt-4o-mini", "large": "gpt-4o"}[chosen]}


def test_the_callers_own_request_id_comes_back(client: OpenAI) -> None:
    assert ask(client, extra_headers={"x-request-id": "mine-1"})._request_id == "mine-1"


def test_tool_arguments_are_json(client: OpenAI) -> None:
    choice = ask(client, tools=[TOOL]).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "lookup")
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_streamed_tool_arguments_are_the_same_json(client: OpenAI) -> None:
    (whole,) = ask(client, tools=[TOOL]).choices[0].message.tool_calls
    chunks = list(ask(client, tools=[TOOL], stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert (deltas[0].index, deltas[0].function.name) == (0, "lookup")
    assert "".join(call.function.arguments for call in deltas) == whole.function.arguments


def test_image_parts_reach_the_upstream(client: OpenAI, log: Log) -> None:
    parts = [{"type": "text", "text": CODE}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    answer = ask(client, parts)
    assert "1 image" in answer.choices[0].message.content
    assert answer.model == "gpt-4o"  # the text beside the image decides
    assert json.loads(log.last.body)["messages"][0]["content"] == parts


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("response_format", "key", "kind"),
    [
        pytest.param({"type": "json_object"}, "answer", str, id="json-object"),
        pytest.param(
            {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}, "n", int, id="json-schema"
        ),
    ],
)
def test_response_format(client: OpenAI, response_format: Any, key: str, kind: type, is_stream: bool) -> None:
    answer = ask(client, "Answer in json", response_format=response_format, stream=is_stream)
    if is_stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    assert isinstance(json.loads(text)[key], kind)


def test_parse_makes_the_model(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model="auto", messages=messages(), response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_parse_makes_tool_arguments(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model="auto", messages=messages(), tools=[pydantic_function_tool(City)])
    (call,) = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, City)


def test_the_stream_helper_ends_with_the_whole(client: OpenAI) -> None:
    with client.chat.completions.stream(model="auto", messages=messages(), response_format=City) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(final.choices[0].message.parsed, City)


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["auto", "small", "large"]
    assert client.models.retrieve("small").object == "model"


def test_asynchronous(base_url: str) -> None:
    async def talk() -> tuple[Any, str, str | None, str, list[str]]:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            chat = client.chat.completions
            whole = await chat.create(model="auto", messages=messages())
            stream = await chat.create(model="auto", messages=messages(), stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            raw = await chat.with_raw_response.create(model="auto", messages=messages())
            async with chat.stream(model="auto", messages=messages(), tools=[TOOL]) as helper:
                (call,) = (await helper.get_final_completion()).choices[0].message.tool_calls or []
            models = [model.id async for model in client.models.list()]
            return whole, text, raw.headers.get("x-pointsman-route"), call.function.arguments, models

    whole, text, route, arguments, models = asyncio.run(talk())
    assert text == whole.choices[0].message.content
    assert route == "code"
    assert isinstance(json.loads(arguments)["city"], str)
    assert models == ["auto", "small", "large"]


@pytest.mark.parametrize("at", ["azure_endpoint", "base_url"])
def test_azures_client_is_told_that_its_urls_are_not_here(insistent_url: str, at: str, log: Log) -> None:
    """As the page on migrating says, with the plain client in its place, whose model is the deployment."""
    where: Any = {at: insistent_url if at == "base_url" else insistent_url.removesuffix("/v1")}
    with (
        AzureOpenAI(**where, api_version="2024-10-21", api_key="sk-test", max_retries=0) as azure,
        pytest.raises(NotFoundError, match="There is nothing at POST"),
    ):
        ask(azure, model="large")
    assert log.entries() == []
    with OpenAI(base_url=insistent_url, api_key="any", max_retries=0) as plain:
        assert ask(plain, model="large").model == "gpt-4o"


def test_many_at_once_do_not_mix(base_url: str) -> None:
    async def talk() -> list[str]:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:

            async def one(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="auto", messages=messages(), stream=True, extra_headers=simulate(text=f"number%20{number}")
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(one(number) for number in range(30)))

    assert asyncio.run(talk()) == [f"number {number}" for number in range(30)]
