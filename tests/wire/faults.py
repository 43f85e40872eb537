"""How an upstream can misbehave, each told at the socket, and what must come of it."""

from __future__ import annotations

import email.utils
import gzip
import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.relay.wire import Exchange

Play = Callable[[Exchange, bool], None]
"""Answers one request; told whether it asked for a stream."""

JSON_ANSWER = b'{"id" :"chatcmpl-1",\r\n "choices":[{"message":{"content":"\\u00e9 \xf0\x9f\x9a\x80"}}], "n":1e2}\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
EVENTS = (
    ROLE,
    b'data: {"choices":[{"delta":{"content":"\xc3\xa9 one"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":" two"}}]}\n\n',
    b"data: [DONE]\n\n",
)
STREAM = b"".join(EVENTS)
BEGUN = b"".join(EVENTS[:2])
HUGE = b'data: {"choices":[{"delta":{"content":"' + b"x" * 1_000_000 + b'"}}]}\n\n'
SSE = b"content-type: text/event-stream"


def answer_of(*, stream: bool) -> bytes:
    return STREAM if stream else JSON_ANSWER


def head(*headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, *headers)) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"transfer-encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Play:
    """A whole answer with its length."""
    return lambda exchange, stream: exchange.send(
        head(b"content-length: %d" % len(body), *headers, status=status) + body
    )


def status(code: int, /, *headers: bytes, message: str = "theirs", **error: str) -> Play:
    body = json.dumps({"error": {"message": message, **error}}, indent=1).encode()
    return whole(body, b"content-type: application/json", *headers, status=b"%d Theirs" % code)


def good(exchange: Exchange, stream: bool) -> None:
    """An answer as it should be; whether a stream or not."""
    if stream:
        exchange.send(head(SSE, CHUNKED) + b"".join(map(chunk, EVENTS)) + LAST_CHUNK)
    else:
        whole(JSON_ANSWER, b"content-type: application/json")(exchange, stream)


def send(sent: bytes) -> Play:
    """These bytes, the connection staying open."""
    return lambda exchange, stream: exchange.send(sent)


def cut_after(sent: bytes) -> Play:
    def play(exchange: Exchange, stream: bool) -> None:
        exchange.send(sent)
        exchange.cut()

    return play


def no_size_after(sent: bytes) -> Play:
    """A chunk that begins with no number, where its size should stand."""

    def play(exchange: Exchange, stream: bool) -> None:
        exchange.send(sent)
        exchange.wait_until_read()
        exchange.send(b"zz\r\ndata: 1\n\n\r\n")
        exchange.cut()

    return play


def reset_after(sent: bytes) -> Play:
    def play(exchange: Exchange, stream: bool) -> None:
        exchange.send(sent)
        if sent:
            exchange.wait_until_read()  # a reset overtakes what was sent before it
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.connection.close()
        exchange.cut()

    return play


def half_close_after(sent: bytes) -> Play:
    def play(exchange: Exchange, stream: bool) -> None:
        exchange.send(sent)
        exchange.connection.shutdown(socket.SHUT_WR)
        exchange.wait_until_left()

    return play


def stall_after(sent: bytes) -> Play:
    def play(exchange: Exchange, stream: bool) -> None:
        exchange.send(sent)
        exchange.wait_until_left()

    return play


def by_kind(for_stream: Play, for_whole: Play) -> Play:
    return lambda exchange, stream: (for_stream if stream else for_whole)(exchange, stream)


def _date_in(seconds: float) -> bytes:
    return email.utils.format_datetime(
        email.utils.localtime().fromtimestamp(time.time() + seconds).astimezone()
    ).encode()


@dataclass(frozen=True)
class Fault:
    """One way to fail before there was any content."""

    name: str
    play: Play | None
    """None for an upstream that hears of no request."""
    outcome: str
    """In `pointsman_attempts_total`."""
    alone: tuple[int, str]
    """The status and the error's code, empty where it has none, where nobody betters it."""
    is_theirs: bool = False
    """Whether the client gets the upstream's own body then."""
    moves_on: bool = True
    """Whether another target or model is tried."""
    repeats: bool = False
    """Whether the same target is tried again, where there is no other."""
    is_hasty: bool = False
    """Whether it is a deadline that ends it."""
    only: str = ""
    """`stream` or `whole`, where it happens with one of them only."""
    at: str = "bad"
    """The upstream that fails."""


