"""What is too large, too many or too slow is refused, within its limit to the byte."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.wire import ROUTES, SSE, Exchange, House
from tests.relay.wire import house as open_house
from tests.server.raw import (
    CHAT,
    CHUNKED,
    GET,
    HEAD,
    LENGTH,
    WHOLE,
    Reader,
    answers,
    connected,
    house_with,
    say,
    until_closed,
)
from tests.telemetry.series import series

HASTY_S = 0.2
CLOSE = HEAD + b"Connection: close\r\n" + LENGTH


@pytest.fixture(scope="module")
def narrow() -> Iterator[House]:
    with house_with("{max_head: 2048, max_headers: 20, head_timeout: 200ms, body_timeout: 200ms}") as house:
        yield house


def one(house: House, data: bytes) -> tuple[int, str]:
    [answer] = answers(say(house.port, data))
    if answer.status == 200:
        return 200, ""
    assert answer.headers[b"connection"] == b"close"
    return answer.status, answer.error()["code"]


@pytest.mark.parametrize(("more", "expected"), [(0, (200, "")), (1, (431, "head_too_large"))])
def test_headers_are_counted(narrow: House, more: int, expected: tuple[int, str]) -> None:
    headers = b"".join(b"x-%d: 1\r\n" % number for number in range(17 + more))  # with three in CLOSE
    assert one(narrow, CLOSE + headers + b"\r\n" + CHAT) == expected


def padded(size: int) -> bytes:
    """A head whose URL and headers count so many bytes."""
    counted = len(CLOSE) - len(b"POST  HTTP/1.1\r\n") + len(b"x-pad: \r\n")
    return CLOSE + b"x-pad: " + b"p" * (size - counted) + b"\r\n\r\n"


@pytest.mark.parametrize(("size", "expected"), [(2048, (200, "")), (2049, (431, "head_too_large"))])
@pytest.mark.parametrize("before", [b"", WHOLE * 3], ids=["first", "after-others"])
def test_a_head_is_bounded_to_the_byte(narrow: House, size: int, expected: tuple[int, str], before: bytes) -> None:
    found = answers(say(narrow.port, before + padded(size) + CHAT))
    assert found[-1].status == expected[0]
    assert (found[-1].error()["code"] if expected[1] else "") == expected[1]


def test_a_thousand_headers_are_refused(house: House) -> None:
    headers = b"".join(b"x-%d: 1\r\n" % number for number in range(1000))
    assert one(house, CLOSE + headers + b"\r\n" + CHAT) == (431, "head_too_large")


@pytest.mark.parametrize(("size", "expected"), [(8192, (404, "unknown_url")), (8193, (414, "url_too_long"))])
def test_a_url_is_bounded_to_the_byte(house: House, size: int, expected: tuple[int, str]) -> None:
    url = b"/" + b"u" * (size - 1)
    assert one(house, b"GET " + url + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") == expected


@pytest.mark.parametrize(
    ("begin", "more", "expected"),
    [
        pytest.param(b"GET /", b"u" * 4096, (414, "url_too_long"), id="url"),
        pytest.param(HEAD + b"x: ", b"v" * 4096, (431, "head_too_large"), id="value"),
        pytest.param(HEAD, b"n" * 4096, (431, "head_too_large"), id="name"),
        pytest.param(HEAD, b"a: b\r\n" * 1000, (431, "head_too_large"), id="headers"),
        pytest.param(HEAD + CHUNKED + b"\r\n0\r\n", b"a: b\r\n" * 1000, (431, "head_too_large"), id="trailers"),
        pytest.param(HEAD + CHUNKED + b"\r\n0\r\nx: ", b"v" * 4096, (431, "head_too_large"), id="trailer"),
        pytest.param(HEAD + CHUNKED + b"\r\n5;x=", b"v" * 4096, (431, "head_too_large"), id="chunk-extension"),
        pytest.param(b"", b"\r\n" * 4096, (431, "head_too_large"), id="empty-lines"),
    ],
)
def test_what_never_ends_is_stopped_at_the_limit(
    house: House, begin: bytes, more: bytes, expected: tuple[int, str]
) -> None:
    sent = 0
    with connected(house.port) as connection:
        connection.sendall(begin)
        with pytest.raises(ConnectionError):  # once it listens no more and its patience is over
            while True:
                connection.sendall(more)
                sent += len(more)
                if sent > 200_000:
                    found = answers(until_closed(connection))
                    raise ConnectionError
    assert [(answer.status, answer.error()["code"]) for answer in found] == [expected]
    assert house.raw.exchanges == []


# Time


@pytest.mark.parametrize(
    "sent",
    [b"P", HEAD, HEAD + b"x: ", b"\r\n", WHOLE + b"POST /v1"],
    ids=["a-letter", "a-part", "a-value", "an-empty-line", "after-another"],
)
def test_a_head_that_does_not_come_is_a_408(narrow: House, sent: bytes) -> None:
    began = time.monotonic()
    found = answers(say(narrow.port, sent))
    assert time.monotonic() - began >= HASTY_S - 0.01  # uvloop's clock counts milliseconds
    assert found[-1].status == 408
    assert found[-1].error()["code"] == "head_timeout"
    assert found[-1].headers[b"connection"] == b"close"


def test_a_head_that_trickles_is_a_408(narrow: House) -> None:
    with connected(narrow.port) as connection:
        connection.settimeout(0.02)
        data = b""
        for byte in b"GET /" + b"u" * 500:
            connection.send(bytes([byte]))
            try:
                data += connection.recv(65536)
            except TimeoutError:
                continue
            break
        connection.settimeout(5)
        data += until_closed(connection)
    assert [answer.status for answer in answers(data)] == [408]


def test_a_connection_that_says_nothing_is_closed_without_a_word(narrow: House) -> None:
    began = time.monotonic()
    assert say(narrow.port, b"") == b""
    assert time.monotonic() - began >= HASTY_S - 0.01  # uvloop's clock counts milliseconds


def test_a_used_connection_may_be_idle_for_longer(narrow: House) -> None:
    with connected(narrow.port) as connection:
        reader = Reader(connection)
        for _ in range(2):
            connection.sendall(GET)
            assert reader.answer().status == 200
            connection.settimeout(HASTY_S * 2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(5)
            reader = Reader(connection)


def test_a_slow_answer_is_not_a_slow_head(narrow: House) -> None:
    def late(exchange: Exchange) -> None:
        time.sleep(HASTY_S * 2)
        exchange.answer()

    narrow.raw.script = late
    try:
        assert one(narrow, CLOSE + b"\r\n" + CHAT) == (200, "")
    finally:
        narrow.raw.script = Exchange.answer


# A client that does not read


EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"y" * 1000 + b'"}}]}\n\n'
# More than the kernel takes for both connections together.
PLENTY = 64 * 1024 * 1024


class Flood:
    """An upstream that sends as fast as it can."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0

    def __call__(self, exchange: Exchange) -> None:
        exchange.is_over = True
        exchange.send(self.head)
        events = EVENT * 60
        while self.sent < PLENTY:
            self.sent += exchange.connection.send(events)


