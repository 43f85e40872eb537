"""OpenAI's Responses and legacy completions through Pointsman, as its Python SDK asks for them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import ResponseErrorEvent
from pydantic import BaseModel

from proxy.app import build_app
from proxy.config import parse_config
from proxy.simulator import Log, Simulator
from tests.clients.calls import CODE, PIXEL, SCHEMA, simulate
from tests.relay.wire import SSE, Exchange, House
from tests.relay.wire import house as open_house
from tests.serving import serving

THANKS = "thanks a lot"
JSON = (b"content-type: application/json",)
TOOL: Any = {
    "type": "function",
    "name": "lookup",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class City(BaseModel):
    """Where it is."""

    name: str


def ask(client: OpenAI, content: Any = CODE, *, model: str = "auto", **more: Any) -> Any:
    return client.responses.create(model=model, input=content, **more)


def test_a_whole_response(client: OpenAI, log: Log) -> None:
    response = ask(client, instructions="Be brief.")
    assert (response.object, response.model, response.status) == ("response", "gpt-4o", "completed")
    assert CODE in response.output_text
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert log.last.path == "/sim/v1/responses"


def test_a_stream_says_what_the_whole_says(client: OpenAI) -> None:
    whole = ask(client)
    events = list(ask(client, stream=True))
    assert [event.type for event in events[:3]] == [
        "response.created", "response.in_progress", "response.output_item.added",
    ]  # fmt: skip
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage == whole.usage


def test_the_stream_helper_ends_with_the_whole(client: OpenAI) -> None:
    with client.responses.stream(model="auto", input=CODE, text_format=City) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.output_text.delta", "response.completed"} <= kinds
    assert isinstance(final.output_parsed, City)


def test_parse_makes_the_model(client: OpenAI) -> None:
    assert isinstance(client.responses.parse(model="auto", input=CODE, text_format=City).output_parsed, City)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("content", "route", "chosen", "served"),
    [
        pytest.param(CODE, "code", "large", "gpt-4o", id="text"),
        pytest.param([{"role": "user", "content": CODE}], "code", "large", "gpt-4o", id="items"),
        pytest.param(THANKS, "default", "small", "gpt-4o-mini", id="default"),
    ],
)
def test_it_is_routed_by_its_text(
    client: OpenAI, content: Any, route: str, chosen: str, served: str, is_stream: bool
) -> None:
    raw = client.responses.with_raw_response.create(model="auto", input=content, stream=is_stream)
    assert (raw.headers["x-pointsman-route"], raw.headers["x-pointsman-model"]) == (route, chosen)
    parsed: Any = raw.parse()
    assert (list(parsed)[-1].response if is_stream else parsed).model == served


def test_tools_call_and_answer(client: OpenAI) -> None:
    first = ask(client, tools=[TOOL])
    (call,) = first.output
    assert (call.type, call.name, isinstance(json.loads(call.arguments)["city"], str)) == (
        "function_call",
        "lookup",
        True,
    )
    events = list(ask(client, tools=[TOOL], stream=True))
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = ask(client, [{"role": "user", "content": CODE}, call.to_dict(), output], tools=[TOOL])
    assert "sunny" in second.output_text
    assert "sunny" in ask(client, [output], tools=[TOOL], previous_response_id=first.id).output_text


def test_an_image_and_a_schema_reach_the_upstream(client: OpenAI, log: Log) -> None:
    parts = [{"type": "input_text", "text": CODE}, {"type": "input_image", "image_url": PIXEL}]
    wanted = {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}
    answer = ask(client, [{"role": "user", "content": parts}], text=wanted)
    assert isinstance(json.loads(answer.output_text)["n"], int)
    assert json.loads(log.last.body)["input"][0]["content"] == parts


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("first", "then", "model"),
    [pytest.param(CODE, THANKS, "gpt-4o", id="large"), pytest.param(THANKS, CODE, "gpt-4o-mini", id="small")],
)
def test_one_that_goes_on_stays_where_the_first_is(
    client: OpenAI, first: str, then: str, model: str, is_stream: bool
) -> None:
    """Only there the previous response is known, so the text alone must not route it elsewhere."""

    def say(content: str, previous: Any) -> Any:
        said = ask(client, content, previous_response_id=previous, stream=is_stream)
        return list(said)[-1].response if is_stream else said

    begun = say(first, None)
    assert say(then, None).model != model, "by itself it goes elsewhere"
    going = say(then, begun.id)
    assert (begun.model, going.model, going.previous_response_id) == (model, model, begun.id)
    assert say(then, going.id).model == model, "and so does the next"


@pytest.mark.parametrize(
    ("model", "is_named", "at_first"),
    [
        pytest.param("auto", False, {}, id="routed"),
        pytest.param("m", False, {}, id="pinned"),
        pytest.param("auto", True, {}, id="named"),
        pytest.param("auto", False, {"user": "ada"}, id="the-user-is-told-once"),
    ],
)
def test_one_that_goes_on_stays_at_the_target_that_keeps_the_first(
    simulator: Simulator, model: str, is_named: bool, at_first: dict[str, Any]
) -> None:
    """Of a model that is on two upstreams, each with responses of its own."""
    text = """
