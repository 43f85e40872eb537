"""The bytes of OpenAI's answers: one JSON document, or a stream of events."""

import os
import time
from hashlib import blake2b
from zlib import crc32

import msgspec

from proxy.simulator.answer import Answer, Choice, ToolCall
from proxy.simulator.chat_request import ChatRequest, Json

encode = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"
ERROR_EVENT = (
    b'data: {"error":{"message":"The server had an error while processing your request. Sorry about that!",'
    b'"type":"server_error","param":null,"code":null}}\n\n'
)

Event = tuple[int, bytes]  # when, in tokens after the first; the bytes, with their empty line


class Stamp(msgspec.Struct, frozen=True):
    """What tells one answer from another: chance, or a seed and the request."""

    token: str  # 32 hex digits
    created: int  # Unix seconds


def stamp(seed: str | None, body: bytes) -> Stamp:
    if seed is None:
        return Stamp(os.urandom(16).hex(), int(time.time()))
    digest = blake2b(body, key=seed.encode()[:64], digest_size=16).hexdigest()
    return Stamp(digest, 1_700_000_000 + int(digest[:6], 16))


def fingerprint(model: str) -> str:
    return f"fp_{crc32(model.encode()):08x}"


def completion(answer: Answer, request: ChatRequest, stamp: Stamp) -> bytes:
    """A `chat.completion`, indented as api.openai.com indents it."""
    return _pretty(
        {
            "id": f"chatcmpl-{stamp.token[:29]}",
            "object": "chat.completion",
            "created": stamp.created,
            "model": request.model,
            "choices": [
                {
                    "index": index,
                    "message": _message(choice, index, stamp),
                    "logprobs": _logprobs(choice.pieces, request),
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(answer.choices)
            ],
            "usage": usage(answer),
            "service_tier": "default",
            "system_fingerprint": fingerprint(request.model),
        }
    )


def usage(answer: Answer) -> Json:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion_events(answer: Answer, request: ChatRequest, stamp: Stamp) -> list[Event]:
    """
    The `chat.completion.chunk` events and the `[DONE]`.

    The choices advance side by side, as the real ones do; each begins with its role.
    """
    head = encode(
        {
            "id": f"chatcmpl-{stamp.token[:29]}",
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": request.model,
            "service_tier": "default",
            "system_fingerprint": fingerprint(request.model),
        }
    )
    head = b"data: " + head[:-1] + b',"choices":['
    tail = b'],"usage":null' if request.include_usage else b"]"

    def event(choice: bytes, content: str = "") -> bytes:
        if not request.obfuscate:
            return head + choice + tail + b"}\n\n"
        # Padding, so that an observer of the network cannot read tokens from the lengths.
        padding = stamp.token[: 16 - len(content) % 16].encode()
        return head + choice + tail + b',"obfuscation":"' + padding + b'"}\n\n'

    events: list[Event] = []
    for index, choice in enumerate(answer.choices):
        events.append((0, event(_delta(index, _opening(choice)))))
    for index, choice in enumerate(answer.choices):
        start = b'{"index":%d,"delta":{"content":' % index
        end = b'},"logprobs":null,"finish_reason":null}'
        tick = 0
        for thought in choice.thoughts:
            events.append((tick, event(_delta(index, {"reasoning_content": thought}), thought)))
            tick += 1
        for piece in choice.pieces:
            if request.logprobs:
                chunk = _delta(index, {"content": piece}, logprobs=_logprobs((piece,), request))
            else:
                chunk = start + encode(piece) + end  # the common case, and the bench's
            events.append((tick, event(chunk, piece)))
            tick += 1
        for number, call in enumerate(choice.calls):
            named = _named(call, index, number, stamp, "")
            events.append((tick, event(_delta(index, {"tool_calls": [{"index": number} | named]}))))
            for piece in call.pieces:
                fragment: Json = {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
                events.append((tick, event(_delta(index, fragment), piece)))
                tick += 1
        events.append((tick, event(_delta(index, {}, finish_reason=choice.finish_reason))))
    if len(answer.choices) > 1:
        events.sort(key=lambda event: event[0])  # stable: within a choice the order stays
    last = events[-1][0]
    if request.include_usage:
        events.append((last, head + b'],"usage":' + encode(usage(answer)) + b"}\n\n"))
    events.append((last, DONE))
    return events


def _message(choice: Choice, index: int, stamp: Stamp) -> Json:
    message: Json = {"role": "assistant", "content": "".join(choice.pieces) if not choice.calls else None}
    if choice.thoughts:
        message["reasoning_content"] = "".join(choice.thoughts)
    if choice.calls:
        message["tool_calls"] = [
            _named(call, index, number, stamp, "".join(call.pieces)) for number, call in enumerate(choice.calls)
        ]
    return message | {"refusal": None, "annotations": []}


def _opening(choice: Choice) -> Json:
    return {"role": "assistant", "content": None if choice.calls else "", "refusal": None}


def _delta(index: int, delta: Json, *, logprobs: Json | None = None, finish_reason: str | None = None) -> bytes:
    return encode({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason})


def _named(call: ToolCall, index: int, number: int, stamp: Stamp, arguments: str) -> Json:
    token = blake2b(f"{stamp.token}{index}.{number}".encode(), digest_size=12).hexdigest()
    return {"id": f"call_{token}", "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _logprobs(pieces: tuple[str, ...], request: ChatRequest) -> Json | None:
    if not request.logprobs:
        return None
    return {"content": [_logprob(piece, request.top_logprobs) for piece in pieces], "refusal": None}


def _logprob(piece: str, alternatives: int) -> Json:
    def entry(token: str, logprob: float) -> Json:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}

    likely = -(crc32(piece.encode("utf-8", "replace")) % 1000) / 10_000  # 0 to -0.1: rather sure
    others = [entry(piece, likely)] + [entry(f" other{rank}", -2.0 - rank) for rank in range(1, alternatives)]
    return entry(piece, likely) | {"top_logprobs": others[:alternatives]}


def _pretty(value: object) -> bytes:
    return msgspec.json.format(encode(value), indent=2) + b"\n"
