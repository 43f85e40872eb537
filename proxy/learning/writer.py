"""Between requests and the store: a queue that takes a row in a microsecond, and the task that empties it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from proxy.config import Store as Settings
from proxy.learning.retries import Retries
from proxy.learning.stored_rows import DecisionRow, RatedDecision, Rating
from proxy.learning.trouble import RowsRefused, StoreRefused, StoreUnavailable
from proxy.telemetry.store_metrics import StoreMetrics

if TYPE_CHECKING:
    from proxy.learning.store import Store

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000
MOST_RATING = 1_000
"""Ratings at a time; one more is told to come again."""
BATCH = 500
EVERY_S = 0.5
_LONGEST_REST_S = 30.0
_PATIENCE_S = 3.0
TRIM_EVERY_S = 60.0
_LOOK_AGAIN_S = (0.0, 0.1, 0.3, 0.6)
"""When a decision is looked for again that is not there yet: another replica may still hold it for `EVERY_S`."""


class Writer:
    """Keeps rows and ratings in one store. A store in trouble costs rows, which are counted, and never a request."""

    def __init__(
        self, store: Store, metrics: StoreMetrics, *, most: int = MOST_WAITING, trim_every_s: float = TRIM_EVERY_S
    ) -> None:
        """
        Args:
            store: closed with the writer.
            metrics: counts what happens.
            most: rows that may wait; one more is dropped.
            trim_every_s: seconds between two looks at what is too old or too much.
        """
        self._store = store
        self.metrics = metrics
        """Of all stores of this process."""
        self.retries = Retries()
        self._most = most
        self._trim_every_s = trim_every_s
        self._rows: deque[DecisionRow] = deque()
        self._some = asyncio.Event()
        self._batch = asyncio.Event()
        self._flushing = asyncio.Lock()
        # However many rate, decisions are written meanwhile.
        self._free_for_ratings = asyncio.Semaphore(store.ratings_at_once)
        self._rating = 0
        self._is_broken = False
        self._is_closing = self._is_closed = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def store(self) -> Store:
        """Where it keeps them; closed with the writer."""
        return self._store

    @property
    def keeps_text(self) -> bool:
        """Whether rows shall have the text that was decided on."""
        return self._store.settings.text

    def put(self, row: DecisionRow) -> None:
        """Keep this row, soon."""
        if self._is_closed:
            self._lose(1)
            return
        waiting = len(self._rows)
        if waiting >= self._most:
            self.metrics.dropped("full", 1)
            self.metrics.queue.set(waiting)
            return
        self._rows.append(row)
        if not waiting:
            self._some.set()
        elif waiting == BATCH - 1:
            self._batch.set()

    async def rate(self, rating: Rating, caller: bytes | None) -> RatedDecision | None:
        """
        Keep a rating, at once; None when after about a second there is no such decision for this caller.

        Args:
            rating: of a decision that was made with the same key, or with none.
            caller: the hash of the key that came with the rating.

        Raises:
            StoreUnavailable: it cannot be kept now.
            TooManySources: the decision has been rated under as many names as count.
        """
        if self._rating >= MOST_RATING:
            raise StoreUnavailable("too many ratings at a time")
        self._rating += 1
        try:
            rated = await self._rate(rating, caller)
            for pause_s in _LOOK_AGAIN_S:
                if rated is not None:
                    break
                await asyncio.sleep(pause_s)
                await self._flush_all()
                rated = await self._rate(rating, caller)
            return rated
        finally:
            self._rating -= 1

    async def _rate(self, rating: Rating, caller: bytes | None) -> RatedDecision | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._free_for_ratings.acquire()
        except TimeoutError:
            raise StoreUnavailable("too many ratings at a time") from None
        try:
            return await self._store.rate(rating, caller)
        finally:
            self._free_for_ratings.release()

    async def start(self) -> None:
        """
        Open the store, and begin to empty the queue. A store that cannot be opened now is tried again and again.

        Raises:
            StoreRefused: trying again would not help.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._store.open()
        except (StoreUnavailable, TimeoutError) as error:
            self._trouble(error)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._trim())]

    async def close(self) -> None:
        """Write what still waits, and close the store; within some seconds, whatever state it is in."""
        self._is_closing = True
        self._some.set()
        self._batch.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=_PATIENCE_S)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._is_closed = True
        if self._rows:
            self._lose(len(self._rows))
        self.metrics.queue.set(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._store.close()

    def _lose(self, rows: int) -> None:
        """Count what comes too late, and log it: where the process ends nobody can ask for metrics any more."""
        self.metrics.dropped("shutdown", rows)
        logger.warning("decisions lost as the store was closed", extra={"store": self._store.shown, "rows": rows})

    async def _run(self) -> None:
        rest_s = 0.0
        while not self._is_closing:
            await self._some.wait()
            await _until(self._batch, EVERY_S)
            rest_s = 0.0 if await self._flush() else min(_LONGEST_REST_S, 2 * rest_s or EVERY_S)
            if rest_s and not self._is_closing:
                await self._rest(rest_s)
        while self._rows and await self._flush():
            pass

    async def _rest(self, seconds: float) -> None:
        """So long, or until a batch has come together; how many wait is told meanwhile, as nothing else tells it."""
        self._batch.clear()
        now = asyncio.get_running_loop().time
        until = now() + seconds
        while not self._batch.is_set() and (left := until - now()) > 0:
            await _until(self._batch, min(left, EVERY_S))
            self.metrics.queue.set(len(self._rows))

    async def _flush_all(self) -> None:
        """Write what waits now; raises StoreUnavailable when that cannot be done."""
        for _ in range(-(-len(self._rows) // BATCH)):
            if not await self._flush():
                raise StoreUnavailable("decisions that wait cannot be written")

    async def _flush(self) -> bool:
        """Write the oldest rows; whether that went well. Rows leave the queue when they are written, and not before."""
        async with self._flushing:
            rows = list(islice(self._rows, BATCH))
            if not rows:
                return True
            try:
                await self._store.write(rows)
            except RowsRefused as error:
                self.metrics.dropped("refused", len(rows))
                logger.error("rows refused by the store", extra={"rows": len(rows), "error": str(error)})
            except (StoreUnavailable, StoreRefused) as error:
                self._trouble(error)
                return False
            else:
                self.metrics.writes.labels("ok").inc()
                self._well()
            for _ in rows:
                self._rows.popleft()
            if not self._rows:
                self._some.clear()
            if len(self._rows) < BATCH and not self._is_closing:
                self._batch.clear()
            self.metrics.queue.set(len(self._rows))
            return True

    async def _trim(self) -> None:
        """In a task of its own: dropping much takes longer than new rows can wait."""
        while True:
            await asyncio.sleep(self._trim_every_s)
            try:
                await self._store.trim()
            except (StoreUnavailable, StoreRefused, RowsRefused) as error:
                self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        """Counted each time, and logged when it begins."""
        self.metrics.writes.labels("failed").inc()
        self.metrics.queue.set(len(self._rows))
        if not self._is_broken:
            told = str(error) or type(error).__name__
            logger.warning("store out of order", extra={"store": self._store.shown, "error": told})
        self._is_broken = True

    def _well(self) -> None:
        if self._is_broken:
            logger.info("store in order again", extra={"store": self._store.shown})
        self._is_broken = False


class Writers:
    """Those in use: configurations that say the same of the store share one, so a reload keeps its queue."""

    def __init__(self, registry: Any) -> None:
        """
        Args:
            registry: of the app's metrics; has those of stores from the first one on.
        """
        self._registry = registry
        self._metrics: StoreMetrics | None = None
        self._used: dict[Settings, tuple[Writer, int]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait until those that are no longer used have written what they had; some seconds at most."""
        await asyncio.gather(*self._closing)

    @asynccontextmanager
    async def of(self, settings: Settings | None) -> AsyncIterator[Writer | None]:
        """
        The writer of a configuration, until the block ends; None where it keeps nothing.

        Raises:
            StoreRefused: the store cannot be used by this program.
        """
        if settings is None:
            yield None
            return
        writer, users = self._used.get(settings) or (await self._start(settings), 0)
        self._used[settings] = writer, users + 1
        try:
            yield writer
        finally:
            users = self._used[settings][1] - 1
            if users:
                self._used[settings] = writer, users
            else:
                del self._used[settings]
                # A task, so that whoever leaves the block need not wait, and cannot be cancelled in the middle.
                closing = asyncio.create_task(writer.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def _start(self, settings: Settings) -> Writer:
        # Here, since SQLAlchemy is a third of what a start imports, and most configurations keep nothing.
        from proxy.learning.store import Store

        self._metrics = self._metrics or StoreMetrics(self._registry)
        writer = Writer(Store(settings), self._metrics)
        await writer.start()
        return writer


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
