"""Bytes on a connection, and the answers that come back on it."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.endpoints.raw_http import RawAnswer
from tests.relay.wire import ROUTES, House
from tests.relay.wire import house as open_house

CHAT = b'{"model":"raw","messages":[{"role":"user","content":"hello there"}]}'
LENGTH = b"Content-Length: %d\r\n" % len(CHAT)
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HEAD = LINE + b"Host: pointsman\r\n"
WHOLE = HEAD + LENGTH + b"\r\n" + CHAT
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n" % len(CHAT) + CHAT + b"\r\n0\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: pointsman\r\n\r\n"
SMUGGLED = HEAD + b"x-smuggled: 1\r\n" + LENGTH + b"\r\n" + CHAT


@contextmanager
def house_with(server: str) -> Iterator[House]:
    """A house with these `server` keys."""
    text, count = re.subn("^server: .*$", f"server: {server}", ROUTES, flags=re.MULTILINE)
    assert count == 1
    with open_house(text) as house:
        yield house


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    """Everything, until the other side closes by itself; a reset is a failure."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    return bytes(data)


def say(port: int, data: bytes) -> bytes:
    """Send this, and read until the other side closes."""
    with connected(port) as connection:
        connection.sendall(data)
        return until_closed(connection)


class Reader:
    """Reads answers off a connection one by one, as HTTP frames them."""

    def __init__(self, source: socket.socket | bytes) -> None:
        self._file = io.BufferedReader(io.BytesIO(source)) if isinstance(source, bytes) else source.makefile("rb")

    def answer(self, *, has_body: bool = True) -> RawAnswer:
        status = int(self._file.readline().split(b" ")[1])
        headers: dict[bytes, bytes] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        if not has_body or status < 200:
            return RawAnswer(status, headers, b"")
        if headers.get(b"transfer-encoding") == b"chunked":
            return RawAnswer(status, headers, self._chunks())
        if b"content-length" in headers:
            return RawAnswer(status, headers, self._file.read(int(headers[b"content-length"])))
        return RawAnswer(status, headers, self._file.read())

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            assert self._file.read(2) == b"\r\n"
        assert self._file.readline() == b"\r\n"
        return bytes(body)

    def is_at_end(self) -> bool:
        """Whether nothing more comes; waits for it."""
        return not self._file.peek(1)


def answers(data: bytes) -> list[RawAnswer]:
    """All answers in what was read until the end."""
    reader = Reader(data)
    found = []
    while not reader.is_at_end():
        found.append(reader.answer())
    return found
