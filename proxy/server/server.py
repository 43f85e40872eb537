"""One process that serves, and how it drains: not ready, then closed to the new, then to all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

if TYPE_CHECKING:  # the parent of workers runs none of it
    from proxy.config import Drain
    from proxy.endpoints.current import Current
    from proxy.endpoints.ready import Readiness
    from proxy.server.protocol import Protocol

EXIT_REFUSED = 2
"""For a routes.yaml that cannot be used, as the commands have it."""

logger = logging.getLogger(__name__)

# For requests that have arrived and were not read yet as the ports closed.
_SETTLE_S = 0.05
# For telling clients that their requests are cut short, and for them to take it.
_LAST_WORDS_S = 1.0
_LOOK_S = 0.02


class Server(uvicorn.Server):
    """
    Uvicorn's, except for its end.

    The first signal makes `/readyz` fail at once. For `delay` all else goes on, each answer closing its connection.
    Then nobody can connect, idle connections are closed, and requests have the rest of `grace`. What is left then
    is told so and closed: a stream by an error event, a request without an answer by a 503. A second signal skips
    all waiting. Before it serves, the first one ends the process at once.
    """

    def __init__(self, config: uvicorn.Config, *, greet: Callable[[], None] | None = None) -> None:
        """
        Args:
            config: its app is `build_app`'s, its `http` is `Protocol`.
            greet: called once it serves.
        """
        super().__init__(config)
        self._greet = greet
        self._signals: list[int] = []
        self._told = asyncio.Event()  # to end
        self._told_twice = asyncio.Event()  # to end at once
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, sockets: list[socket] | None = None) -> None:
        """
        Serve until a signal ends it.

        Raises:
            SystemExit: with 128 and the signal's number where a second one cut it short, as a shell counts, which is
                also what it ends with where one came before it served; or the app did not start, with `EXIT_REFUSED`
                where that is its routes.yaml's fault.
        """
        super().run(sockets)
        if len(self._signals) > 1:
            sys.exit(128 + self._signals[-1])

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start the app, then listen."""
        try:
            await super().startup(sockets)
        except SystemExit:
            if "refused" in self.lifespan.state:
                raise SystemExit(EXIT_REFUSED) from None
            raise
        if self._greet is not None:
            self._greet()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which would raise the signal again after a clean end, and so end by it."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """A signal asks for the end."""
        self._signals.append(sig)
        self.should_exit = True
        assert self._loop is not None
        if not self.started:
            # Loading may take a minute, in which the loop does not run. There is nothing to drain, and what is kept on
            # disk is whole at any moment. By default a container's first process would not end by a signal.
            os._exit(128 + sig)
        told = self._told if len(self._signals) == 1 else self._told_twice
        self._loop.call_soon_threadsafe(told.set)

    async def main_loop(self) -> None:
        """Serve until a signal comes; uvicorn's looks up ten times a second."""
        await self.on_tick(0)
        await self._told.wait()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Drain, then end the app."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        drain = self._drain
        self._readiness.is_draining = True
        delay_s, grace_s = float(drain.delay or 0.0), float(drain.grace)
        requests = len(self.server_state.tasks)
        logger.info("draining", extra={"requests": requests, "delay_s": delay_s, "grace_s": grace_s})
        await self._wait(delay_s)
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        await self._wait(_SETTLE_S)
        for connection in self._connections():
            connection.shutdown()
        await self._until_idle(began + grace_s)
        cut = sum([connection.cut() for connection in self._connections()])
        self._told_twice.clear()
        await self._until_idle(loop.time() + _LAST_WORDS_S)
        await self._drop()
        logger.info("drained", extra={"seconds": round(loop.time() - began, 3), "cut": cut})
        await self.lifespan.shutdown()

    async def _wait(self, seconds: float) -> None:
        """So long, or until a second signal."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told_twice.wait()

    async def _until_idle(self, until: float) -> None:
        """Until every connection is closed and every request over, or this time of the loop, or a second signal."""
        loop = asyncio.get_running_loop()
        while (self.server_state.connections or self.server_state.tasks) and not self._told_twice.is_set():
            if (left := until - loop.time()) <= 0:
                break
            await self._wait(min(left, _LOOK_S))

    async def _drop(self) -> None:
        """Close whatever is left, whether or not a client has read what it was sent."""
        for connection in self._connections():
            connection.transport.abort()
        if tasks := set(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=_LAST_WORDS_S)  # they see that their clients are gone
            for task in late:
                task.cancel()

    def _connections(self) -> list[Protocol]:
        return cast("list[Protocol]", list(self.server_state.connections))

    @property
    def _readiness(self) -> Readiness:
        return cast("Readiness", self.lifespan.state["readiness"])

    @property
    def _drain(self) -> Drain:
        current = cast("Current", self.lifespan.state["current"])
        return current.active.running.config.server.drain
