"""The view Live over what becomes of its server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from proxy.telemetry.watchers import MOST
from tests.relay.wire import MESSAGES, ROUTES, house
from tests.serving import Served, serving


@contextmanager
def in_front(servers: list[str]) -> Iterator[Served]:
    """A reverse proxy in front of the last of `servers`; it says 502 where that does not answer."""
    client = httpx.AsyncClient(timeout=None)

    async def forward(request: Request) -> Response:
        asked = client.build_request("GET", f"{servers[-1]}{request.url.path}")
        try:
            reply = await client.send(asked, stream=True)
        except httpx.HTTPError:
            return HTMLResponse("<h1>502 Bad Gateway</h1>", 502)

        async def body() -> AsyncIterator[bytes]:
            with suppress(httpx.HTTPError):
                async for part in reply.aiter_raw():
                    yield part

        return StreamingResponse(body(), reply.status_code, {"content-type": reply.headers["content-type"]})

    with serving(Starlette(routes=[Route("/{path:path}", forward)])) as served:
        yield served


def test_live_goes_on_after_a_restart_behind_a_proxy_and_says_truly_what_keeps_it(tab: Page) -> None:
    tab.clock.install()
    status, targets = tab.locator(".live-status"), tab.locator(".targets-list")
    servers: list[str] = []
    with in_front(servers) as front:
        with house() as first:
            servers.append(first.url)
            tab.goto(f"{front.url}/ui#live")
            expect(status).to_contain_text("Watching process")
        expect(status).to_have_text("The server answered 502. Connecting again …")
        expect(targets).to_have_text("The server answered 502.")
        with house(ROUTES + "ui: false\n") as second:
            servers.append(second.url)
            tab.clock.fast_forward(20_000)
            expect(status).to_contain_text("'ui' is false in routes.yaml. Connecting again")
        with house() as third, ExitStack() as watchers:
            for _ in range(MOST):
                watchers.enter_context(httpx.stream("GET", f"{third.url}/v1/live"))
            servers.append(third.url)
            tab.clock.fast_forward(20_000)
            expect(status).to_contain_text("watch this worker, and no more may")
        with house() as fourth:
            servers.append(fourth.url)
            tab.clock.fast_forward(20_000)
            expect(status).to_contain_text("Watching process")
            expect(targets).to_contain_text("takes requests")


def test_what_was_saved_is_told_where_costs_are_known_and_there_is_a_baseline(tab: Page) -> None:
    saved = tab.locator(".tile", has_text="Saved").locator("dd")
    requests = tab.locator(".tile", has_text="Requests").locator("dd")
    for baseline, told in (("baseline: sim\n", re.compile(r"^\$[\d.]+ \(0%\)$")), ("", "no baseline was set")):
        with house(ROUTES + baseline) as served:
            tab.goto(f"{served.url}/ui#live")
            expect(tab.locator(".live-status")).to_contain_text("Watching process")
            expect(saved).to_have_text("–")
            served.http.post("/v1/chat/completions", json={"model": "other", "messages": MESSAGES})
            expect(requests).to_have_text("1")
            expect(saved).to_have_text("–")
            served.http.post("/v1/chat/completions", json={"model": "sim", "messages": MESSAGES})
            expect(saved).to_have_text(told)
