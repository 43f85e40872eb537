"""
A model server that answers canned bytes in OpenAI's wire format, as fast as one core allows.

It shares a core with the load generator, so every microsecond it takes is one that the proxy under test
seems to be slower. Hence a bare `asyncio.Protocol` on uvloop that finds what it needs with `bytes.find`
and has every answer ready: no parser, no framework, no JSON.

What a request gets is said by its body:

- `"stream":true`: the same answer as server-sent events, each in a write of its own;
- `"user":"echo-00000042"`: 00000042 is put into the answer's id, so an answer that went to the wrong
  client shows;
- `"user":"late-..."`: likewise, and the stream pauses for 3 ms after its first content, so that the time
  to the first byte is not the time of the whole stream;
- `"user":"slow-..."`: likewise, and a stream is paced like a model that writes: 30 events in 3 s.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
from typing import cast

import uvloop

__all__ = ["ANSWER", "EVENTS", "ID_DIGITS", "PACED_EVENTS", "answer_body", "stream_body"]

ID_DIGITS = 8
"""How long the number in `"user":"echo-..."` is; a fixed length keeps content-length constant."""
PACED_EVENTS = 30
PACE_S = 0.1
PAUSE_S = 0.003

NO_ID = b"0" * ID_DIGITS  # no other field of an answer may hold it
CREATED = 1_764_026_119
MODEL = "gpt-4o-mini-2024-07-18"
TEXT = (
    "Routing looks at what a request asks for and sends it to the model that fits it best. A short question "
    "about a date or a name needs little; a proof, a refactoring or a long document needs more. So the "
    "gateway reads the text, compares it with the examples that its owner wrote down, and picks a target. The "
    "answer comes back unchanged, byte for byte, whether it arrives in one piece or as a stream of small "
    "events."
)
WORDS = TEXT.split()
USAGE = {
    "prompt_tokens": 48,
    "completion_tokens": len(WORDS) + 12,
    "total_tokens": 60 + len(WORDS),
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def answer() -> bytes:
    """A `chat.completion`, about 1 KB, indented as OpenAI sends it."""
    message: dict[str, object] = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    completion = {
        "id": f"chatcmpl-{NO_ID.decode()}",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_b705f0c291",
    }
    return json.dumps(completion, indent=2).encode() + b"\n"


def event(choices: list[dict[str, object]], usage: object = None) -> bytes:
    """One `chat.completion.chunk` as a server-sent event."""
    chunk = {
        "id": f"chatcmpl-{NO_ID.decode()}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_b705f0c291",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def delta(content: dict[str, object], finish: str | None = None) -> bytes:
    """The event of one piece of the answer."""
    return event([{"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}])


def events(pieces: int) -> tuple[bytes, ...]:
    """The answer in `pieces` events of text, between the ones that open and close a stream."""
    size, longer = divmod(len(WORDS), pieces)
    cuts = [size * i + min(i, longer) for i in range(pieces + 1)]
    texts = [" ".join(WORDS[a:b]) for a, b in itertools.pairwise(cuts)]
    return (
        delta({"role": "assistant", "content": "", "refusal": None}),
        *(delta({"content": text if i == 0 else f" {text}"}) for i, text in enumerate(texts)),
        delta({}, finish="stop"),
        event([], USAGE),
        b"data: [DONE]\n\n",
    )


ANSWER = answer()
EVENTS = events(46)
"""50 events, as many pieces as fit between the four that every stream has."""
PACED = events(PACED_EVENTS - 4)


def chunk(piece: bytes) -> bytes:
    """A piece in HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"
