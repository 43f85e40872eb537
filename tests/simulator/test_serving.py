"""The server that the other tests stand on."""

import asyncio
import threading
import time

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from tests.serving import serving


class App:
    """Streams one chunk, then waits for the client to leave; counts its lifespans."""

    def __init__(self) -> None:
        self.ended = 0
        self.messages: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.ended += 1
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hi", "more_body": scope["path"] != "/short"})
        if scope["path"] == "/deaf":
            await asyncio.sleep(60)
        if scope["path"] == "/open":
            self.messages.append((await receive())["type"])


@pytest.mark.parametrize("path", ["/short", "/open"])
def test_ends_at_once_whatever_is_open(path: str) -> None:
    """Neither a keep-alive connection nor a stream holds the end up."""
    app = App()
    before = threading.active_count()
    with httpx.Client() as client:
        with serving(app) as served:
            answer = client.send(client.build_request("GET", served.url + path), stream=path == "/open")
            assert set(answer.headers) == {"transfer-encoding"}  # no date, no server
            started = time.monotonic()
        assert time.monotonic() - started < 0.3
        answer.close()
    assert app.messages == ([] if path == "/short" else ["http.disconnect"])
    assert app.ended == 1
    assert threading.active_count() == before


def test_a_deaf_app_is_cancelled() -> None:
    app = App()
    with httpx.Client() as client:
        with serving(app) as served:
            answer = client.send(client.build_request("GET", served.url + "/deaf"), stream=True)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        answer.close()
    assert app.ended == 1


def test_an_app_that_fails_to_start_is_an_error() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("no")

    with pytest.raises(RuntimeError, match="did not start"), serving(broken):
        pass


def test_options_reach_uvicorn() -> None:
    with serving(App(), date_header=True) as served:
        assert httpx.get(served.url + "/short").headers["date"]
        assert served.url == f"http://127.0.0.1:{served.port}"
