"""Requests whose end two servers could see in different places: refused, and nothing after them is a request."""

from __future__ import annotations

import pytest

from tests.relay.wire import House
from tests.server.raw import (
    CHAT,
    CHUNKED,
    CHUNKS,
    HEAD,
    LENGTH,
    LINE,
    SMUGGLED,
    WHOLE,
    answers,
    connected,
    say,
    until_closed,
)


def chunk(line: bytes) -> bytes:
    return HEAD + CHUNKED + b"\r\n" + line


REFUSED = {
    "length-and-chunked": HEAD + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n" + CHUNKS,
    "chunked-and-length": HEAD + CHUNKED + b"Content-Length: 4\r\n\r\n" + CHUNKS,
    "no-length-and-chunked": HEAD + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n" + CHUNKS,
    "one-length-twice": HEAD + LENGTH * 2 + b"\r\n" + CHAT,
    "two-lengths": HEAD + LENGTH + b"Content-Length: 3\r\n\r\n" + CHAT,
    "list-of-lengths": HEAD + b"Content-Length: %d, %d\r\n\r\n" % (len(CHAT), len(CHAT)) + CHAT,
    "length-below-zero": HEAD + b"Content-Length: -1\r\n\r\n" + CHAT,
    "length-with-plus": HEAD + b"Content-Length: +%d\r\n\r\n" % len(CHAT) + CHAT,
    "length-in-hex": HEAD + b"Content-Length: 0x%x\r\n\r\n" % len(CHAT) + CHAT,
    "length-with-a-space": HEAD + b"Content-Length: 6 8\r\n\r\n" + CHAT,
    "length-with-underscore": HEAD + b"Content-Length: 6_8\r\n\r\n" + CHAT,
    "empty-length": HEAD + b"Content-Length:\r\n\r\n",
    "chunked-identity": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS,
    "identity-chunked": HEAD + b"Transfer-Encoding: identity, chunked\r\n\r\n" + CHUNKS,
    "gzip-chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunkedx": HEAD + b"Transfer-Encoding: chunkedx\r\n\r\n" + CHUNKS,
    "quoted-chunked": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKS,
    "gzip": HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + CHUNKS,
    "identity-and-length": HEAD + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + CHAT,
    "chunked-twice": HEAD + CHUNKED * 2 + b"\r\n" + CHUNKS,
    "vertical-tab-chunked": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + CHUNKS,
    "folded-chunked": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS,
    "chunked-before-colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    "empty-coding": HEAD + b"Transfer-Encoding:\r\n\r\n" + CHUNKS,
    "chunked-in-1.0": HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS,
    "folded-header": HEAD + b"x-a: b\r\n c\r\n" + LENGTH + b"\r\n" + CHAT,
    "bare-lf": HEAD + b"x-a: b\nx-b: c\r\n" + LENGTH + b"\r\n" + CHAT,
    "bare-cr": HEAD + b"x-a: b\rx-b: c\r\n" + LENGTH + b"\r\n" + CHAT,
    "lf-for-crlf": (HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + CHAT,
    "lf-ends-the-head": HEAD + LENGTH + b"\n" + CHAT,
    "nul": HEAD + b"x-a: b\0c\r\n" + LENGTH + b"\r\n" + CHAT,
    "control": HEAD + b"x-a: b\x01c\r\n" + LENGTH + b"\r\n" + CHAT,
    "space-before-colon": HEAD + b"x-a : b\r\n" + LENGTH + b"\r\n" + CHAT,
    "space-before-name": LINE + b" x: y\r\nHost: a\r\n" + LENGTH + b"\r\n" + CHAT,
    "no-colon": HEAD + b"xa\r\n" + LENGTH + b"\r\n" + CHAT,
    "two-hosts": HEAD + b"Host: other\r\n" + LENGTH + b"\r\n" + CHAT,
    "no-host": LINE + LENGTH + b"\r\n" + CHAT,
    "no-such-host": LINE + b"Host: a b/c\r\n" + LENGTH + b"\r\n" + CHAT,
    "space-in-method": b"PO " + HEAD[2:] + LENGTH + b"\r\n" + CHAT,
    "method-in-small-letters": b"post" + HEAD[4:] + LENGTH + b"\r\n" + CHAT,
    "no-such-method": b"FOO" + HEAD[4:] + LENGTH + b"\r\n" + CHAT,
    "space-in-url": HEAD.replace(b"/v1", b"/ v1") + LENGTH + b"\r\n" + CHAT,
    "http-0.9": b"GET /healthz\r\n\r\n",
    "http-1.2": WHOLE.replace(b"1.1", b"1.2"),
    "http-2.0": WHOLE.replace(b"1.1", b"2.0"),
    "http-2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "chunk-size-in-letters": chunk(b"zz\r\n"),
    "chunk-size-below-zero": chunk(b"-5\r\n"),
    "chunk-size-with-0x": chunk(b"0x%x\r\n" % len(CHAT) + CHAT),
    "chunk-size-and-space": chunk(b"%x \r\n" % len(CHAT) + CHAT),
    "chunk-size-past-all-numbers": chunk(b"f" * 17 + b"\r\n"),
    "chunk-size-ends-with-lf": chunk(b"%x\n" % len(CHAT) + CHAT + b"\r\n0\r\n\r\n"),
    "chunk-ends-with-lf": chunk(b"%x\r\n" % len(CHAT) + CHAT + b"\n0\n\n"),
    "lf-in-a-chunk-extension": chunk(b"%x;a\nb\r\n" % len(CHAT) + CHAT),
    "chunk-longer-than-it-says": chunk(b"3\r\n" + CHAT),
    "length-in-a-trailer": chunk(CHUNKS[:-2] + b"Content-Length: 5\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first", "after-another"])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_not_http_is_refused_and_nothing_after_it_is_a_request(
    house: House, data: bytes, before: bytes
) -> None:
    found = answers(say(house.port, before + data + b"\r\n" + SMUGGLED))
    assert [answer.status for answer in found] == ([200] if before else []) + [400]
    assert found[-1].headers[b"connection"] == b"close"
    error = found[-1].error()
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "bad_http"
    assert len(house.raw.exchanges) == (1 if before else 0)
    assert all(not exchange.values(b"x-smuggled") for exchange in house.raw.exchanges)
    assert house.chat("raw").status_code == 200


@pytest.mark.parametrize("name", ["length-and-chunked", "two-hosts", "chunk-size-in-letters", "nul"])
def test_byte_by_byte_makes_no_difference(house: House, name: str) -> None:
    with connected(house.port) as connection:
        for byte in REFUSED[name]:
            connection.send(bytes([byte]))
        found = answers(until_closed(connection))
    assert [answer.status for answer in found] == [400]
    assert house.raw.exchanges == []


@pytest.mark.parametrize("wish", [b"websocket", b"h2c"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("pieces", ["together", "head-first"])
def test_a_body_behind_an_ignored_upgrade_is_a_body(house: House, wish: bytes, is_chunked: bool, pieces: str) -> None:
    """Read as the parser reads it, without a body, its bytes would be the next request."""
    body = SMUGGLED  # no JSON, so that it gets a 400
    framing = CHUNKED if is_chunked else b"Content-Length: %d\r\n" % len(body)
    head = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + wish + b"\r\n" + framing + b"\r\n"
    sent = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" if is_chunked else body
    with connected(house.port) as connection:
        if pieces == "together":
            connection.sendall(head + sent)
        else:
            connection.sendall(head)
            house.wait_for_metric("pointsman_in_flight", 1)
            connection.sendall(sent)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        found = answers(until_closed(connection))
    assert [answer.status for answer in found] == [400, 200]
    assert "JSON" in found[0].error()["message"]
    assert house.raw.exchanges == []


def test_an_upgrade_is_answered_plainly(house: House) -> None:
    head = HEAD + b"Connection: close, Upgrade\r\nUpgrade: h2c\r\nx-kept: 1\r\n" + LENGTH
    found = answers(say(house.port, head + b"\r\n" + CHAT))
    assert [answer.status for answer in found] == [200]
    assert house.raw.last.values(b"x-kept") == [b"1"]
    assert house.raw.last.values(b"upgrade") == []


def test_a_trailer_is_no_header(house: House) -> None:
    trailers = b"x-pointsman-model: other\r\nx-priority: high\r\nauthorization: Bearer sk-trailer\r\n"
    data = HEAD + b"Connection: close\r\n" + CHUNKED + b"\r\n" + CHUNKS[:-2] + trailers + b"\r\n"
    found = answers(say(house.port, data))
    assert [answer.status for answer in found] == [200]
    assert found[0].headers[b"x-pointsman-model"] == b"raw"
    assert b"x-pointsman-model" not in dict(house.raw.last.headers)
    assert house.raw.last.values(b"authorization") == []


def test_what_a_refused_body_leaves_is_not_read(house: House) -> None:
    data = HEAD + b"Content-Length: 99999999\r\n\r\n" + SMUGGLED
    found = answers(say(house.port, data))
    assert [answer.status for answer in found] == [413]
    assert house.raw.exchanges == []


def test_what_follows_a_connections_last_request_is_not_read(house: House) -> None:
    found = answers(say(house.port, HEAD + b"Connection: close\r\n" + LENGTH + b"\r\n" + CHAT + SMUGGLED))
    assert [answer.status for answer in found] == [200]
    assert len(house.raw.exchanges) == 1


# Control characters never make another header.


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"\0"], ids=["crlf", "lf", "cr", "nul"])
def test_no_model_name_makes_a_header(house: House, end: bytes) -> None:
    escaped = b"".join(b"\\u%04x" % byte for byte in end)
    body = b'{"model":"nobody' + escaped + b'x-evil: 1","messages":[]}'
    data = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    found = answers(say(house.port, data))
    assert [answer.status for answer in found] == [404]
    assert b"x-evil" not in found[0].headers


@pytest.mark.parametrize("value", [b"a\x0bb", b"a\x7fb", b"a\x01b"])
def test_an_upstreams_header_with_control_characters_is_one_header_without_them(house: House, value: bytes) -> None:
    house.raw.script = lambda exchange: exchange.answer(
        b"{}", b"x-odd: " + value, b"x-fine: 1", status=b"404 Not Found"
    )
    found = answers(say(house.port, HEAD + b"Connection: close\r\n" + LENGTH + b"\r\n" + CHAT))
    assert found[0].status in (404, 502)  # as its parser sees it
    assert found[0].headers.get(b"x-odd", b"a b") == b"a b"
