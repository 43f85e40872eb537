"""httpx's transport interface on aiohttp's connections, with what a proxy needs of it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from functools import lru_cache

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

KEEPS_CONNECTION = "keeps_connection"
"""A request's extension: whether it may go over a connection that was kept, and this one is kept in turn."""

_PIECE = 64 * 1024
# A larger body would be written in one go, and hold up every other request of this process meanwhile.
_WRITTEN_AT_ONCE = 512 * 1024


class NotHttp(httpx.RemoteProtocolError):
    """What came over a connection is not HTTP, or its head is larger than any that is read."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """
    Sends a request as it was given: the URL is not quoted again, headers keep their number and their bytes.

    Measured as a proxy of one core, aiohttp's connections carry several times the requests of httpx's own.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, closing: aiohttp.ClientSession, is_proxied: bool = False
    ) -> None:
        """
        Args:
            session: is closed with the transport; should not add headers, keep cookies or decompress.
            closing: likewise, and keeps no connection: for requests whose extension `KEEPS_CONNECTION` is false.
            is_proxied: whether requests go through a proxy.
        """
        self._session = session
        self._closing = closing
        self._is_proxied = is_proxied

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        The answer's head; its body is read from the response's stream, which must be closed.

        Raises:
            httpx.ConnectTimeout, httpx.ConnectError: no connection.
            httpx.ProxyError: the proxy on the way refuses.
            NotHttp: what came over it cannot be read.
            httpx.TransportError: it broke.
        """
        sent: object
        if isinstance(request.stream, httpx.ByteStream):
            body = request.read()
            sent = io.BytesIO(body) if len(body) > _WRITTEN_AT_ONCE else body or None
        else:
            sent = request.stream
        try:
            session = self._session if request.extensions.get(KEEPS_CONNECTION, True) else self._closing
            answer = await session.request(
                request.method,
                _url(str(request.url)),
                headers=CIMultiDict([(_text(name), _text(value)) for name, value in request.headers.raw]),
                data=sent,
                allow_redirects=False,
                timeout=_timeout(request.extensions.get("timeout", {}).get("connect")),
            )
        except aiohttp.ClientError as error:
            raise _as_httpx(error) from error
        if answer.status == 407 and self._is_proxied:
            # Said by the proxy of the operator's password, it is nothing that a client could mend.
            answer.close()
            raise httpx.ProxyError("407 from the proxy")
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        try:
            await self._session.close()
        finally:
            await self._closing.close()


class _Body(httpx.AsyncByteStream):
    """An answer's body in the pieces in which it arrives."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._answer.content
        try:
            while piece := await content.read(_PIECE):
                yield piece
        except aiohttp.ClientError as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        # Gives the connection back if the body was read to its end, and closes it if not, without waiting.
        self._answer.release()


def _as_httpx(error: aiohttp.ClientError) -> httpx.TransportError:
    message = f"{type(error).__name__}{_reason(error)}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return httpx.ProxyError(message)
    if isinstance(error, aiohttp.ServerTimeoutError):
        return httpx.ConnectTimeout(message)
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(message)
    if isinstance(error, aiohttp.ClientResponseError):
        return NotHttp(message)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError(message)
    return httpx.ReadError(message)


def _reason(error: aiohttp.ClientError) -> str:
    """
    As much of why as can go into the log.

    aiohttp's own words have the URL in them, which may have a key, and the bytes that it could not read, which are an
    answer's, or a prompt that an upstream sent back. Only before there is a connection there is nothing to quote.
    """
    if isinstance(error, aiohttp.ClientConnectorError):
        return f": {error}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f": {error.status}"
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return "" if cause is error else f": {type(cause).__name__}"


# Both are the same for every request to a target, and parsing or checking them takes longer than looking them up.
@lru_cache(maxsize=1024)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


@lru_cache(maxsize=1024)
def _timeout(connect_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_s)


def _text(raw: bytes) -> str:
    # aiohttp writes headers as UTF-8, so bytes that are UTF-8 arrive as they came; others can only be respelt.
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
