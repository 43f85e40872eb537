"""OpenAI's Responses: the documents and events are what the official client's own models ask for."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.simulator.conftest import Upstream

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def ask(upstream: Upstream, *, headers: dict[str, str] | None = None, **fields: object) -> Any:
    body = {"model": "gpt-4o", "input": "Why is the sky blue?", **fields}
    return upstream.http.post("/east/v1/responses", json=body, headers=headers)


def events_of(text: str) -> list[dict[str, Any]]:
    """The events' data, each found to be named as it names itself."""
    events = []
    for event in text.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def once(kinds: list[str]) -> list[str]:
    return list(dict.fromkeys(kinds))


def test_a_whole_response(upstream: Upstream) -> None:
    answer = ask(upstream, instructions="Be brief.", metadata={"a": "b"}, headers={"x-simulate-cached-tokens": "4"})
    response = Response.model_validate(answer.json())
    assert response.status == "completed"
    assert response.output_text.startswith("This is gpt-4o at east (simulated). You wrote: “Why is the sky blue?”")
    assert (response.instructions, response.metadata) == ("Be brief.", {"a": "b"})
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 4
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": [TOOL]}, {"model": "o1"}, {"model": "deepseek-r1"}, {"max_output_tokens": 3}],
    ids=["text", "tool", "reasoning", "shown-reasoning", "limit"],
)
def test_a_stream_builds_up_the_whole(upstream: Upstream, fields: dict[str, Any]) -> None:
    seed = {"x-simulate-seed": "1"}
    streamed = ask(upstream, stream=True, headers=seed, **fields)
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(streamed.text)
    for event in events:
        EVENT.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]["response"]
    assert last["output"] == [event["item"] for event in events if event["type"] == "response.output_item.done"]
    deltas = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
    said = "".join(event.get("text", event.get("arguments", "")) for event in events if event["type"].endswith(".done"))
    assert deltas == said != ""
    whole = ask(upstream, headers=seed, **fields).json()
    assert [item["type"] for item in whole["output"]] == [item["type"] for item in last["output"]]
    assert whole["usage"] == last["usage"]


def test_the_order_of_a_texts_events(upstream: Upstream) -> None:
    assert once([event["type"] for event in events_of(ask(upstream, stream=True).text)]) == TEXT_EVENTS


def test_reasoning_comes_first_and_counts(upstream: Upstream) -> None:
    response = Response.model_validate(ask(upstream, model="o1", reasoning={"effort": "low"}).json())
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens > 0
    kinds = [event["type"] for event in events_of(ask(upstream, model="deepseek-r1", stream=True).text)]
    assert kinds.index("response.reasoning_text.delta") < kinds.index("response.output_text.delta")


def test_a_limit_leaves_it_incomplete(upstream: Upstream) -> None:
    response = ask(upstream, max_output_tokens=3).json()
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    last = events_of(ask(upstream, max_output_tokens=3, stream=True).text)[-1]
    assert last["type"] == "response.incomplete"


def test_a_function_is_called_and_answers(upstream: Upstream) -> None:
    response = ask(upstream, input="The weather in Paris?", tools=[TOOL], tool_choice="required").json()
    (call,) = response["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == (
        "function_call",
        "get_weather",
        {"city": "Paris"},
    )
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    items = [{"role": "user", "content": "The weather in Paris?"}, call, output]
    for fields in ({"input": items}, {"input": [output], "previous_response_id": response["id"]}):
        assert (
            "The tool answered: “sunny”"
            in Response.model_validate(ask(upstream, tools=[TOOL], **fields).json()).output_text
        )
    refused = ask(upstream, input=[output])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input")
    named = ask(upstream, tools=[TOOL], tool_choice={"type": "function", "name": "get_weather"}).json()
    assert named["output"][0]["type"] == "function_call"


def test_items_with_parts(upstream: Upstream) -> None:
    parts = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": "data:,"}]
    answer = Response.model_validate(ask(upstream, input=[{"role": "user", "content": parts}]).json())
    assert "1 image" in answer.output_text
    assert "What is this?" in answer.output_text


@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
def test_formats(upstream: Upstream, kind: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": kind, "name": "s", "schema": schema} if kind == "json_schema" else {"type": kind}
    answer = Response.model_validate(ask(upstream, input="in json, please", text={"format": wanted}).json())
    assert isinstance(json.loads(answer.output_text), dict)


def test_going_on_from_a_response(upstream: Upstream) -> None:
    first = ask(upstream).json()
    second = ask(upstream, input="And at night?", previous_response_id=first["id"]).json()
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > first["usage"]["total_tokens"] / 2  # all of it is read again
    third = ask(upstream, input="Why?", previous_response_id=second["id"], stream=True)
    assert events_of(third.text)[-1]["response"]["usage"]["input_tokens"] > second["usage"]["input_tokens"]


@pytest.mark.parametrize("where", ["unknown", "elsewhere", "not-stored", "deleted"])
def test_a_previous_response_that_is_not_kept(upstream: Upstream, where: str) -> None:
    name = "resp_0"
    if where != "unknown":
        name = ask(upstream, store=where != "not-stored").json()["id"]
    if where == "deleted":
        assert upstream.http.delete(f"/east/v1/responses/{name}").json()["deleted"] is True
    path = "/west/v1/responses" if where == "elsewhere" else "/east/v1/responses"
    answer = upstream.http.post(path, json={"model": "m", "input": "hi", "previous_response_id": name})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id")
    assert upstream.http.get(f"{path}/{name}").status_code == 404
    assert upstream.http.delete(f"{path}/{name}").status_code == 404


def test_a_response_is_kept_whether_streamed_or_not(upstream: Upstream) -> None:
    whole = ask(upstream).json()
    assert upstream.openai.responses.retrieve(whole["id"]).to_dict() == Response.model_validate(whole).to_dict()
    streamed = events_of(ask(upstream, stream=True).text)[-1]["response"]
    assert upstream.http.get(f"/east/v1/responses/{streamed['id']}").json() == streamed


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"instructions": 3}, "instructions"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
    ],
)
def test_refusals(upstream: Upstream, fields: dict[str, Any], param: str) -> None:
    answer = ask(upstream, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_official_client(upstream: Upstream) -> None:
    client = upstream.openai
    whole = client.responses.create(model="gpt-4o", input="Why is the sky blue?")
    with client.responses.stream(model="gpt-4o", input="Why is the sky blue?") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input="hi", previous_response_id="resp_0")
    assert caught.value.code == "previous_response_not_found"


def test_an_error_within_the_stream(upstream: Upstream) -> None:
    *before, last = events_of(ask(upstream, stream=True, headers={"x-simulate-error-event": "4"}).text)
    assert (len(before), last["type"], last["code"]) == (4, "error", "server_error")
