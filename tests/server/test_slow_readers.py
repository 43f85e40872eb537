"""A client that does not read: its upstream waits, and nothing piles up between the two."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack

import pytest

from tests.relay.wire import SSE, Exchange, House
from tests.relay.wire import house as open_house
from tests.server.raw import connected, until_closed

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


HURRIED = """
version: 1
upstreams: {u: {base_url: "${RAW}/v1", timeouts: {total: 500ms}}}
models: {m: {target: {upstream: u, name: m}}}
default: m
"""


def test_a_client_that_is_too_slow_for_the_whole_is_not_held_against_the_upstream() -> None:
    """Five whose `total` passes while they do not read: as failures of the target they would put it to rest."""
    left = threading.Semaphore(0)

    def script(exchange: Exchange) -> None:
        try:
            exchange.send(SSE)
            while True:
                exchange.send(PIECE)
        finally:
            left.release()

    asked = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    with open_house(HURRIED) as house, ExitStack() as stack:
        house.raw.script = script
        clients = [stack.enter_context(connected(house.port)) for _ in range(5)]
        for client in clients:
            client.sendall(request % len(asked) + asked)
        for _ in clients:
            assert left.acquire(timeout=20), "the upstream is let go of"
        for client in clients:
            end = until_closed(client)[-300:]
            assert b'"code":"total_timeout"' in end
            assert b"The request was not over within 0.5 s." in end
        (target,) = house.http.get("/v1/targets").json()["models"][0]["targets"]
        assert (target["state"], target["error_rate"]) == ("closed", 0)
        house.wait_for_metric('pointsman_attempts_total{outcome="ok",target="u/m"}', 5)
        assert house.metric('pointsman_attempts_total{outcome="total",target="u/m"}') == 0
