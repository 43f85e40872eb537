"""Clients that leave: a proxy that lets go is told from one that does not."""

import asyncio
import io
from typing import cast

import pytest
from rich.console import Console

import bench.leaving
from bench.leaving import PHASES, Leavings, Watched, leave_all, report


class Forwarding(asyncio.Protocol):
    """The least proxy: bytes both ways. `holds_on`: it does not let the upstream know of the client's end."""

    def __init__(self, upstream: int, *, holds_on: bool) -> None:
        self.upstream, self.holds_on = upstream, holds_on
        self.opening: asyncio.Future[None] | None = None
        self.onward: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.client = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.opening = asyncio.ensure_future(self.forward(data))

    async def forward(self, data: bytes) -> None:
        client = self.client

        class Back(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                client.write(data)

        onward, _ = await asyncio.get_running_loop().create_connection(Back, "127.0.0.1", self.upstream)
        self.onward = onward
        onward.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.holds_on:
            self.close()

    def close(self) -> None:
        if self.onward is not None:
            self.onward.abort()
        elif self.opening is not None:
            self.opening.cancel()


def left(*, holds_on: bool, count: int) -> Leavings:
    async def run() -> Leavings:
        leavings, loop = Leavings(), asyncio.get_running_loop()
        server = await loop.create_server(lambda: Watched(leavings), "127.0.0.1", 0)
        upstream = server.sockets[0].getsockname()[1]
        proxies: list[Forwarding] = []

        def make() -> Forwarding:
            proxies.append(Forwarding(upstream, holds_on=holds_on))
            return proxies[-1]

        proxy = await loop.create_server(make, "127.0.0.1", 0)
        async with server, proxy:
            await leave_all(proxy.sockets[0].getsockname()[1], count, leavings)
            for made in proxies:
                made.close()
            await asyncio.sleep(0.05)
        return leavings

    return asyncio.run(run())


def test_a_proxy_that_lets_go_is_timed_in_every_phase() -> None:
    leavings = left(holds_on=False, count=128)  # so many that some meet each phase though the machine stalls
    table, met = report(leavings)
    assert met
    assert len(leavings.left) == 128
    assert not leavings.odd
    assert all(0 <= taken < 0.1 for phase in PHASES for taken in leavings.times_s(phase))
    assert all(leavings.times_s(phase) for phase in PHASES[1:])
    out = io.StringIO()
    Console(file=out, width=130).print(table)
    assert "between events" in out.getvalue()


def test_a_proxy_that_holds_on_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.leaving, "PATIENCE_S", 0.2)
    assert not report(left(holds_on=True, count=32))[1]
