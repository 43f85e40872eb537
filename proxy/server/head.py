"""Which heads of requests are taken: rules that HTTP's parser does not check, and the limits of routes.yaml."""

from __future__ import annotations

import re

from proxy.config import Server
from proxy.errors import BadRequest, HeadTooLarge, ProxyError, UrlTooLong

_LONGEST_URL = 8192  # RFC 9112, section 3: at least 8,000 bytes should be taken
# RFC 3986, section 3.2.2, and the port.
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")


def check_head(version: str, url: bytes, headers: list[tuple[bytes, bytes]], limits: Server, *, largest: int) -> None:
    """
    Find nothing wrong with a head, or raise.

    Args:
        version: of HTTP, such as `1.1`.
        url: as the request has it.
        headers: names in lower case.
        limits: for heads.
        largest: bytes that the head has at most, so that those of most heads need not be counted.

    Raises:
        ProxyError: it is refused.
    """
    if len(url) > _LONGEST_URL or len(headers) > limits.max_headers:
        raise too_much(url, limits)
    if (
        largest > limits.max_head
        and len(url) + sum(len(name) + len(value) + 4 for name, value in headers) > limits.max_head
    ):
        raise too_much(url, limits)
    if version not in ("1.1", "1.0"):
        raise BadRequest(f"HTTP/{version} is not spoken here; send HTTP/1.1.", code="bad_http")
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                raise BadRequest("The Host header is not a host.", code="bad_http")
        # The parser takes `gzip, chunked` for chunked, and takes it in HTTP/1.0, which has no chunks.
        elif name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
            raise BadRequest("Of transfer codings only chunked is read, in HTTP/1.1.", code="bad_http")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise BadRequest(f"HTTP/1.1 needs one Host header; there are {hosts}.", code="bad_http")


def too_much(url: bytes, limits: Server) -> ProxyError:
    """What to tell a client whose URL, or whose head, is or grows too large."""
    if len(url) > _LONGEST_URL:
        return UrlTooLong(f"The request's URL is longer than {_LONGEST_URL:,} bytes.")
    return HeadTooLarge(f"The request's head may have {limits.max_head:,} bytes and {limits.max_headers:,} headers.")
