"""Small answers that this proxy gives by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.types import Send

from proxy.config import WireProtocol
from proxy.errors import ProxyError

JSON = b"application/json"


async def send_body(
    send: Send, body: bytes, *, status: int = 200, content_type: bytes = JSON,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:  # fmt: skip
    """One whole answer."""
    start = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, value: Any, *, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """One JSON answer."""
    await send_body(send, msgspec.json.encode(value), status=status, headers=headers)


async def send_error(
    send: Send, error: ProxyError, headers: Iterable[tuple[bytes, bytes]] = (), protocol: WireProtocol = "openai"
) -> None:
    """An error in the envelope of the client's API."""
    body = error.anthropic_body() if protocol == "anthropic" else error.body()
    await send_body(send, body, status=error.status, headers=(*error.headers, *headers))
