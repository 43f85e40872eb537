"""One connection of a client: uvicorn's parser, with bounds to what may come in and how long it may take."""

from __future__ import annotations

import asyncio
import logging
import urllib.parse
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from proxy.errors import BadRequest, HeadTimeout, ProxyError, WrongMethod
from proxy.server.cycle import Cycle
from proxy.server.head import check_head, too_much
from proxy.server.sending import Sending

if TYPE_CHECKING:
    from proxy.endpoints.current import Current

logger = logging.getLogger(__name__)

# How long a client that still sends may take to read why nobody listens; a plain close could take that from it.
_LINGER_S = 2.0


class Protocol(HttpToolsProtocol):
    """
    Uvicorn's connection, made fit for strangers.

    A request that HTTP does not allow, or that is larger or slower than `server` in routes.yaml allows, is answered
    in OpenAI's envelope after the answers that are owed before it, and the connection is closed: nothing after it is
    taken for a request.
    """

    cycle: Cycle  # of the newest request whose head has been read; None before the first, as uvicorn has it

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn calls it; `app_state` is what the lifespan of `build_app` yields."""
        super().__init__(config, server_state, app_state, _loop)
        self._current: Current = app_state["current"]
        self._limits = self._current.active.running.config.server
        self._readiness = app_state["readiness"]
        self._running: Cycle | None = None  # of the request that is being answered; later ones wait in `pipeline`
        self._unfinished = 0  # bytes that nothing has come of: neither a head, nor a piece of a body, nor its end
        self._largest = 0  # bytes that a head may have which ends in what is being read
        self._is_deaf = False  # no more is read as a request
        self._refusal: ProxyError | None = None  # the last answer, after those that are owed
        self._head_timer: asyncio.TimerHandle | None = None
        self._sending: Sending = None  # type: ignore[assignment]  # until there is a transport, as uvicorn's own
        self._is_ending = False  # nothing more is written
        self.url, self.headers = b"", []  # until a request begins

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is here, and has so long to send a head."""
        super().connection_made(transport)
        self._sending = Sending(transport, self.loop, self._limits.send_timeout)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; the request that is being answered learns of it."""
        self._sending.stop()
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self._running is not None and not self._running.response_complete:
            self._running.hang_up()  # uvicorn tells the newest request only
        self.pipeline.clear()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: close now, or after the answers that are owed."""
        if self._is_owing:
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def cut(self) -> bool:
        """The server ends now: whether a request is told so, which may say it to its client; others are closed."""
        self._is_deaf = True
        self.pipeline.clear()
        if self._running is None or self._running.response_complete:
            self.transport.close()
            return False
        self._running.keep_alive = False
        self._running.cut()
        return True

    @property
    def _is_owing(self) -> bool:
        """Whether a request has been read that is not answered."""
        newest: Cycle | None = self.cycle
        return newest is not None and not newest.response_complete

    @property
    def _is_expecting(self) -> bool:
        """Whether a head has begun."""
        return self._unfinished > 0 or self.scope is not None

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Read on; what cannot be read, or is too much, is refused."""
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        self._unfinished = self._largest = self._unfinished + len(data)
        refusal = self._read(data)
        if refusal is None and (
            self._unfinished > self._limits.max_head or len(self.headers) > self._limits.max_headers
        ):
            refusal = too_much(self.url, self._limits)
        if refusal is not None:
            self._refuse(refusal)
        elif not self._is_owing:
            self._await_head()
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _read(self, data: bytes) -> ProxyError | None:
        """Why it cannot be read, if it cannot."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._read(self._without_upgrade() + data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, ProxyError):  # raised by a callback below
                return error.__context__
            if isinstance(error, httptools.HttpParserCallbackError):
                return BadRequest("The request's URL cannot be read.", code="bad_http")
            return BadRequest(f"The request is not HTTP/1.1: {error}.", code="bad_http")
        return None

    def _without_upgrade(self) -> bytes:
        """
        The head that was just read without its wish for another protocol, and a new parser for it.

        The parser takes a request with that wish to have no body. Some clients wish for HTTP/2 in every request.
        """
        version = self.parser.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        """A head begins; what it may be is as the configuration in use says, since connections outlast many."""
        super().on_message_begin()
        limits = self._current.active.running.config.server
        if limits is not self._limits:
            self._limits = limits
            self._sending.limit(limits.send_timeout)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of a head."""
        # RFC 9110, section 5.5: blanks around a value are no part of it. The parser leaves those behind it.
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """
        A request has come; its body may still be under way.

        Raises:
            ProxyError: it is refused. The parser stops there, and `data_received` learns why.
        """
        parser = self.parser
        version = parser.get_http_version()
        check_head(version, self.url, self.headers, self._limits, largest=self._largest)
        self._unfinished = 0
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise WrongMethod("CONNECT is not allowed: this is no proxy for other hosts.", allow="GET, POST")
            return
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        scope = self.scope
        scope["http_version"] = version
        scope["method"] = method
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = url.query or b""
        self.scope = None  # type: ignore[assignment]  # until the next head begins
        self.headers = []  # of trailers: they came after the head was acted on, and are no part of it
        cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=parser.should_keep_alive() and not self._readiness.is_draining,
            on_response=self.on_response_complete,
        )
        if self._is_owing:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._running = cycle
            self._start_asgi_task(cycle, self.app)
        self.cycle = cycle

    def on_body(self, body: bytes) -> None:
        """A piece of it."""
        self._unfinished = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._unfinished = 0
        if not self.parser.should_upgrade():
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # What goes out

    def on_response_complete(self) -> None:
        """An answer is out: on with the next request, or with the end."""
        self.server_state.total_requests += 1
        assert self._running is not None
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if not self._running.keep_alive:
            self._end(is_sending=self._running.more_body)
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            assert isinstance(cycle, Cycle)
            self._running = cycle
            self._start_asgi_task(cycle, app)
        elif self._refusal is not None:
            self._say(self._refusal)
        elif self._is_expecting:
            self._await_head()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        if not self.transport.is_closing():
            self._end(is_sending=False)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self._sending.watch()

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        if not self._is_ending:
            self._sending.stop()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._limits.head_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._is_expecting:
            self._refuse(HeadTimeout(f"The request's head did not arrive within {self._limits.head_timeout:g} s."))
        else:
            self.transport.close()

    # The end

    def _refuse(self, error: ProxyError) -> None:
        """Read no further, and tell why after the answers that are owed."""
        self._is_deaf = True
        logger.info("refused", extra={"status": error.status, "error": error.code, "why": str(error)})
        newest = self.cycle
        if self._is_owing and newest.more_body:  # it was to be a part of this request, which is answered so
            if self.pipeline:
                self.pipeline.popleft()
            elif newest.response_started:
                self.transport.abort()
                return
            else:
                newest.hang_up()
                self._running = None
        if self._running is None or self._running.response_complete:
            self._say(error)
        else:
            self._refusal = error
            self.flow.pause_reading()

    def _say(self, error: ProxyError) -> None:
        body = error.body()
        headers = {b"content-type": b"application/json", **dict(error.headers), b"connection": b"close"}
        lines = [b"%b: %b\r\n" % header for header in headers.items()]
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"".join((STATUS_LINE[error.status], *lines, length, body)))
        self._end(is_sending=True)

    def _end(self, *, is_sending: bool) -> None:
        """
        Close, once the client has what was written, or does not read it.

        Args:
            is_sending: whether the client may have sent what was not read. Closing at once would then reset the
                connection, and could take the answer from it.
        """
        self._is_deaf = self._is_ending = True
        self.pipeline.clear()
        if self._head_timer is not None:
            self._head_timer.cancel()
        if is_sending:
            self.flow.resume_reading()
            self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()
        self._sending.watch()
