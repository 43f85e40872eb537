"""What of HTTP/1 a client may use, and the order in which answers come."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.relay.wire import SSE, Exchange, House
from tests.server.raw import CHAT, CHUNKED, CHUNKS, GET, HEAD, LENGTH, SMUGGLED, WHOLE, Reader, connected

HEAD_1_0 = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
EVENTS = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'
AGAIN = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def expecting(*headers: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    head = HEAD.replace(b"/v1/chat/completions", path)
    return head + b"Expect: 100-continue\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def test_a_client_that_waits_is_told_to_go_on_and_may_come_again(house: House) -> None:
    with connected(house.port) as connection:
        reader = Reader(connection)
        for _ in range(2):
            connection.sendall(expecting(b"Content-Length: %d" % len(CHAT)))
            assert reader.answer().status == 100
            connection.sendall(CHAT)
            answer = reader.answer()
            assert answer.status == 200
            assert b"connection" not in answer.headers


@pytest.mark.parametrize(
    ("path", "length", "status"), [(b"/v1/chat/completions", 99_999_999, 413), (b"/nothing", 9, 404)]
)
def test_a_body_that_is_not_wanted_is_not_asked_for(house: House, path: bytes, length: int, status: int) -> None:
    """And the connection ends: whatever comes next could be that body."""
    with connected(house.port) as connection:
        reader = Reader(connection)
        connection.sendall(expecting(b"Content-Length: %d" % length, path=path))
        answer = reader.answer()
        assert answer.status == status
        assert answer.headers[b"connection"] == b"close"
        assert reader.is_at_end()


def test_http_1_0_is_not_told_to_go_on(house: House) -> None:
    with connected(house.port) as connection:
        connection.sendall(HEAD_1_0 + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n" + CHAT)
        assert Reader(connection).answer().status == 200


def test_a_stream_for_http_1_0_has_no_chunks_and_ends_with_its_connection(house: House) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(SSE + EVENTS)
        exchange.cut()

    house.raw.script = script
    with connected(house.port) as connection:
        reader = Reader(connection)
        connection.sendall(HEAD_1_0 + b"Connection: keep-alive\r\n" + LENGTH + b"\r\n" + CHAT)
        answer = reader.answer()
    assert answer.body == EVENTS
    assert answer.headers[b"connection"] == b"close"
    assert b"transfer-encoding" not in answer.headers


def test_a_stream_for_http_1_0_that_cannot_be_told_as_cut_ends_with_a_reset(house: House) -> None:
    """Its connection's end would be the right end of it; a part of an event too large to hold is out already."""

    def script(exchange: Exchange) -> None:
        exchange.send(SSE.replace(b"connection: close", b"content-length: 700000") + EVENTS[:-14] + bytes(600_000))
        exchange.cut()

    house.raw.script = script
    with connected(house.port) as connection:
        connection.sendall(HEAD_1_0 + LENGTH + b"\r\n" + CHAT)
        with pytest.raises(ConnectionResetError):
            while connection.recv(1 << 20):
                pass


def test_http_1_0_keeps_its_connection_if_it_asks(house: House) -> None:
    with connected(house.port) as connection:
        reader = Reader(connection)
        for _ in range(3):
            connection.sendall(HEAD_1_0 + b"Connection: keep-alive\r\n" + LENGTH + b"\r\n" + CHAT)
            answer = reader.answer()
            assert (answer.status, answer.headers[b"connection"]) == (200, b"keep-alive")
        connection.sendall(HEAD_1_0 + LENGTH + b"\r\n" + CHAT)
        assert reader.answer().headers[b"connection"] == b"close"
        assert reader.is_at_end()
    assert len(house.raw.exchanges) == 4


@pytest.mark.parametrize("in_one", [True, False], ids=["in-one-piece", "one-by-one"])
def test_answers_come_in_the_order_of_requests_and_the_next_waits(house: House, in_one: bool) -> None:
    gate, begun = threading.Event(), threading.Event()

    def script(exchange: Exchange) -> None:
        begun.set()
        assert gate.wait(5)
        exchange.answer(b'{"number":%d}' % len(house.raw.exchanges))

    house.raw.script = script
    requests = [WHOLE, GET, HEAD + CHUNKED + b"\r\n" + CHUNKS, WHOLE, AGAIN]
    with connected(house.port) as connection:
        reader = Reader(connection)
        if in_one:
            connection.sendall(b"".join(requests))
        else:
            for request in requests:
                connection.sendall(request)
                assert begun.wait(5)
        assert begun.wait(5)
        house.wait_for_metric("pointsman_in_flight", 1)
        assert len(house.raw.exchanges) == 1
        gate.set()
        found = [reader.answer().body for _ in requests]
        assert reader.is_at_end()
    assert found == [b'{"number":1}', b'{"status":"ok"}', b'{"number":2}', b'{"number":3}', b'{"status":"ok"}']


