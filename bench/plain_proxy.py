"""
The proxy that most people would write: `httpx.AsyncClient` and Starlette's `StreamingResponse`.

A row of the table because it is the idiom of the libraries' own documentation, and so the honest answer to
"why not forty lines?". Run with `uvicorn --factory bench.plain_proxy:build_app`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

__all__ = ["build_app"]

OURS = {b"host", b"connection", b"date", b"server"}


def build_app() -> Starlette:
    """The app; its upstream is named by UPSTREAM."""
    upstream = os.environ["UPSTREAM"]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
        async with httpx.AsyncClient(base_url=upstream, timeout=60) as client:
            yield {"client": client}

    async def forward(request: Request) -> StreamingResponse:
        client: httpx.AsyncClient = request.state.client
        headers = [(name, value) for name, value in request.headers.raw if name not in OURS]
        outgoing = client.build_request(request.method, request.url.path, headers=headers, content=await request.body())
        reply = await client.send(outgoing, stream=True)
        response = StreamingResponse(reply.aiter_raw(), reply.status_code, background=BackgroundTask(reply.aclose))
        response.raw_headers = [(name.lower(), value) for name, value in reply.headers.raw if name.lower() not in OURS]
        return response

    return Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])], lifespan=lifespan)