UNAVAILABLE = (502, "upstream_unavailable")
GARBLED = (502, "upstream_garbled")


def _lost(name: str, play: Play, outcome: str = "unreachable", only: str = "") -> Fault:
    return Fault(name, play, outcome, UNAVAILABLE, repeats=True, only=only)


def _never_there(name: str, at: str) -> Fault:
    return Fault(name, None, "unreachable", UNAVAILABLE, repeats=True, at=at)


def _garbled(name: str, play: Play, only: str = "") -> Fault:
    return Fault(name, play, "garbled", GARBLED, repeats=True, only=only)


def _late(name: str, play: Play, only: str) -> Fault:
    awaited = "first_token" if only == "stream" else "whole_answer"
    return Fault(name, play, awaited, (504, f"{awaited}_timeout"), is_hasty=True, only=only)


def _passes(name: str, code: int, *, at: str = "bad", word: str = "") -> Fault:
    return Fault(name, _refusal(code, word), "rejected", (code, word), is_theirs=True, moves_on=False, at=at)


def _refused(name: str, code: int, outcome: str, word: str = "") -> Fault:
    return Fault(name, _refusal(code, word), outcome, (code, word), is_theirs=True)


def _refusal(code: int, word: str) -> Play:
    return status(code, **({"code": word} if word else {}))


def _trouble(code: int) -> Fault:
    return Fault(f"{code}", status(code), "failed", (code, ""), is_theirs=True, repeats=True)


def _limited(name: str, *headers: bytes) -> Fault:
    return Fault(name, status(429, *headers), "rate_limited", (429, ""), is_theirs=True)


