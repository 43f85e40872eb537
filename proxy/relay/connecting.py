"""The ways to an upstream: over TCP or a unix socket, with certificates of its own, through a proxy."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler

from proxy.config import Tls, Upstream
from proxy.relay.transport import AiohttpTransport

TransportFactory = Callable[[Upstream], httpx.AsyncBaseTransport]
"""The transport for an upstream; a test may pass one that gives `httpx.MockTransport`s."""

# aiohttp would add these where a client sent none, and an upstream should see what the client said.
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_KEEPALIVE_S = 60.0
# Of the head of an answer: at least what `server` takes of a request unless told otherwise. Some upstreams repeat what
# they were sent, and smaller limits would let a client's own header look like a failure of the upstream.
_LONGEST_LINE = 64 * 1024
_MOST_HEADERS = 512
_READ_AT_ONCE = 64 * 1024


def aiohttp_transports() -> TransportFactory:
    """Transports over aiohttp, with two sessions for each upstream: one keeps connections, the other does not."""
    usual = httpx.create_ssl_context()  # reads the certificates once for all upstreams

    def make(upstream: Upstream) -> httpx.AsyncBaseTransport:
        context = usual if upstream.tls is None else _context(upstream.tls)
        return AiohttpTransport(
            _session(upstream, context, keeps=True),
            closing=_session(upstream, context, keeps=False),
            is_proxied=bool(upstream.proxy),
        )

    return make


def _session(upstream: Upstream, context: ssl.SSLContext, *, keeps: bool) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=_connector(upstream, context, keeps=keeps),
        # With the name and password in it. It opens a tunnel for https; http is asked of the proxy itself.
        proxy=upstream.proxy.reveal() or None,
        # Else one client's Set-Cookie would travel with the next client's request.
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_NOT_ADDED,
        auto_decompress=False,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        max_headers=_MOST_HEADERS,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )
    # It would ask again by itself where a GET or PUT lost its connection, and neither the attempts nor their budget
    # would know of it. There is no public name for this; aiohttp's own test client sets it too.
    session._retry_connection = False
    return session


class _Connection(ResponseHandler):
    """
    aiohttp's, except that what came before it broke is read, that an answer ends when what follows of it is not HTTP,
    and that it is not used again when more came than was asked for.

    An upstream may refuse a body that is still being sent, and close. When sending fails then, the refusal is here, but
    neither the loop nor aiohttp would look. In the second case aiohttp closes the connection and forgets to tell the
    reader, who would wait for a deadline. In the third it looks only when the connection is given back, and what comes
    later would be the next client's answer.
    """

    def is_connected(self) -> bool:
        """Whether it can be used; asked of one that was kept."""
        return super().is_connected() and not self.should_close

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """The connection is of no use any more."""
        if isinstance(exc, OSError):
            self._read_what_came()
        super().set_exception(exc, *(() if exc_cause is None else (exc_cause,)))
        answer = self._payload
        if answer is not None and not answer.is_eof() and answer.exception() is None:
            answer.set_exception(aiohttp.ClientPayloadError(), exc_cause or exc)

    def _read_what_came(self) -> None:
        # The file is open until `connection_lost` has returned, which takes the transport away. What is encrypted could
        # be read by the transport alone.
        transport = self.transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        with suppress(OSError):  # nothing came
            if came := os.read(transport.get_extra_info("socket").fileno(), _READ_AT_ONCE):
                self.data_received(came)


def _connector(upstream: Upstream, context: ssl.SSLContext, *, keeps: bool) -> aiohttp.BaseConnector:
    connector: aiohttp.BaseConnector
    keeping: dict[str, Any] = {"keepalive_timeout": _KEEPALIVE_S} if keeps else {"force_close": True}
    # No limit here: a queue inside the connector would be one that nobody can see or bound.
    if upstream.socket is not None:
        connector = aiohttp.UnixConnector(str(upstream.socket), limit=0, **keeping)
    else:
        connector = aiohttp.TCPConnector(limit=0, ssl=context, **keeping)
    connector._factory = partial(_Connection, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # of a subclass
    return connector


def _context(tls: Tls) -> ssl.SSLContext:
    """
    What to trust and what to show.

    Raises:
        OSError: a file is no longer what it was when the config was loaded.
    """
    context = httpx.create_ssl_context() if tls.ca is None else ssl.create_default_context(cafile=tls.ca.path)
    if tls.certificate is not None:
        key = None if tls.key is None else tls.key.path
        context.load_cert_chain(tls.certificate.path, key, password=_no_password)
    return context


def _no_password() -> str:
    return ""  # or OpenSSL would ask for one on the terminal
