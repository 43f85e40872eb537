"""A request's body, read within its limits; and who ended a request."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from proxy.errors import BadRequest, BodyTimeout, BodyTooLarge, ShuttingDown

SHUTTING_DOWN = "pointsman.shutting_down"
"""In an `http.disconnect`: the server ends and not the client, which can still be told so."""
BROKEN_OFF = "pointsman.broken_off"
"""In an `http.response.body` without a body: the rest is missing, and the connection is closed without an end."""


class ClientLeft(Exception):
    """The client hung up; there is nobody to answer."""


def why_ended(disconnect: Message) -> ClientLeft | ShuttingDown:
    """Who ended the request."""
    if SHUTTING_DOWN in disconnect:
        return ShuttingDown("This server is shutting down. Try again.")
    return ClientLeft()


async def read_body(scope: Scope, receive: Receive, *, max_bytes: int, timeout_s: float) -> bytes:
    """
    The whole body of a request.

    Raises:
        BodyTooLarge: it is, or says it is, longer than `max_bytes`.
        BodyTimeout: it took longer than `timeout_s` seconds.
        BadRequest: its Content-Length is not a number, or it is compressed.
        ClientLeft: the client hung up before its end.
        ShuttingDown: the server ends before it does.
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise BadRequest(f"Content-Length is not a number: {value.decode('latin-1')!r}.")
            if int(value) > max_bytes:
                raise BodyTooLarge(f"The request body has {int(value):,} bytes; at most {max_bytes:,} are accepted.")
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise BadRequest(f"Content-Encoding {value.decode('latin-1')!r} is not read here; send plain JSON.")
    chunks: list[bytes] = []
    size = 0
    task = asyncio.current_task()
    assert task is not None
    late = False

    def expire() -> None:
        nonlocal late
        late = True
        task.cancel()

    # By hand, since a body is nearly always here already and asyncio.timeout would cost more than reading it.
    timer = asyncio.get_running_loop().call_later(timeout_s, expire)
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise why_ended(message)
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > max_bytes:
                raise BodyTooLarge(f"The request body is longer than the {max_bytes:,} bytes that are accepted.")
            if not message.get("more_body", False):
                break
    except asyncio.CancelledError:
        if late and task.uncancel() == 0:
            raise BodyTimeout(f"The request body did not arrive within {timeout_s:g} s.") from None
        raise
    finally:
        timer.cancel()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