JSON_REPLY = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"openai-processing-ms: 241\r\n"
    b"openai-version: 2020-10-01\r\n"
    b"x-request-id: req_5d0c7a1b9e3f4d2aa6c08b7e9f10d3c4\r\n\r\n%b" % (len(ANSWER), ANSWER)
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n"
    b"cache-control: no-cache\r\n"
    b"openai-processing-ms: 241\r\n"
    b"openai-version: 2020-10-01\r\n"
    b"x-request-id: req_5d0c7a1b9e3f4d2aa6c08b7e9f10d3c4\r\n\r\n"
)
# The head travels with the first event, as it does from a server that flushes once it has something to say.
STREAM_WRITES = (STREAM_HEAD + chunk(EVENTS[0]), *map(chunk, EVENTS[1:-1]), chunk(EVENTS[-1]) + LAST_CHUNK)
PACED_WRITES = (STREAM_HEAD + chunk(PACED[0]), *map(chunk, PACED[1:-1]), chunk(PACED[-1]) + LAST_CHUNK)


def answer_body(number: bytes = NO_ID) -> bytes:
    """What a client must receive for a request with `"user":"echo-NUMBER"`."""
    return ANSWER.replace(NO_ID, number)


def stream_body(number: bytes = NO_ID, *, paced: bool = False) -> bytes:
    """What a client must receive of a stream, its chunked coding removed."""
    return b"".join(PACED if paced else EVENTS).replace(NO_ID, number)


class Answering(asyncio.Protocol):
    """One connection: requests in a row, no pipelining."""

    def __init__(self) -> None:
        self.received = b""
        self.head_ends = -1
        self.body_ends = -1  # -1: chunked, so the end is not known before it comes
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.descriptor: int = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if self.head_ends < 0:
            self.head_ends = self.received.find(b"\r\n\r\n") + 4
            if self.head_ends == 3:
                self.head_ends = -1
                return
            self.body_ends = self.head_ends + body_length(self.received[: self.head_ends])
        if self.body_ends < self.head_ends:
            if not self.received.endswith(LAST_CHUNK):
                return
        elif len(self.received) < self.body_ends:
            return
        request, self.received, start = self.received, b"", self.head_ends
        self.head_ends = -1
        self.reply(request, start)

    def reply(self, request: bytes, start: int) -> None:
        at = request.find(b'"user":"', start)
        kind = request[at + 8 : at + 13] if at >= 0 else b""
        number = request[at + 13 : at + 13 + ID_DIGITS] if kind in KINDS else NO_ID
        if not wants_stream(request, start):
            self.transport.write(JSON_REPLY if number == NO_ID else JSON_REPLY.replace(NO_ID, number))
            return
        writes = PACED_WRITES if kind == b"slow-" else STREAM_WRITES
        if number != NO_ID:
            writes = tuple(write.replace(NO_ID, number) for write in writes)
        if kind == b"slow-":
            self.paced(writes, 0)
        elif kind == b"late-":
            self.burst(writes[:2])
            self.loop.call_later(PAUSE_S, self.burst, writes[2:])
        else:
            self.burst(writes)

    def burst(self, writes: tuple[bytes, ...]) -> None:
        """
        Write each piece by itself, without a pause.

        Past uvloop, which would join them into one: a model server's events come one by one, and a proxy
        that is fed them joined has an easier life than it would have in production.
        """
        for i, piece in enumerate(writes):
            if self.transport.is_closing():
                return
            try:
                sent = os.write(self.descriptor, piece)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.transport.abort()
                return
            if sent < len(piece):  # the socket is full: the loop writes the rest when it can
                self.transport.write(piece[sent:] + b"".join(writes[i + 1 :]))
                return

    def paced(self, writes: tuple[bytes, ...], i: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(writes[i])
        if i + 1 < len(writes):
            self.loop.call_later(PACE_S, self.paced, writes, i + 1)


KINDS = (b"echo-", b"late-", b"slow-")


def wants_stream(request: bytes, start: int) -> bool:
    """Whether the client asked for a stream; some proxies write the JSON anew, with a space."""
    return request.find(b'"stream":true', start) >= 0 or request.find(b'"stream": true', start) >= 0


def body_length(head: bytes) -> int:
    """What content-length says; -1 for a chunked body, 0 without either."""
    head = head.lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return int(head[at + 17 : head.index(b"\r\n", at + 17)])
    return -1 if b"\r\ntransfer-encoding: chunked" in head else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    uvloop.run(serve(arguments.parse_args().port))
