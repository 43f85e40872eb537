"""The configuration in use: replaced in one assignment, and closed when the last request on it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.endpoints.running import Running

logger = logging.getLogger(__name__)


class Active:
    """One configuration and the requests that began with it. Lives in one event loop, so it needs no lock."""

    def __init__(self, running: Running, close: Callable[[], Awaitable[object]]) -> None:
        """
        Args:
            running: what requests get.
            close: closes what was opened for it.
        """
        self.running = running
        self._close = close
        self._users = 0
        self._is_ending = False
        self._may_close = asyncio.Event()

    def enter(self) -> Running:
        """A request begins; `leave` must follow."""
        self._users += 1
        return self.running

    def leave(self) -> None:
        """A request is over."""
        self._users -= 1
        if not self._users:
            self._may_close.set()

    async def close_when_left(self) -> None:
        """Wait for the last request, unless the app ends, then close."""
        while self._users and not self._is_ending:
            self._may_close.clear()
            await self._may_close.wait()
        await self._close()

    def end(self) -> None:
        """The app ends: no request is waited for any more, but what closing takes is."""
        self._is_ending = True
        self._may_close.set()


class Current:
    """Which configuration a new request begins with."""

    def __init__(self, active: Active) -> None:
        self.active = active
        self._closing: dict[asyncio.Task[None], Active] = {}

    def replace(self, active: Active) -> None:
        """New requests begin with this one from now on; those under way keep theirs."""
        old, self.active = self.active, active
        self._close(old)

    async def close(self) -> None:
        """Close everything, however long a request might still want it; the app ends."""
        self._close(self.active)
        # A task that is cancelled instead may be closing already, and would let go of rows on their way to the store.
        for active in self._closing.values():
            active.end()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _close(self, active: Active) -> None:
        task = asyncio.create_task(active.close_when_left())
        self._closing[task] = active
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        del self._closing[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an old configuration was not closed", extra={"error": type(error).__name__})
