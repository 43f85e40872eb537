"""
A model server that answers with what reached it, for `bench.reload`: the head and the body of the request.

A stream has the same in each of its events, which come over a third of a second, so that it outlives a reload.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import uvloop

from bench.upstream import LAST_CHUNK, Answering, chunk, wants_stream

__all__ = ["EVENTS", "Echoing", "what_reached"]

EVENTS = 8
PACE_S = 0.04
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Echoing(Answering):
    """One connection."""

    def reply(self, request: bytes, start: int) -> None:
        """Answer a request whose body begins at `start`."""
        head = json.dumps(request[:start].decode("latin-1")).encode()
        choices = b'[{"index":0,"delta":{"content":"so"},"finish_reason":null}]'
        # The body as it came: what was done to it is what the bench looks at.
        payload = b'{"choices":%b,"head":%b,"body":%b}' % (choices, head, request[start:])
        if not wants_stream(request, start):
            self.transport.write(JSON_HEAD % len(payload) + payload)
            return
        event = chunk(b"data: " + payload + b"\n\n")
        self.paced((STREAM_HEAD + event, *[event] * (EVENTS - 1), chunk(DONE) + LAST_CHUNK), 0)

    def paced(self, writes: tuple[bytes, ...], i: int) -> None:
        """Write one after the other."""
        if self.transport.is_closing():
            return
        self.transport.write(writes[i])
        if i + 1 < len(writes):
            self.loop.call_later(PACE_S, self.paced, writes, i + 1)


def what_reached(body: bytes, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """
    The head and the body of the request that an answer repeats.

    Raises:
        ValueError: not a whole answer, or one whose events are not all the same.
    """
    if stream:
        events = body.split(b"\n\n")
        if len(events) != EVENTS + 2 or events[-2:] != [DONE.strip(), b""] or len(set(events[:-2])) != 1:
            raise ValueError("not all of a stream")
        body = events[0].removeprefix(b"data: ")
    answer = json.loads(body)
    return answer["head"], answer["body"]


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echoing, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    uvloop.run(serve(arguments.parse_args().port))
