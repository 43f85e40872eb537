"""The ways to an upstream: over TCP or a unix socket, with certificates of its own, through a proxy."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import aiohttp
import httpx

from proxy.config import Tls, Upstream
from proxy.relay.transport import AiohttpTransport

TransportFactory = Callable[[Upstream], httpx.AsyncBaseTransport]
"""The transport for an upstream; a test may pass one that gives `httpx.MockTransport`s."""

# aiohttp would add these where a client sent none, and an upstream should see what the client said.
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_KEEPALIVE_S = 60.0


def aiohttp_transports() -> TransportFactory:
    """Transports over aiohttp, one session for each upstream."""
    usual = httpx.create_ssl_context()  # reads the certificates once for all upstreams

    def make(upstream: Upstream) -> httpx.AsyncBaseTransport:
        session = aiohttp.ClientSession(
            connector=_connector(upstream, usual),
            # With the name and password in it. It opens a tunnel for https; http is asked of the proxy itself.
            proxy=upstream.proxy.reveal() or None,
            # Else one client's Set-Cookie would travel with the next client's request.
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        # It would ask again by itself where a GET or PUT lost its connection, and neither the attempts nor their budget
        # would know of it. There is no public name for this; aiohttp's own test client sets it too.
        session._retry_connection = False
        return AiohttpTransport(session, is_proxied=bool(upstream.proxy))

    return make


def _connector(upstream: Upstream, usual: ssl.SSLContext) -> aiohttp.BaseConnector:
    # No limit here: a queue inside the connector would be one that nobody can see or bound.
    if upstream.socket is not None:
        return aiohttp.UnixConnector(str(upstream.socket), limit=0, keepalive_timeout=_KEEPALIVE_S)
    context = usual if upstream.tls is None else _context(upstream.tls)
    return aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=_KEEPALIVE_S)


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