version: 1
upstreams: {{a: {{base_url: "{url}/a/v1"}}, b: {{base_url: "{url}/b/v1"}}}}
models: {{m: {{targets: [{{upstream: a, name: gpt-4o}}, {{upstream: b, name: gpt-4o}}]}}}}
default: m
rewrite: []
"""
    targets = set()
    with serving(simulator) as upstream:
        config = parse_config(text.format(url=upstream.url), source="routes.yaml", environ={})
        with (
            serving(build_app(config)) as proxy,
            OpenAI(base_url=proxy.url + "/v1", api_key="sk-test", max_retries=0) as client,
        ):
            for number in range(12):
                always: dict[str, Any] = {}
                if is_named:  # each its own: all turns of one go to one target anyway
                    always["extra_headers"] = {"x-pointsman-conversation": f"mine {number}"}
                first = client.responses.with_raw_response.create(model=model, input=CODE, **always, **at_first)
                response_id = first.parse().id
                for _ in range(2):
                    then = client.responses.with_raw_response.create(
                        model=model, input=THANKS, previous_response_id=response_id, **always
                    )
                    assert then.headers["x-pointsman-target"] == first.headers["x-pointsman-target"]
                targets.add(first.headers["x-pointsman-target"])
    assert targets == {"a/gpt-4o", "b/gpt-4o"}


KEEPERS = """
version: 1
upstreams: {a: {base_url: "${RAW}/a/v1"}, b: {base_url: "${RAW}/b/v1"}}
models:
  small: {target: {upstream: a, name: gpt-4o}, context: 2000, fallbacks: [near]}
  near: {targets: [{upstream: b, name: o1, weight: 100}, {upstream: a, name: o1}], fallbacks: [small]}
  large: {target: {upstream: b, name: o3}}
default: small
routes:
  - {name: urgent, when: {header: {x-urgent: "1"}}, use: near}
  - {name: essay, when: {text: {contains: essay}}, use: large}
  - {name: long, when: {tokens: {min: 900}}, use: large}
  - {name: some, when: {tokens: {min: 50}}, use: near}