def test_a_client_that_leaves_frees_the_upstream_though_it_asked_for_more(house: House) -> None:
    begun = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send(SSE)
        begun.set()
        exchange.wait_until_left()

    house.raw.script = script
    with connected(house.port) as connection:
        connection.sendall(WHOLE + GET)
        assert begun.wait(5)
    house.wait_for_metric("pointsman_in_flight", 0)


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/v1/models", b"/metrics", b"/nothing"])
def test_a_head_request_gets_the_head_alone(house: House, path: bytes) -> None:
    with connected(house.port) as connection:
        reader = Reader(connection)
        connection.sendall(GET.replace(b"/healthz", path))
        whole = reader.answer()
        connection.sendall(GET.replace(b"GET /healthz", b"HEAD " + path) + AGAIN)
        head = reader.answer(has_body=False)
        assert head.status == whole.status
        assert head.headers.keys() == whole.headers.keys()
        if path not in (b"/metrics", b"/nothing"):  # which grow, and which tells the method
            assert head.headers[b"content-length"] == b"%d" % len(whole.body)
        assert reader.answer().body == b'{"status":"ok"}'


@pytest.mark.parametrize(
    ("line", "status"),
    [
        pytest.param(b"GET http://elsewhere:1/healthz HTTP/1.1", 200, id="absolute"),
        pytest.param(b"GET http://elsewhere HTTP/1.1", 404, id="absolute-without-a-path"),
        pytest.param(b"OPTIONS * HTTP/1.1", 404, id="asterisk"),
        pytest.param(b"TRACE /healthz HTTP/1.1", 405, id="trace"),
        pytest.param(b"CONNECT elsewhere:443 HTTP/1.1", 405, id="connect"),
        pytest.param(b"CONNECT /v1/chat/completions HTTP/1.1", 405, id="connect-to-a-path"),
        pytest.param(b"GET /%0d%0ax-evil:1 HTTP/1.1", 404, id="line-ends-in-the-path"),
        pytest.param(b"GET /caf\xc3\xa9 HTTP/1.1", 400, id="not-ascii"),
        pytest.param(b"GET healthz HTTP/1.1", 400, id="no-slash"),
        pytest.param(b"\r\n\r\nGET /healthz HTTP/1.1", 200, id="after-empty-lines"),
    ],
)
def test_odd_request_lines(house: House, line: bytes, status: int) -> None:
    with connected(house.port) as connection:
        connection.sendall(line + b"\r\nHost: a\r\nx-echo: no\r\n\r\n" + (SMUGGLED if b"CONNECT" in line else b""))
        answer = Reader(connection).answer()
    assert answer.status == status
    assert b"x-evil" not in answer.headers
    assert b"x-echo" not in answer.headers
    if status >= 400:
        assert answer.error()["type"] == "invalid_request_error"
    assert house.raw.exchanges == []


def test_space_around_a_length_is_no_part_of_it(house: House) -> None:
    with connected(house.port) as connection:
        connection.sendall(HEAD + b"Content-Length:  %d \t\r\n\r\n" % len(CHAT) + CHAT)
        assert Reader(connection).answer().status == 200


@pytest.mark.parametrize(
    ("header", "model"),
    [
        pytest.param(b"x-priority: high", b"other", id="a-rule's"),
        pytest.param(b"x-pointsman-model: other", b"other", id="a-pin"),
        pytest.param(b"content-encoding: identity", b"sim", id="a-coding"),
    ],
)
@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t "], ids=["space", "tab", "several"])
def test_blanks_behind_a_value_are_no_part_of_it(house: House, header: bytes, model: bytes, blanks: bytes) -> None:
    """RFC 9110, section 5.5. Else a rule by which a request stays in the house would be passed by without a word."""
    chat = CHAT.replace(b"raw", b"auto")
    with connected(house.port) as connection:
        connection.sendall(HEAD + header + blanks + b"\r\nContent-Length: %d\r\n\r\n" % len(chat) + chat)
        answer = Reader(connection).answer()
    assert (answer.status, answer.headers[b"x-pointsman-model"]) == (200, model)


def test_an_answer_to_a_large_body_is_read_though_nobody_reads_the_body(house: House) -> None:
    """A server that closed at once would reset the connection, and the client lose the answer."""
    size = 40_000_000
    with connected(house.port) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        assert connection.recv(1, socket.MSG_PEEK)
        for _ in range(20):
            connection.sendall(b"x" * 100_000)
        assert Reader(connection).answer().status == 413