FAULTS = (
    _never_there("refuses the connection", "dead"),
    _never_there("has a certificate of another name", "misnamed"),
    _lost("resets it", reset_after(b"")),
    _lost("closes it", cut_after(b"")),
    _lost("closes its half of it", half_close_after(b"")),
    _lost("breaks off in the head", cut_after(b"HTTP/1.1 200 OK\r\ncontent-ty")),
    _lost("resets after the head", reset_after(head(SSE, CHUNKED)), "cut", "stream"),
    _lost("breaks off after the head", cut_after(head(SSE, CHUNKED)), "cut", "stream"),
    _lost("breaks off after the role", cut_after(head(SSE, CHUNKED) + chunk(ROLE)), "cut", "stream"),
    _lost("breaks off in an event", cut_after(head(SSE, CHUNKED) + chunk(b'data: {"choi')), "cut", "stream"),
    _lost("breaks off in a character", cut_after(head(SSE, CHUNKED) + chunk(b'data: {"x":"\xc3')), "cut", "stream"),
    _lost("sends a chunk without a size", no_size_after(head(SSE, CHUNKED)), "cut", "stream"),
    _lost("breaks off in the body", cut_after(head(b"content-length: 99") + b"{"), "cut", "whole"),
    _lost("says a length that is too long", cut_after(head(b"content-length: 999") + JSON_ANSWER), "cut", "whole"),
    _garbled("is not HTTP", cut_after(b"hello\r\n\r\n")),
    _garbled("sends a header of 100 KB", cut_after(head(b"content-length: 2", b"x-long: " + b"x" * 100_000) + b"{}")),
    _garbled("says a length that is too short", cut_after(head(b"content-length: 20") + JSON_ANSWER), "whole"),
    _garbled("answers nothing", whole(b"")),
    _garbled("answers the status 600", whole(JSON_ANSWER, b"content-type: application/json", status=b"600 Odd")),
    _garbled("switches protocols", send(head(b"connection: upgrade", b"upgrade: x", status=b"101 Switching Protocols"))),
    _garbled("answers HTML", whole(b"<html>maintenance</html>", b"content-type: text/html")),
    _garbled("answers a list", whole(b"[]", b"content-type: application/json"), "whole"),
    _garbled("answers an error under 200", whole(b'{"error":{"message":"no"}}', b"content-type: application/json")),
    _garbled("ends a stream without an event", send(head(SSE, CHUNKED) + LAST_CHUNK), "stream"),
    _garbled("ends a stream after comments", send(head(SSE, CHUNKED) + chunk(b": hi\n\n") + LAST_CHUNK), "stream"),
    _garbled("begins with an error event", cut_after(head(SSE, CHUNKED) + chunk(b'data: {"error":{"message":"no"}}\n\n')), "stream"),
    _garbled("begins with a named error event", cut_after(head(SSE, CHUNKED) + chunk(b'event: error\ndata: {"message":"no"}\n\n')), "stream"),
    _garbled("tells an error after the role", cut_after(head(SSE, CHUNKED) + chunk(ROLE) + chunk(b'data: {"error":{"message":"no"}}\n\n')), "stream"),
    _garbled("streams another thing than JSON", cut_after(head(SSE, CHUNKED) + chunk(b"data: <html>\n\n")), "stream"),
    _late("says nothing", stall_after(b""), "stream"),
    _late("says nothing", stall_after(b""), "whole"),
    _late("stalls after the head", stall_after(head(SSE, CHUNKED)), "stream"),
    _late("stalls after comments", stall_after(head(SSE, CHUNKED) + chunk(b": wait\n\n: wait\n\n")), "stream"),
    _late("stalls after the role", stall_after(head(SSE, CHUNKED) + chunk(ROLE)), "stream"),
    _late("stalls in the body", stall_after(head(b"content-length: 99") + b"{"), "whole"),
    _limited("429"),
    _limited("429 with seconds", b"retry-after: 2"),
    _limited("429 with a date", b"retry-after: " + _date_in(3600)),
    _limited("429 with milliseconds", b"retry-after-ms: 1500"),
    *map(_trouble, (408, 500, 502, 503, 504, 529)),
    Fault("401 for our key", status(401), "unauthorized", (502, "upstream_unauthorized")),
    _refused("402 for our key", 402, "rate_limited"),
    _refused("403 for our key", 403, "forbidden"),
    _refused("404 for our key, `model_not_found`", 404, "forbidden", "model_not_found"),
    _refused("413 for our key, `rate_limit_exceeded`", 413, "forbidden", "rate_limit_exceeded"),
    _passes("401 for the client's key", 401, at="open"),
    _passes("402 for the client's key", 402, at="open"),
    _passes("403 for the client's key", 403, at="open"),
    _passes("404 for the client's key, `model_not_found`", 404, at="open", word="model_not_found"),
    *(_passes(str(code), code) for code in (400, 404, 409, 413, 422)),
)  # fmt: skip


@dataclass(frozen=True)
class Break:
    """One way to fail after content was sent."""

    name: str
    play: Play
    code: str
    """Of the error event that ends the client's stream; empty where it is cut off instead."""
    outcome: str
    arrives: bytes = BEGUN
    """What the client gets before that."""
    is_hasty: bool = False


def _begun(rest: bytes = b"") -> bytes:
    return head(SSE, CHUNKED) + b"".join(map(chunk, EVENTS[:2])) + (chunk(rest) if rest else b"")


BREAKS = (
    Break("breaks off between events", cut_after(_begun()), "upstream_cut", "cut"),
    Break("breaks off in an event", cut_after(_begun(b'data: {"choi')), "upstream_cut", "cut"),
    Break("breaks off in a character", cut_after(_begun(b'data: {"x":"\xc3')), "upstream_cut", "cut"),
    Break("resets", reset_after(_begun()), "upstream_cut", "cut"),
    Break("closes its half", half_close_after(_begun()), "upstream_cut", "cut"),
    Break("falls silent", stall_after(_begun()), "idle_timeout", "idle", is_hasty=True),
    Break("falls silent in an event", stall_after(_begun(b"data: {")), "idle_timeout", "idle", is_hasty=True),
    Break("sends a chunk without a size", no_size_after(_begun()), "upstream_cut", "cut"),
    Break("breaks off before a chunk's end", cut_after(_begun() + b"5\r\nda"), "upstream_cut", "cut"),
    Break("breaks off before its length", cut_after(head(SSE, b"content-length: 9999") + BEGUN), "upstream_cut", "cut"),
    Break("breaks off in an event of 1 MB", cut_after(_begun(HUGE[:600_000])), "", "cut"),
)