"""
SOME, LONG = "and so on " * 30, "and so on " * 400


@pytest.fixture
def keepers() -> Iterator[tuple[House, OpenAI]]:
    """Two upstreams, each of which would keep what it answers."""
    with (
        open_house(KEEPERS) as house,
        OpenAI(base_url=house.url + "/v1", api_key="sk-test", max_retries=0, timeout=10) as client,
    ):
        yield house, client


def target(raw: Any) -> str:
    return str(raw.headers["x-pointsman-target"])


def test_the_next_turn_may_come_before_the_stream_of_the_last_has_ended(keepers: tuple[House, OpenAI]) -> None:
    """The SDK has a whole response with its last event, and reads no further."""
    house, client = keepers
    asked_again = threading.Event()

    def script(exchange: Exchange) -> None:
        made = {"id": "resp_1", "object": "response", "output": []}
        for kind in ("response.created", "response.completed"):
            event = json.dumps({"type": kind, "response": made}).encode()
            exchange.send((SSE if kind == "response.created" else b"") + b"data: " + event + b"\n\n")
        assert asked_again.wait(10)
        exchange.cut()

    house.raw.script = script
    first = client.responses.with_raw_response.create(model="auto", input="an essay", stream=True)
    events: Any = iter(first.parse())
    assert [next(events).type, next(events).type] == ["response.created", "response.completed"]
    house.raw.script = lambda exchange: exchange.answer(b"{}", b"content-type: application/json")
    then = client.responses.with_raw_response.create(model="auto", input=THANKS, previous_response_id="resp_1")
    asked_again.set()
    assert target(first) == target(then) == "b/o3"


def test_in_the_background_the_announcement_is_an_answer(keepers: tuple[House, OpenAI]) -> None:
    """It may be queued for longer than a first token may take, and a fallback would begin it once more."""
    house, client = keepers
    is_announced = threading.Event()

    def script(exchange: Exchange) -> None:
        made = {"id": "resp_1", "object": "response", "status": "queued", "background": True, "output": []}
        for number, kind in enumerate(("created", "queued", "in_progress", "completed")):
            event = json.dumps({"type": f"response.{kind}", "sequence_number": number, "response": made}).encode()
            exchange.send((b"" if number else SSE) + b"data: " + event + b"\n\n")
            if kind == "queued" and not is_announced.wait(5):
                break
        exchange.cut()

    house.raw.script = script
    stream = client.responses.with_raw_response.create(model="near", input="hi", background=True, stream=True)
    events: Any = iter(stream.parse())
    first = next(events)
    is_announced.set()
    assert (first.type, first.response.id) == ("response.created", "resp_1")
    assert [event.type for event in events] == ["response.queued", "response.in_progress", "response.completed"]
    assert stream.headers["x-pointsman-attempts"] == "1"
    assert len(house.raw.exchanges) == 1


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        pytest.param("hi", LONG, ["a/gpt-4o default", "a/gpt-4o conversation"], id="the-default"),
        pytest.param(LONG, "hi", ["a/gpt-4o conversation"] * 2, id="a-model-that-is-elsewhere"),
        pytest.param(SOME, "hi", ["a/o1 rule", "a/o1 conversation"], id="one-that-is-there-too"),
        pytest.param("an essay", "hi", ["b/o3 rule", "b/o3 conversation"], id="one-that-is-insisted-on"),
    ],
)
def test_a_conversation_is_where_it_was_created(
    keepers: tuple[House, OpenAI], first: str, then: str, expected: list[str]
) -> None:
    """Only the upstream that created it knows its id."""
    house, client = keepers

    def script(exchange: Exchange) -> None:
        made = "conv_1" if exchange.line.endswith(b"/conversations HTTP/1.1") else "resp_1"
        exchange.answer(b'{"id": "%s", "output": []}' % made.encode(), b"content-type: application/json")

    house.raw.script = script
    created = client.conversations.with_raw_response.create()
    assert target(created) == "a/gpt-4o"
    told = []
    for said in (first, then):
        raw = client.responses.with_raw_response.create(model="auto", input=said, conversation=created.parse().id)
        told.append(f"{target(raw)} {raw.headers['x-pointsman-reason']}")
    assert told == expected


@pytest.mark.parametrize(
    "known", [{"conversation": "conv_1"}, {"previous_response_id": "resp_1"}], ids=lambda known: next(iter(known))
)
def test_what_one_upstream_keeps_goes_to_no_fallback_elsewhere(
    keepers: tuple[House, OpenAI], known: dict[str, Any]
) -> None:
    """There it would be refused as unknown, or, worse, answered without what came before."""
    house, client = keepers
    house.raw.script = lambda exchange: exchange.answer(b'{"id": "resp_1", "output": []}', *JSON)
    if "previous_response_id" in known:
        client.responses.create(model="auto", input="hi")
    house.raw.exchanges.clear()
    house.raw.script = lambda exchange: exchange.answer(b"{}", *JSON, status=b"503 Later")
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="auto", input="hi", **known)
    assert {exchange.line for exchange in house.raw.exchanges} == {b"POST /a/v1/responses HTTP/1.1"}


def test_a_response_that_is_not_remembered_is_no_reason_to_leave_the_rules(keepers: tuple[House, OpenAI]) -> None:
    """As after a restart: it may be anywhere, other than what is created for no model, which is at one upstream."""
    house, client = keepers
    house.raw.script = lambda exchange: exchange.answer(b'{"id": "resp_1", "output": []}', *JSON)
    raw = client.responses.with_raw_response.create(model="auto", input=LONG, previous_response_id="resp_yesterday")
    assert f"{target(raw)} {raw.headers['x-pointsman-reason']}" == "b/o3 rule"


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        pytest.param({"extra_headers": {"x-urgent": "1"}}, "a/o1 rule", id="a-rule"),
        pytest.param({"extra_headers": {"x-pointsman-model": "near"}}, "a/o1 pinned", id="the-client"),
        pytest.param({"max_output_tokens": 2000}, "a/o1 default", id="since-the-one-before-cannot"),
        pytest.param({"extra_headers": {"x-pointsman-model": "large"}}, "b/o3 pinned", id="one-that-is-not-there"),
    ],
)
@pytest.mark.parametrize("kept_in", ["previous_response_id", "conversation"])
def test_another_model_that_must_go_on_does_so_at_the_same_upstream(
    keepers: tuple[House, OpenAI], kept_in: str, then: dict[str, Any], expected: str
) -> None:
    house, client = keepers
    house.raw.script = lambda exchange: exchange.answer(
        b'{"id": "resp_1", "output": []}', b"content-type: application/json"
    )
    known: dict[str, Any] = {"conversation": "conv_1"} if kept_in == "conversation" else {}
    first = client.responses.with_raw_response.create(model="auto", input="hi", **known)
    assert target(first) == "a/gpt-4o"
    known = known or {"previous_response_id": "resp_1"}
    second = client.responses.with_raw_response.create(model="auto", input="go on", **known, **then)
    assert f"{target(second)} {second.headers['x-pointsman-reason']}" == expected


@pytest.mark.parametrize(
    ("first", "then", "more", "expected"),
    [
        pytest.param("hi", LONG, {}, ["a/gpt-4o default", "a/gpt-4o conversation"], id="to-another-model"),
        pytest.param(LONG, "hi", {}, ["b/o3 rule", "b/o3 conversation"], id="back"),
        pytest.param("hi", "so", {"x-urgent": "1"}, ["a/gpt-4o default", "a/o1 rule"], id="a-model-that-is-there-too"),
    ],
)
@pytest.mark.parametrize(
    ("gives", "comes_back"),
    [
        pytest.param({"type": "message", "content": []}, {"type": "item_reference"}, id="by-its-id"),
        pytest.param(
            {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
            {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
            id="encrypted",
        ),
    ],
)
def test_what_refers_to_items_of_an_answer_stays_where_that_is_kept(
    keepers: tuple[House, OpenAI],
    gives: dict[str, Any],
    comes_back: dict[str, Any],
    first: str,
    then: str,
    more: dict[str, str],
    expected: list[str],
) -> None:
    """
    So Vercel's AI SDK goes on: the user's words once more, and of the answers only what they are called. And so does
    who lets nothing be stored: with reasoning that only its account can read.
    """
    house, client = keepers
    kept: set[tuple[bytes, str]] = set()

    def script(exchange: Exchange) -> None:
        at = exchange.line.split(b"/")[1]
        sent = json.loads(exchange.body)["input"]
        if any("id" in item and (at, item["id"]) not in kept for item in sent):
            exchange.answer(b'{"error": {"message": "Item not found."}}', status=b"400 Bad Request")
            return
        kept.add((at, item_id := f"msg_{len(kept)}"))
        told = {"id": f"resp_{len(kept)}", "output": [{**gives, "id": item_id}]}
        exchange.answer(json.dumps(told).encode(), b"content-type: application/json")

    house.raw.script = script
    said: list[Any] = []
    told = []
    for content, headers in ((first, {}), (then, more)):
        said.append({"type": "message", "role": "user", "content": content})
        raw = client.responses.with_raw_response.create(model="auto", input=said, extra_headers=headers)
        said.append({**comes_back, "id": raw.parse().output[0].id})
        told.append(f"{target(raw)} {raw.headers['x-pointsman-reason']}")
    assert told == expected


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(LONG, "a/gpt-4o conversation", id="a-model-that-is-elsewhere"),
        pytest.param(SOME, "a/o1 rule", id="one-that-is-there-too"),
        pytest.param("an essay", "b/o3 rule", id="one-that-is-insisted-on"),
    ],
)
def test_a_file_is_read_where_it_was_sent(keepers: tuple[House, OpenAI], api: str, said: str, expected: str) -> None:
    house, client = keepers
    house.raw.script = lambda exchange: exchange.answer(
        b'{"id": "file-1", "output": [], "choices": []}', b"content-type: application/json"
    )
    sent = client.files.with_raw_response.create(file=("a.pdf", b"%PDF"), purpose="user_data")
    assert target(sent) == "a/gpt-4o"
    file_id = sent.parse().id
    create: Any
    parts: list[Any]
    if api == "responses":
        create, name = client.responses.with_raw_response.create, "input"
        parts = [{"type": "input_file", "file_id": file_id}, {"type": "input_text", "text": said}]
    else:
        create, name = client.chat.completions.with_raw_response.create, "messages"
        parts = [{"type": "file", "file": {"file_id": file_id}}, {"type": "text", "text": said}]
    answer = create(model="auto", **{name: [{"role": "user", "content": parts}]})
    assert f"{target(answer)} {answer.headers['x-pointsman-reason']}" == expected


def test_a_response_is_read_again_where_it_was_given(keepers: tuple[House, OpenAI]) -> None:
    house, client = keepers
    house.raw.script = lambda exchange: exchange.answer(
        b'{"id": "resp_1", "output": []}', b"content-type: application/json"
    )
    again = client.responses.with_raw_response
    for said, where in ((LONG, "b/o3"), ("hi", "a/gpt-4o")):
        assert target(again.create(model="auto", input=said, background=True)) == where
        assert target(again.retrieve("resp_1")) == where
        assert target(again.cancel("resp_1")) == where
    assert target(again.create(model="auto", input=LONG)) == "b/o3"
    with OpenAI(base_url=client.base_url, api_key="sk-another", max_retries=0) as stranger:
        assert target(stranger.responses.with_raw_response.retrieve("resp_1")) == "a/gpt-4o"
    named = {"x-pointsman-model": "small"}
    assert target(again.retrieve("resp_1", extra_headers=named)) == "b/o3", "which no model can change"
    assert target(again.retrieve("resp_of_yesterday", extra_headers={"x-pointsman-model": "large"})) == "b/o3"


@pytest.mark.parametrize(
    ("said", "then", "expected"),
    [
        pytest.param(LONG, {"model": "auto"}, ("b/o3", "o3"), id="auto"),
        pytest.param(LONG, {}, ("b/o3", None), id="no-model"),
        pytest.param(
            "hi",
            {"model": "auto", "extra_headers": {"x-pointsman-model": "near"}},
            ("a/o1", "o1"),
            id="a-model-that-is-there-too",
        ),
        pytest.param(
            "hi",
            {"model": "auto", "extra_headers": {"x-pointsman-model": "large"}},
            ("b/o3", "o3"),
            id="one-that-is-insisted-on",
        ),
    ],
)
@pytest.mark.parametrize("kept_in", ["previous_response_id", "conversation"])
def test_tokens_of_what_goes_on_are_counted_where_that_is_kept(
    keepers: tuple[House, OpenAI], kept_in: str, said: str, then: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    house, client = keepers
    house.raw.script = lambda exchange: exchange.answer(
        b'{"id": "resp_1", "output": []}', b"content-type: application/json"
    )
    client.responses.create(model="auto", input=said)
    known: dict[str, Any] = {kept_in: "resp_1"}  # answers and conversations are remembered alike
    counted = client.responses.input_tokens.with_raw_response.count(input="more", **known, **then)
    assert (target(counted), json.loads(house.raw.last.body).get("model")) == expected


def test_a_previous_response_that_nobody_knows_is_the_upstreams_to_refuse(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, previous_response_id="resp_of_yesterday")
    assert caught.value.code == "previous_response_not_found"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("status", "kind"), [(400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.InternalServerError)]
)
def test_error_classes(client: OpenAI, status: int, kind: type[openai.APIStatusError], is_stream: bool) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, stream=is_stream, extra_headers=simulate(status=status))
    assert type(caught.value) is kind


@pytest.mark.parametrize("knobs", [{"cut": 6}, {"cut": 6, "chunk_bytes": 7}], ids=["between-events", "in-small-pieces"])
def test_a_cut_stream_raises_after_its_last_whole_event(client: OpenAI, knobs: dict[str, int]) -> None:
    seen = []
    with pytest.raises(openai.APIError, match="broke off") as caught:
        for event in ask(client, stream=True, extra_headers=simulate(**knobs)):
            seen.append(event.type)  # noqa: PERF401  # a comprehension would lose those before the error
    assert type(caught.value) is openai.APIError
    assert seen[3:] == ["response.content_part.added", "response.output_text.delta", "response.output_text.delta"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/v1/responses", {"model": "near", "input": "hi", "stream": True}, id="asked-for"),
        pytest.param("GET", "/v1/responses/resp_1?stream=true", None, id="read-again"),
    ],
)
def test_a_cut_stream_ends_with_an_event_that_the_api_knows(
    keepers: tuple[House, OpenAI], method: str, path: str, body: Any
) -> None:
    """With a name, a type, and the number after the last: some clients take nothing else."""
    house, _ = keepers

    def script(exchange: Exchange) -> None:
        for number, kind in enumerate(("created", "in_progress", "output_text.delta")):
            told = {"type": f"response.{kind}", "delta": 'no "sequence_number": 90,', "sequence_number": number + 8}
            event = f"event: response.{kind}\ndata: {json.dumps(told)}\n\n".encode()
            exchange.send((b"" if number else SSE.replace(b"connection: close", b"content-length: 9999")) + event)
        exchange.send(b'event: response.output_text.delta\ndata: {"sequence_number":1')
        exchange.cut()

    house.raw.script = script
    *_, last, end = house.http.request(method, path, json=body).text.split("\n\n")
    name, data = last.split("\n")
    assert (name, end) == ("event: error", "")
    event = json.loads(data.removeprefix("data: "))
    told = ResponseErrorEvent.model_validate(event)
    assert (told.type, told.sequence_number, told.code) == ("error", 11, "upstream_cut")
    assert event["error"] == {
        "type": "upstream_error", "code": told.code, "message": told.message, "param": told.param,
    }  # fmt: skip


def test_leaving_a_stream_frees_the_upstream(client: OpenAI, log: Log) -> None:
    with ask(client, stream=True, extra_headers=simulate(stall=6)) as stream:
        for _ in range(6):
            next(stream)
    log.wait_for(lambda entry: entry.disconnected_at is not None)


def test_asynchronous(base_url: str) -> None:
    async def talk() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
            whole = await client.responses.create(model="auto", input=CODE)
            async with client.responses.stream(model="auto", input=CODE) as stream:
                return whole.output_text, (await stream.get_final_response()).output_text

    whole, streamed = asyncio.run(talk())
    assert streamed == whole


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_legacy_completions_are_routed(client: OpenAI, is_stream: bool) -> None:
    raw = client.completions.with_raw_response.create(model="auto", prompt=CODE, stream=is_stream)
    assert (raw.headers["x-pointsman-route"], raw.headers["x-pointsman-model"]) == ("code", "large")
    answer: Any = raw.parse()
    text = "".join(chunk.choices[0].text for chunk in answer) if is_stream else answer.choices[0].text
    assert CODE in text
