"""Anthropic's Messages: one document, or a stream of named events."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from proxy.simulator.answer import Answer, Choice, ToolCall
from proxy.simulator.chat_request import ChatRequest, Json
from proxy.simulator.errors import Refusal
from proxy.simulator.generated import generated
from proxy.simulator.kept import Kept
from proxy.simulator.knobs import Knobs
from proxy.simulator.messages_request import read_countable, read_messages
from proxy.simulator.reply import Reply, Request
from proxy.simulator.response_events import named
from proxy.simulator.wire import Event, Stamp, encode

_ERROR_EVENT = named("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
# Claude Code asks for it, and sends such messages.
_SYSTEM_BETA = "mid-conversation-system-"
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def create(request: Request, knobs: Knobs, stamp: Stamp, _: Kept) -> Reply:
    """`POST /messages`."""
    _check_version(request)
    asked = read_messages(request.json(), takes_system=_takes_system(request))
    return generated(
        asked,
        request.upstream,
        knobs,
        whole=lambda answer: encode(_message(answer, asked, stamp)),
        events=lambda answer: _events(answer, asked, stamp),
        error_event=_ERROR_EVENT,
        is_anthropic=True,
    )


def count_tokens(request: Request, *_: object) -> Reply:
    """`POST /messages/count_tokens`."""
    _check_version(request)
    asked = read_countable(request.json(), takes_system=_takes_system(request))
    return Reply(body=encode({"input_tokens": asked.prompt_tokens}), is_anthropic=True)


def _check_version(request: Request) -> None:
    if not request.header(b"anthropic-version"):
        raise Refusal("anthropic-version: header is required")


def _takes_system(request: Request) -> bool:
    return _SYSTEM_BETA in request.header(b"anthropic-beta")


def _message(answer: Answer, asked: ChatRequest, stamp: Stamp) -> Json:
    choice = answer.choices[0]
    return {
        "id": f"msg_{stamp.token[:24]}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": _blocks(choice, stamp),
        **_end(choice),
        "usage": _usage(answer, answer.completion_tokens),
    }


def _usage(answer: Answer, output_tokens: int) -> Json:
    """Anthropic counts what comes from its cache beside the rest of the prompt."""
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _end(choice: Choice) -> Json:
    if choice.stopped_by is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stopped_by}
    reason = "tool_use" if choice.calls else _STOPS[choice.finish_reason]
    return {"stop_reason": reason, "stop_sequence": None}


def _blocks(choice: Choice, stamp: Stamp) -> list[Json]:
    blocks: list[Json] = []
    if choice.thoughts:
        blocks.append({"type": "thinking", "thinking": "".join(choice.thoughts), "signature": stamp.token})
    for number, call in enumerate(choice.calls):
        token = blake2b(f"{stamp.token}{number}".encode(), digest_size=12).hexdigest()
        blocks.append({"type": "tool_use", "id": f"toolu_{token}", "name": call.name, "input": _input(call)})
    if not choice.calls:
        blocks.append({"type": "text", "text": "".join(choice.pieces)})
    return blocks


def _input(call: ToolCall) -> object:
    return msgspec.json.decode("".join(call.pieces))


def _events(answer: Answer, asked: ChatRequest, stamp: Stamp) -> list[Event]:
    """
    The message without its content, each block opened, filled and closed, and how it ended.

    The usage of the prompt stands in the first event, that of the answer in the last but one.
    """
    choice = answer.choices[0]
    empty: Json = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(answer, 1)}
    events = [
        (0, named("message_start", {"message": {**_message(answer, asked, stamp), **empty}})),
    ]
    tick = 0
    calls = iter(choice.calls)
    for index, block in enumerate(_blocks(choice, stamp)):
        match block["type"]:
            case "thinking":
                started: Json = {"thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": thought} for thought in choice.thoughts]
                deltas.append({"type": "signature_delta", "signature": stamp.token})
            case "text":
                started = {"text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in choice.pieces]
            case _:
                started = {"input": {}}
                pieces = ("", *next(calls).pieces)
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        events.append((tick, named("content_block_start", {"index": index, "content_block": {**block, **started}})))
        if index == 0:
            events.append((tick, named("ping", {})))
        for delta in deltas:
            events.append((tick, named("content_block_delta", {"index": index, "delta": delta})))
            tick += 1
        events.append((tick, named("content_block_stop", {"index": index})))
    used = {"output_tokens": answer.completion_tokens}
    events.append((tick, named("message_delta", {"delta": _end(choice), "usage": used})))
    events.append((tick, named("message_stop", {})))
    return events
