"""One request and its answer on a connection, between uvicorn's parser and the app."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from proxy.relay.body import BROKEN_OFF, SHUTTING_DOWN
from proxy.server.sending import reset_when_closed

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

# RFC 9110, section 5.5: CR, LF and NUL in a value must be replaced, and the other controls are invalid too.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROLS = bytes(byte for byte in range(256) if _CONTROL.match(bytes([byte])))
_NO_BODY = frozenset((204, 304))


class Cycle(RequestResponseCycle):
    """
    Uvicorn's, except for what it writes, which here is right for HTTP/1.0 too, and what it can be told: to end.

    Attributes:
        is_cut: whether the server ends it; `receive` says so in its last message.
    """

    is_cut = False
    _left: int | None = None
    """Bytes of a body of known length that are still to come; None for a body that ends otherwise."""
    _has_body = True
    _head = b""
    """The answer's, until its body begins."""

    def cut(self) -> None:
        """Tell the app that the server ends: it has a moment to say so to its client."""
        self.is_cut = True
        self.message_event.set()

    def hang_up(self) -> None:
        """Tell the app that its client is gone."""
        self.disconnected = True
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        """The next piece of the request; `http.disconnect` once nothing more can come of it."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not (self.disconnected or self.response_complete or self.is_cut):
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self.is_cut:
            return cast("ASGIReceiveEvent", {"type": "http.disconnect", SHUTTING_DOWN: True})
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: ASGISendEvent) -> None:
        """
        Write the next piece of the answer, once the client has taken enough of those before.

        Raises:
            RuntimeError: the app sends what cannot follow what it sent before.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            body = message.get("body", b"")
            if not body and BROKEN_OFF in message:
                self._break_off()
            else:
                self._go_on(body, is_last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']!r} cannot be sent now")

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        version = self.scope["http_version"]
        lines = [STATUS_LINE[status]]
        length: int | None = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        has_body = self._has_body = self.scope["method"] != "HEAD" and status not in _NO_BODY
        self.chunked_encoding = has_body and length is None and version == "1.1"
        self._left = length if has_body else None
        if self.more_body or (has_body and length is None and version == "1.0"):
            # What is still under way must not be read as the next request; and without a length or chunks, as
            # in HTTP/1.0, the end of the connection is the end of the body.
            self.keep_alive = False
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        head = b"".join(lines)
        # One look at all of it: by header and in a pattern it takes a fiftieth of a request.
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * len(lines):
            head = b"".join([_CONTROL.sub(b" ", line[:-2]) + b"\r\n" for line in lines])
        self._head = head + b"\r\n"

    def _go_on(self, body: bytes, *, is_last: bool) -> None:
        # With the first of the body: a write to the system takes a thirtieth of a request.
        pieces = [self._head] if self._head else []
        self._head = b""
        if self.chunked_encoding:
            if body:
                pieces += (b"%x\r\n" % len(body), body, b"\r\n")
            if is_last:
                pieces.append(b"0\r\n\r\n")
        elif self._has_body:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0 or (is_last and self._left):
                    raise RuntimeError("the body is not as long as its Content-Length says")
            pieces.append(body)
        self.transport.write(b"".join(pieces))
        if is_last:
            self.response_complete = True
            self.message_event.set()
            self.on_response()

    def _break_off(self) -> None:
        self.hang_up()  # else uvicorn would take it for a mistake of the app's, and log that
        if self._has_body and self._left is None and not self.chunked_encoding:
            reset_when_closed(self.transport)  # in HTTP/1.0 the end of the connection would be that of the body
        self.transport.close()
