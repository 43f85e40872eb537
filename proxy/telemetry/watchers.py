"""Who looks on while requests end: a bounded number, each with a bounded backlog, and none that slows a request."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proxy.telemetry.record import Record

MOST = 8
KEPT = 256


class TooMany(Exception):
    """The most that may look on do so already."""


class Watcher:
    """One that looks on, in the event loop of the requests."""

    def __init__(self) -> None:
        self._news: deque[Seen] = deque()
        self._arrived = asyncio.Event()
        self.is_behind = False
        """Whether it took too little for so long that something was lost to it; it should be let go."""

    def tell(self, seen: Seen) -> None:
        """One more, unless it has not even taken those before."""
        if len(self._news) >= KEPT:
            self.is_behind = True
        else:
            self._news.append(seen)
        self._arrived.set()

    async def take(self) -> list[Seen]:
        """All that came since the last time; waits until there is something."""
        await self._arrived.wait()
        self._arrived.clear()
        news = list(self._news)
        self._news.clear()
        return news


class Seen:
    """A request that is over, and when that was."""

    __slots__ = ("_record", "_time")

    def __init__(self, record: Record) -> None:
        self._record, self._time = record, time.time()

    def told(self) -> dict[str, Any]:
        """
        What a stranger may know of it: neither text nor key nor any name that a client chose.

        Its id is left out too, for whoever knows it can rate the decision.
        """
        fields = self._record.fields()
        for name in ("id", "request_id", "path", "requested"):
            fields.pop(name, None)
        return {"time": round(self._time, 3), **fields}


class Watchers:
    """All that look on, and what a new one is shown first."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._last: deque[Seen] = deque(maxlen=KEPT)

    @property
    def last(self) -> list[Seen]:
        """The requests that ended last, the newest at the end."""
        return list(self._last)

    def tell(self, record: Record) -> None:
        """A request is over."""
        seen = Seen(record)
        self._last.append(seen)
        for watcher in self._watchers:
            watcher.tell(seen)

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """
        Look on for the length of the block.

        Raises:
            TooMany: too many do.
        """
        if len(self._watchers) >= MOST:
            raise TooMany
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