KINDS = {
    "stream": SSE,
    "whole": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    % (2 * PLENTY),
}


def ask_without_reading(port: int, data: bytes = WHOLE) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.settimeout(5)
    connection.connect(("127.0.0.1", port))
    connection.sendall(data)
    return connection


@pytest.mark.parametrize("kind", KINDS)
def test_an_upstream_waits_for_a_client_that_does_not_read_and_is_not_blamed(kind: str) -> None:
    """Nothing piles up here; and when the client has read on, all has arrived."""
    flood = Flood(KINDS[kind])
    with house_with("{send_timeout: 1m}") as house:
        house.raw.script = flood
        text = b'{"model":"restless","messages":[]}'
        with ask_without_reading(house.port, HEAD + b"Content-Length: %d\r\n\r\n" % len(text) + text) as connection:
            before = -1
            while flood.sent != before:  # until it stands still
                before = flood.sent
                time.sleep(0.4)  # more than twice the `idle` of this upstream
            assert 0 < flood.sent < PLENTY / 2
            assert house.metric('pointsman_attempts_total{outcome="idle",target="restless/raw-model"}') == 0
            assert house.metric("pointsman_in_flight") == 1
            connection.recv(1 << 20)
            while flood.sent < PLENTY:
                assert connection.recv(1 << 20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_never_reads_is_let_go_of(kind: str) -> None:
    with house_with("{send_timeout: 200ms}") as house:
        house.raw.script = Flood(KINDS[kind])
        with ask_without_reading(house.port):
            house.wait_for_metric('pointsman_client_disconnects_total{phase="answer"}', 1)
            house.wait_for_metric("pointsman_in_flight", 0)
            assert house.raw.last.is_over
        assert house.metric('pointsman_attempts_total{outcome="client_left",target="raw/raw-model"}') == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what it has yet to send")
def test_a_client_that_reads_slowly_is_not_one_that_does_not_read() -> None:
    """What it reads makes room with the system, and not enough for that to take more."""
    with house_with("{send_timeout: 1s}") as house:
        house.raw.script = flood = Flood(SSE)
        with ask_without_reading(house.port) as connection:
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                assert connection.recv(8192)
                time.sleep(0.05)  # so slow a reader it is
            while flood.sent < PLENTY:
                assert connection.recv(1 << 20)


def test_one_request_too_many_is_counted_and_logged_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pointsman.request")
    asked, go_on = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        asked.set()
        assert go_on.wait(5)
        exchange.answer()

    with house_with("{max_in_flight: 1}") as house:
        house.raw.script = hold
        first = threading.Thread(target=house.chat, args=("raw",))
        first.start()
        assert asked.wait(5)
        refused = house.chat("raw", headers={"x-request-id": "mine"})
        go_on.set()
        first.join()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert (refused.headers["connection"], refused.headers["x-request-id"]) == ("close", "mine")
        house.wait_for_metric('pointsman_requests_total{model="-",route="-",status="503"}', 1)
        assert house.metric("pointsman_overloads_total") == 1
        text = house.http.get("/metrics").text
        house.wait_for_metric("pointsman_in_flight", 0)
        assert house.chat("raw").status_code == 200, "the place is free again"
    timed = {name for name in series(text) if name.startswith("request_seconds_count") and 'route="-"' in name}
    assert not timed, "that it was refused at once says nothing of how long answers take"
    lines = [vars(record)["fields"] for record in caplog.records if record.name == "pointsman.request"]
    told = [(line["request_id"], line["status"], line["error"]) for line in lines if line["status"] == 503]
    assert told == [("mine", 503, "overloaded")]


def test_one_that_no_upstream_has_room_for_is_counted_too() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        asked.set()
        assert go_on.wait(5)
        exchange.answer()

    crowded = ROUTES.replace('raw: {base_url: "${RAW}/v1"}', 'raw: {base_url: "${RAW}/v1", max_in_flight: 1}')
    with open_house(crowded) as house:
        house.raw.script = hold
        first = threading.Thread(target=house.chat, args=("raw",))
        first.start()
        assert asked.wait(5)
        refused = house.chat("raw")
        go_on.set()
        first.join()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert house.metric("pointsman_overloads_total") == 1


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells its connections")
def test_a_client_that_does_not_read_the_end_is_let_go_of() -> None:
    """The answer is written and the request over, but not all of it is on its way."""
    body = b"x" * (900 * 1024)  # held as a whole
    with house_with("{send_timeout: 200ms}") as house:
        house.raw.script = lambda exchange: exchange.answer(body, status=b"404 Not Found")
        with ask_without_reading(house.port, CLOSE + b"\r\n" + CHAT) as connection:
            house.wait_for_metric('pointsman_requests_total{model="raw",route="pinned",status="404"}', 1)
            deadline = time.monotonic() + 5
            while _is_held(house.port, connection.getsockname()[1]):
                assert time.monotonic() < deadline
                time.sleep(0.02)


def _is_held(server: int, client: int) -> bool:
    """Whether the server's system still has a connection to this port of a client."""
    ends = f"0100007F:{server:04X} 0100007F:{client:04X}"
    return ends in Path("/proc/net/tcp").read_text()
