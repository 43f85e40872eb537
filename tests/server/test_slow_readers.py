"""A client that does not read: its upstream waits, and nothing piles up between the two."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from tests.relay.wire import SSE, Exchange, House
from tests.server.raw import connected

PIECE = b'data: {"choices":[{"delta":{"content":"' + b"x" * 65_000 + b'"}}]}\n\n'
PIECES = 3000  # 195 MB
# What systems and libraries hold on two connections is less; holding all of it would be five times as much.
MOST = 40_000_000


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
def test_what_a_client_does_not_read_its_upstream_cannot_send(house: House, is_stream: bool) -> None:
    stuck, sent = threading.Event(), 0
    going_on, over = threading.Event(), threading.Event()
    head = SSE if is_stream else b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
    body = PIECE * 4 if is_stream else b'{"choices": [], "x": "' + b"x" * 260_000

    def script(exchange: Exchange) -> None:
        nonlocal sent
        length = b"" if is_stream else b"content-length: %d\r\n\r\n" % (len(body) * PIECES // 4)
        exchange.send(head + length)
        exchange.connection.settimeout(1.0)
        for _ in range(PIECES // 4):
            left = memoryview(body)
            while left:
                try:
                    count = exchange.connection.send(left)
                except TimeoutError:
                    stuck.set()
                    assert going_on.wait(20)
                    continue
                left, sent = left[count:], sent + count
        over.set()
        exchange.cut()

    house.raw.script = script
    asked = json.dumps({"model": "raw", "messages": [], "stream": is_stream}).encode()
    with connected(house.port) as client:
        client.settimeout(20)
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(asked) + asked
        )
        assert stuck.wait(20), "the upstream is held up"
        assert sent < MOST
        going_on.set()
        got = 0
        while piece := client.recv(1 << 20, socket.MSG_WAITALL):
            got += len(piece)
    assert over.wait(20)
    assert sent == len(body) * (PIECES // 4)
    assert got >= sent, "once it reads, it gets all"
