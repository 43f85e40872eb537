"""The same call straight to the upstream and through Pointsman: OpenAI's SDK cannot tell which was which."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.calls import CODE, PIXEL, SCHEMA, TOOL, ask, simulate

MODEL = "gpt-4o"  # a rule sends it to the target of this very name, so that even the body is the same
PARIS: Any = {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"city": "Paris"}'}}

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "default-model-text": {"content": "What is the capital of Peru?"},
    "unicode": {"content": 'Schönen Tag 👋🏽, 東京! \u2028 \\u0000 "quoted"'},
    "long-text": {"content": "lorem ipsum " * 20_000},
    "truncated": {"max_completion_tokens": 3},
    "several": {"n": 2},
    "settings": {"temperature": 0.0, "top_p": 1.0, "seed": 7, "stop": ["END"], "user": "ada", "logprobs": True},
    "unknown-fields": {"extra_body": {"next_month": {"nested": [1, 2.50, None]}}},
    "tools": {"tools": [TOOL]},
    "forced-tool": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "lookup"}}},
    "no-tool": {"tools": [TOOL], "tool_choice": "none"},
    "tool-result": {
        "tools": [TOOL],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How is Paris?"},
            {"role": "assistant", "content": None, "tool_calls": [PARIS]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ],
    },
    "json-object": {"content": "Answer in json", "response_format": {"type": "json_object"}},
    "json-schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
    "image": {"content": [{"type": "text", "text": CODE}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
    "cached-tokens": {"extra_headers": simulate(cached_tokens=4)},
    "small-pieces": {"extra_headers": simulate(chunk_bytes=7)},
}


FUNCTION: Any = {"type": "function", "name": "lookup", "parameters": TOOL["function"]["parameters"], "strict": True}
RESPONSE_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unicode": {"input": 'Schönen Tag 👋🏽, 東京! \u2028 \\u0000 "quoted"'},
    "items": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": CODE}]}],
        "instructions": "Be brief.",
    },
    "long-text": {"input": "lorem ipsum " * 20_000},
    "truncated": {"max_output_tokens": 3},
    "settings": {"temperature": 0.0, "metadata": {"a": "b"}, "user": "ada", "store": False},
    "unknown-fields": {"extra_body": {"next_month": {"nested": [1, 2.50, None]}}},
    "tools": {"tools": [FUNCTION]},
    "json-schema": {"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}},
    "cached-tokens": {"extra_headers": simulate(cached_tokens=4)},
    "small-pieces": {"extra_headers": simulate(chunk_bytes=7)},
}


def seeded(kind: str, kinds: dict[str, dict[str, Any]] = KINDS) -> dict[str, Any]:
    more = dict(kinds[kind])
    more["extra_headers"] = {**more.get("extra_headers", {}), **simulate(seed=3)}
    return more


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_answer_is_the_same(client: OpenAI, direct: OpenAI, kind: str) -> None:
    through, straight = (ask(one, model=MODEL, **seeded(kind)) for one in (client, direct))
    assert through == straight
    assert through._request_id == straight._request_id


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_the_same_chunk_by_chunk(client: OpenAI, direct: OpenAI, kind: str) -> None:
    more = {**seeded(kind), "stream": True, "stream_options": {"include_usage": True}}
    through, straight = (list(ask(one, model=MODEL, **more)) for one in (client, direct))
    assert through == straight
    assert through[-1].usage is not None


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_the_bytes_and_the_headers_are_the_same(client: OpenAI, direct: OpenAI, is_stream: bool) -> None:
    def read(one: OpenAI) -> tuple[bytes, list[tuple[str, str]]]:
        with one.chat.completions.with_streaming_response.create(
            model=MODEL, messages=[{"role": "user", "content": CODE}], stream=is_stream, extra_headers=simulate(seed=3)
        ) as raw:
            pairs = raw.headers.multi_items()
            return raw.read(), sorted((name, value) for name, value in pairs if name != "date")

    (body, headers), (straight_body, straight_headers) = read(client), read(direct)
    assert body == straight_body
    assert [pair for pair in headers if not pair[0].startswith("x-pointsman-")] == straight_headers


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", RESPONSE_KINDS)
def test_the_bytes_of_a_response_are_the_same(client: OpenAI, direct: OpenAI, kind: str, is_stream: bool) -> None:
    call = {"model": MODEL, "input": CODE, "stream": is_stream, **seeded(kind, RESPONSE_KINDS)}

    def read(one: OpenAI) -> tuple[bytes, list[tuple[str, str]]]:
        with one.responses.with_streaming_response.create(**call) as raw:
            return raw.read(), sorted((name, value) for name, value in raw.headers.multi_items() if name != "date")

    (body, headers), (straight_body, straight_headers) = read(client), read(direct)
    assert body == straight_body
    assert [pair for pair in headers if not pair[0].startswith("x-pointsman-")] == straight_headers


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "knobs",
    [
        *(pytest.param({"status": status}, id=str(status)) for status in (400, 401, 403, 404, 409, 422, 429, 500, 503)),
        pytest.param({"status": 429, "retry_after": 2}, id="retry-after"),
        pytest.param({"status": 502, "html": 1}, id="html-page"),
        pytest.param({"context": 1}, id="context-too-long"),
    ],
)
def test_an_error_is_the_same(client: OpenAI, direct: OpenAI, knobs: dict[str, Any], is_stream: bool) -> None:
    def fail(one: OpenAI) -> dict[str, Any]:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(one, model=MODEL, stream=is_stream, extra_headers=simulate(seed=3, **knobs))
        error = caught.value
        retry_after = error.response.headers.get("retry-after")
        return {"class": type(error), "text": str(error), "retry-after": retry_after, **vars(error)}

    through, straight = fail(client), fail(direct)
    for name in ("response", "request"):  # which address they came from
        del through[name], straight[name]
    assert through == straight


def test_an_error_that_the_upstream_tells_in_its_stream_is_the_same(client: OpenAI, direct: OpenAI) -> None:
    def fail(one: OpenAI) -> tuple[list[Any], str, object]:
        chunks: list[Any] = []
        with pytest.raises(openai.APIError) as caught:
            for chunk in ask(one, model=MODEL, stream=True, extra_headers=simulate(seed=3, error_event=2)):
                chunks.append(chunk)  # noqa: PERF402  # a comprehension would lose those before the error
        return chunks, str(caught.value), caught.value.body

    through = fail(client)
    assert through == fail(direct)
    assert len(through[0]) == 2
