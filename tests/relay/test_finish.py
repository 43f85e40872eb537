"""How answers of every API say that they ended, whole and in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.events import WholeEvents
from proxy.relay.finish import Finish, StreamFinish, finish_of_json
from proxy.routing.apis import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Api


def chat(reason: str | None, *arguments: str | None, **message: Any) -> bytes:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": each}} for each in arguments]
    choice = {"index": 0, "message": {"content": "hi", "tool_calls": calls or None, **message}, "finish_reason": reason}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode()


def response(status: str, reason: str | None = None, *arguments: str) -> dict[str, Any]:
    output: list[dict[str, Any]] = [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]
    output += [{"type": "function_call", "arguments": each} for each in arguments]
    details = None if reason is None else {"reason": reason}
    return {"id": "resp_1", "status": status, "incomplete_details": details, "output": output}


@pytest.mark.parametrize(
    ("body", "finish"),
    [
        (chat("stop"), Finish("stop", 0)),
        (chat("length"), Finish("length", 0)),
        (chat("tool_calls", '{"a": 1}', "{}", ""), Finish("tool_calls", 0)),
        (chat("tool_calls", '{"a": 1}', '{"a": ', "nope"), Finish("tool_calls", 2)),
        (chat(None), Finish(None, 0)),
        (b'{"choices": [{"text": "hi", "finish_reason": "length"}]}', Finish("length", 0)),
        (json.dumps(response("completed", None, "{}")).encode(), Finish("completed", 0)),
        (json.dumps(response("incomplete", "max_output_tokens", "{")).encode(), Finish("max_output_tokens", 1)),
        (b'{"type": "message", "content": [{"type": "tool_use", "input": {}}], "stop_reason": "tool_use"}', Finish("tool_use", 0)),
        (b'{"stop_reason": "max_tokens"}', Finish("max_tokens", 0)),
        (chat("length", content="cut \ud83d"), Finish("length", 0)),
        (chat("tool_calls", '{"a": "cut \ud83d"}', '{"a": "cut \\ud83d"}', '{"a": "\ud83d'), Finish("tool_calls", 1)),
        (b'{"choices": "none"}', Finish()),
        (b"not JSON", Finish()),
        (b"[" * 10_000, Finish()),
        (b'{"choices": [{"finish_reason": 7}]}', Finish(None, 0)),
    ],
)  # fmt: skip
def test_whole_answers(body: bytes, finish: Finish) -> None:
    assert finish_of_json(body) == finish


def test_which_are_cut() -> None:
    reasons = ("length", "max_tokens", "max_output_tokens", "stop", "tool_calls", "end_turn", None)
    assert [Finish(reason).is_cut for reason in reasons] == [True] * 3 + [False] * 4


def sse(*events: Any, named: bool = False) -> bytes:
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    return "".join(lines).encode()


def delta(reason: str | None = None, *calls: tuple[int, str], choice: int = 0, **fields: Any) -> dict[str, Any]:
    told = [{"index": index, "function": {"arguments": piece}} for index, piece in calls]
    content = {"tool_calls": told} if told else {"content": 'he said "finish_reason": "length"'}
    return {"choices": [{"index": choice, "delta": content, "finish_reason": reason}], **fields}


def anthropic(*events: dict[str, Any]) -> bytes:
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {}}
    return sse(
        {"type": "message_start", "message": {"stop_reason": None}}, *events, end, {"type": "message_stop"}, named=True
    )


def piece(index: int, text: str) -> dict[str, Any]:
    kind = {"type": "input_json_delta", "partial_json": text}
    return {"type": "content_block_delta", "index": index, "delta": kind}


STREAMS: list[tuple[Api, bytes, Finish]] = [
    (CHAT, sse(delta(), delta("stop"), {"choices": [], "usage": {}}, "[DONE]"), Finish("stop", 0)),
    (CHAT, sse(delta(None, (0, '{"a"')), delta(None, (1, "{}")), delta(None, (0, ": 1}")), delta("tool_calls")), Finish("tool_calls", 0)),
    (CHAT, sse(delta(None, (0, '{"a"')), delta(None, (1, "{}")), delta("length")), Finish("length", 1)),
    (CHAT, sse(delta(None, (0, "{")), delta(None, (0, "}"), choice=1), delta("tool_calls")), Finish("tool_calls", 2)),
    (CHAT, sse(delta(), delta()), Finish(None, 0)),
    (CHAT, b'data: {"tool_calls": oh\n\n', Finish(None, None)),
    (CHAT, sse(delta(None, (0, '{"a": "\ud83d')), delta(None, (0, '\ude80"}')), delta("tool_calls")), Finish("tool_calls", 0)),
    (COMPLETIONS, sse({"choices": [{"text": "hi", "finish_reason": "length"}]}, "[DONE]"), Finish("length", 0)),
    (MESSAGES, anthropic(piece(0, '{"a"'), piece(1, "{}"), piece(0, ": 1}")), Finish("tool_use", 0)),
    (MESSAGES, anthropic(piece(0, '{"a"'), piece(1, "{}")), Finish("tool_use", 1)),
    (RESPONSES, sse({"type": "response.created", "response": response("in_progress")}, {"type": "response.output_text.delta", "delta": '"response.failed"'}, {"type": "response.completed", "response": response("completed")}, named=True), Finish("completed", 0)),
    (RESPONSES, sse({"type": "response.function_call_arguments.done", "arguments": '{"a": 1}'}, {"type": "response.function_call_arguments.done", "arguments": '{"a": '}, {"type": "response.incomplete", "response": response("incomplete", "max_output_tokens", '{"a": ')}), Finish("max_output_tokens", 1)),
]  # fmt: skip


@pytest.mark.parametrize(("api", "stream", "finish"), STREAMS)
def test_streams(api: Api, stream: bytes, finish: Finish) -> None:
    seen = StreamFinish(api)
    seen.feed(stream)
    assert seen.result(stream[-16_384:]) == finish


@given(st.sampled_from(STREAMS), st.integers(1, 400))
def test_how_a_stream_is_cut_does_not_matter(case: tuple[Api, bytes, Finish], size: int) -> None:
    api, stream, finish = case
    seen, events = StreamFinish(api), WholeEvents()
    for start in range(0, len(stream), size):
        seen.feed(events.feed(stream[start : start + size]))
    seen.feed(events.rest())
    assert seen.result(stream[-16_384:]) == finish


def test_a_stream_with_too_many_tool_calls_is_not_kept() -> None:
    seen = StreamFinish(CHAT)
    for _ in range(30):
        seen.feed(sse(delta(None, (0, "x" * 50_000))))
    assert seen.result(sse(delta("tool_calls"))) == Finish("tool_calls", None)
