"""httpx's transport interface on aiohttp's connections, with what a proxy needs of it."""

from __future__ import annotations

import io
from functools import lru_cache

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from multidict import CIMultiDict
from yarl import URL

# A larger body would be written in one go, and hold up every other request of this process meanwhile.
_WRITTEN_AT_ONCE = 512 * 1024


class ProxyTransport(AiohttpTransport):
    """
    Sends a request as it was given.

    The transport that it is made from re-quotes the URL, joins headers of one name, decodes all of them by the
    worst one, and hands any body over in one piece. Requests must have their content as bytes.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        The answer's head; its body is read from the response's stream, which must be closed.

        Raises:
            httpx.TransportError: no connection, or it broke. aiohttp's own exceptions where it knows no better.
        """
        body = request.read()
        with map_aiohttp_exceptions():
            answer = await self.get_client().request(
                request.method,
                _url(str(request.url)),
                headers=CIMultiDict([(_text(name), _text(value)) for name, value in request.headers.raw]),
                data=io.BytesIO(body) if len(body) > _WRITTEN_AT_ONCE else body or None,
                allow_redirects=False,
                timeout=_timeout(request.extensions.get("timeout", {}).get("connect")),
            )
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=AiohttpResponseStream(answer), request=request
        )


# Both are the same for every request to a target, and parsing or checking them takes longer than looking them up.
@lru_cache(maxsize=1024)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


@lru_cache(maxsize=1024)
def _timeout(connect_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)


def _text(raw: bytes) -> str:
    # aiohttp writes headers as UTF-8, so bytes that are UTF-8 arrive as they came; others can only be respelt.
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
