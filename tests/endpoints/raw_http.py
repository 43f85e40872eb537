"""A client that sends exactly these bytes."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

CHAT = b'{"model":"sim","messages":[{"role":"user","content":"hello there"}]}'


class RawAnswer(NamedTuple):
    """What came back, up to the end of the connection."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def error(self) -> dict[str, Any]:
        envelope = json.loads(self.body)
        assert set(envelope) == {"error"}
        assert set(envelope["error"]) == {"message", "type", "param", "code"}
        error: dict[str, Any] = envelope["error"]
        return error


def head(line: str = "POST /v1/chat/completions HTTP/1.1", *headers: bytes) -> bytes:
    """A request's head that asks for the connection to be closed after the answer."""
    return b"\r\n".join([line.encode(), b"Host: pointsman", b"Connection: close", *headers]) + b"\r\n\r\n"


def post(*headers: bytes, body: bytes = CHAT, path: str = "/v1/chat/completions") -> bytes:
    return head(f"POST {path} HTTP/1.1", b"Content-Length: %d" % len(body), *headers) + body


def receive(connection: socket.socket) -> RawAnswer:
    """Everything until the other side closes, which it must do by itself."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    start, _, body = bytes(data).partition(b"\r\n\r\n")
    line, *rest = start.split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (text.partition(b":") for text in rest)}
    return RawAnswer(int(line.split(b" ")[1]), headers, body)


def talk(port: int, data: bytes) -> RawAnswer:
    """Send this, and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        return receive(connection)
