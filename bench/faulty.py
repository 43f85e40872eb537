"""
A model server for `bench.chaos`: paced streams that say who sent them, and a share of errors of every kind.

Each of its events bears the request's number and the server's name, so that an answer pieced together from two
requests, or from two servers, is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct

import uvloop

from bench.upstream import ID_DIGITS, NO_ID, PACE_S, PACED_WRITES, Answering, stream_body, wants_stream

__all__ = ["FAULTS", "Faulty", "stream_by"]

# As long as what it stands in for, so that the chunks keep their length.
_FINGERPRINT = b"fp_b705f0c291"
_ABORT = struct.pack("ii", 1, 0)


def _answer(status: bytes, kind: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = (b"HTTP/1.1 " + status, b"content-type: " + kind, b"content-length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": None}}).encode()


_JSON, _SSE = b"application/json", b"text/event-stream"
FAULTS: dict[str, bytes | None] = {
    "500": _answer(b"500 Internal Server Error", _JSON, _error("It broke.")),
    "503": _answer(b"503 Service Unavailable", _JSON, _error("It is overloaded.")),
    "429": _answer(b"429 Too Many Requests", _JSON, _error("Too many."), b"retry-after: 1"),
    "reset": None,
    "error first": _answer(b"200 OK", _SSE, b"data: " + _error("It broke.") + b"\n\n"),
    "empty": _answer(b"200 OK", _SSE, b""),
}
"""By name, what is sent in place of an answer; None for a connection that is reset before the head."""


def stream_by(name: str, number: bytes) -> bytes:
    """What a client must receive of a stream that the server of this name sends."""
    return stream_body(number, paced=True).replace(_FINGERPRINT, _mark(name))


def _mark(name: str) -> bytes:
    return b"fp_" + name.encode().ljust(len(_FINGERPRINT) - 3, b"-")


class Faulty(Answering):
    """One connection."""

    def __init__(self, told: argparse.Namespace, choose: random.Random) -> None:
        super().__init__()
        self.told, self.choose, self.mark = told, choose, _mark(told.name)

    def reply(self, request: bytes, start: int) -> None:
        """Answer a request whose body begins at `start`, well or badly."""
        if self.choose.random() < self.told.errors:
            self.fail(FAULTS[self.choose.choice(list(FAULTS))])
        elif wants_stream(request, start):
            at = request.find(b'"user":"slow-', start) + 13
            number = request[at : at + ID_DIGITS]
            writes = (write.replace(NO_ID, number).replace(_FINGERPRINT, self.mark) for write in PACED_WRITES)
            self.loop.call_later(self.told.wait, self.paced, tuple(writes), 0)
        else:
            super().reply(request, start)

    def paced(self, writes: tuple[bytes, ...], i: int) -> None:
        """Write one after the other."""
        if self.transport.is_closing():
            return
        self.transport.write(writes[i])
        if i + 1 < len(writes):
            self.loop.call_later(self.told.pace, self.paced, writes, i + 1)

    def fail(self, sent: bytes | None) -> None:
        """Send that, or reset the connection."""
        if sent is not None:
            self.transport.write(sent)
            return
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self.transport.abort()


async def serve(told: argparse.Namespace) -> None:
    choose = random.Random(told.seed)
    server = await asyncio.get_running_loop().create_server(
        lambda: Faulty(told, choose), "127.0.0.1", told.port, backlog=1024
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--errors", type=float, default=0.0)
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--pace", type=float, default=PACE_S)
    parser.add_argument("--seed", type=int, default=1)
    uvloop.run(serve(parser.parse_args()))
