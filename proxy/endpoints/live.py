"""GET /v1/live: decisions as they happen, without their text."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from proxy.endpoints.ready import Readiness
from proxy.endpoints.running import Running, running_of
from proxy.endpoints.ui import need_ui
from proxy.errors import Overloaded, ShuttingDown
from proxy.relay.body import ClientLeft, read_body
from proxy.relay.guard import Guard
from proxy.telemetry.watchers import MOST, TooMany, Watcher

_LOOK_UP_S = 1.0
_SILENT_LOOKS = 15
"""After so many without news a comment goes out: it keeps the connection from being taken for dead."""


class WatchLive:
    """
    Server-sent events: first `hello` with the worker's process and its last requests, then each that ends.

    A worker tells of its own requests only. A client that does not keep up is let go, and comes again if it likes to.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Tell until the client leaves, the configuration changes or the server is about to end.

        Raises:
            UnknownPath: routes.yaml turns it off.
            Overloaded: too many look on already.
        """
        running = running_of(scope)
        need_ui(running.config)
        watchers = running.recorder.watchers
        try:
            with watchers.watch() as watcher:
                await read_body(scope, receive, max_bytes=1024, timeout_s=running.config.server.body_timeout)
                with suppress(ShuttingDown):
                    async with Guard(receive):
                        hello = {"worker": os.getpid(), "last": [seen.told() for seen in watchers.last]}
                        await _begin(send, hello)
                        await _tell(running, scope, send, watcher)
                await send({"type": "http.response.body", "body": b""})
        except ClientLeft:
            return
        except TooMany:
            raise Overloaded(f"{MOST} clients watch this worker, and no more may. Try again later.") from None


async def _begin(send: Send, hello: dict[str, Any]) -> None:
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _send(send, b"retry: 1000\nevent: hello\ndata: " + msgspec.json.encode(hello) + b"\n\n")


async def _tell(running: Running, scope: Scope, send: Send, watcher: Watcher) -> None:
    readiness: Readiness = scope["state"]["readiness"]
    silent = 0
    # A request keeps the configuration that it began with; this one must not keep an old one for hours.
    while not watcher.is_behind and not readiness.is_draining and scope["state"]["current"].active.running is running:
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                news = await watcher.take()
        except TimeoutError:
            silent += 1
            if silent % _SILENT_LOOKS == 0:
                await _send(send, b":\n\n")
            continue
        silent = 0
        if news:
            await _send(send, b"".join(b"data: " + msgspec.json.encode(seen.told()) + b"\n\n" for seen in news))


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