def _in_pieces(stream: bytes, size: int, *kind: bytes) -> Play:
    def play(exchange: Exchange, stream_asked: bool) -> None:
        exchange.send(head(*kind, CHUNKED))
        for start in range(0, len(stream), size):
            exchange.send(chunk(stream[start : start + size]))
        exchange.send(LAST_CHUNK)

    return play


def _streamed(stream: bytes, *kind: bytes) -> tuple[Play, bytes]:
    return _in_pieces(stream, 1 << 16, *(kind or (SSE,))), stream


_HALVED = JSON_ANSWER.replace(rb"\u00e9", rb"\ud83d")

ODDITIES: dict[str, tuple[Play, bytes, bytes]] = {
    "drips one byte at a time": (_in_pieces(STREAM, 1, SSE), STREAM, b""),
    "sends an event of 1 MB": (*_streamed(HUGE + EVENTS[-1]), b""),
    "ends lines with CR LF": (*_streamed(STREAM.replace(b"\n", b"\r\n")), b""),
    "ends lines with CR": (*_streamed(STREAM.replace(b"\n", b"\r")), b""),
    "ends lines with CR LF and drips": (
        _in_pieces(STREAM.replace(b"\n", b"\r\n"), 1, SSE), STREAM.replace(b"\n", b"\r\n"), b"",
    ),
    "begins with a byte order mark": (*_streamed(b"\xef\xbb\xbf" + STREAM), b""),
    "sends comments, ids and data of several lines": (
        *_streamed(b': hi\n\nid: 7\nretry: 10\ndata: {"choices":\ndata: [{"delta":{"content":"a"}}]}\n\n' + STREAM), b"",
    ),
    "labels a stream Text/Event-Stream": (*_streamed(STREAM, b"content-type: Text/Event-Stream"), b""),
    "labels a stream text/html": (*_streamed(STREAM, b"content-type: text/html; charset=utf-8"), b""),
    "labels no stream and drips": (_in_pieces(STREAM, 1), STREAM, b""),
    "begins with half of a surrogate pair": (
        *_streamed(b"".join((ROLE, rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}', b"\n\n", *EVENTS[2:]))), b"",
    ),
    "tells an error after content": (
        *_streamed(BEGUN + b'data: {"error":{"message":"no"}}\n\n'), b"",
    ),
    "ends without [DONE]": (*_streamed(BEGUN), b""),
    "ends without an empty line": (*_streamed(STREAM[:-2]), b""),
    "compresses all the same": (
        whole(gzip.compress(JSON_ANSWER, mtime=0), b"content-type: application/json", b"content-encoding: gzip"),
        JSON_ANSWER,
        b"gzip",
    ),
    "answers 201": (whole(JSON_ANSWER, b"content-type: application/json", status=b"201 Created"), JSON_ANSWER, b""),
    "answers JSON with a header of 60 KB": (
        whole(JSON_ANSWER, b"content-type: application/json", b"x-request-id: " + b"x" * 60_000), JSON_ANSWER, b"",
    ),
    "answers JSON with 500 headers": (
        whole(JSON_ANSWER, b"content-type: application/json", *(b"x-%d: x" % n for n in range(498))), JSON_ANSWER, b"",
    ),
    "answers JSON with half of a surrogate pair": (whole(_HALVED, b"content-type: application/json"), _HALVED, b""),
    "answers JSON without saying so": (whole(JSON_ANSWER), JSON_ANSWER, b""),
}  # fmt: skip
