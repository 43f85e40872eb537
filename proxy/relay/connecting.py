"""The way to an upstream."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import httpx

from proxy.config import Upstream
from proxy.relay.transport import AiohttpTransport

TransportFactory = Callable[[Upstream], httpx.AsyncBaseTransport]
"""The transport for an upstream; a test may pass one that gives `httpx.MockTransport`s."""

# aiohttp would add these where a client sent none, and an upstream should see what the client said.
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_KEEPALIVE_S = 60.0


def aiohttp_transports() -> TransportFactory:
    """Transports over aiohttp, one session for each upstream."""
    usual = httpx.create_ssl_context()  # reads the certificates once for all upstreams

    def make(_upstream: Upstream) -> httpx.AsyncBaseTransport:
        session = aiohttp.ClientSession(
            # No limit here: a queue inside the connector would be one that nobody can see or bound.
            connector=aiohttp.TCPConnector(limit=0, ssl=usual, keepalive_timeout=_KEEPALIVE_S),
            # Else one client's Set-Cookie would travel with the next client's request.
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return AiohttpTransport(session)

    return make
