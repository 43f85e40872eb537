"""Embedding beside the event loop: a bounded pool of threads, a bounded queue, a deadline, a cache."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Literal, Protocol, get_args

from proxy.embedding.minilm import Vector

logger = logging.getLogger(__name__)

MOST_PATIENT = 100
"""Texts that no request waits for and that wait for a moment to be embedded in."""

_Job = tuple[asyncio.AbstractEventLoop, str]

FailOpenCause = Literal["late", "full", "broken"]
FAIL_OPEN_CAUSES: tuple[FailOpenCause, ...] = get_args(FailOpenCause)


class EmbeddingFailed(Exception):
    """There is no vector for this request; it is decided without one."""

    def __init__(self, cause: FailOpenCause) -> None:
        super().__init__(cause)
        self.cause: FailOpenCause = cause


class Observer(Protocol):
    """Who counts what happens here."""

    def embed_cache(self, *, hit: bool) -> None:
        """A text was looked up in the cache."""

    def embed_queue(self, waiting: int) -> None:
        """So many texts now wait for a thread or are in one."""


class Embedder:
    """
    The vectors of requests' texts, without ever holding up the event loop or growing without bound.

    Texts under way are shared: ten requests with one new text make one run. A text whose requests have given up
    is still finished and cached, so the next request with it is served at once.
    """

    def __init__(
        self,
        embed: Callable[[str], Vector],
        *,
        threads: int,
        queue: int,
        deadline_s: float,
        cache: int,
        observer: Observer,
    ) -> None:
        """
        Args:
            embed: the vector of one text; called in a thread.
            threads: texts embedded at the same time.
            queue: texts that may wait for a thread beyond those.
            deadline_s: seconds a request waits for its vector.
            cache: texts whose vectors are kept, the least recently used leaving first.
            observer: is told of every look-up and of the queue.
        """
        self._embed = embed
        self._room = threads + queue
        self._deadline_s = deadline_s
        self._size = cache
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._waiting: dict[str, list[asyncio.Future[Vector]]] = {}
        self._is_sparing = False
        self._patient = 0
        self._quiet = asyncio.Event()
        self._observer = observer
        # Threads and a queue of our own rather than an executor: its futures, and asyncio's around them, take longer
        # to hand one text over and back than all the rest of a decision.
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = threads
        for number in range(threads):
            threading.Thread(target=self._work, name=f"embed-{number}", daemon=True).start()

    async def vector(self, text: str) -> Vector:
        """
        The vector of a text, from the cache or a thread.

        Raises:
            EmbeddingFailed: `full` when no thread and no place in the queue is free, `late` when the deadline
                passed, `broken` when the model failed on this text.
        """
        if (cached := self._cache.get(text)) is not None:
            self._cache.move_to_end(text)
            self._observer.embed_cache(hit=True)
            return cached
        self._observer.embed_cache(hit=False)
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(text)
        if waiting is None:
            if len(self._waiting) >= self._room:
                raise EmbeddingFailed("full")
            waiting = self._waiting[text] = []
            self._quiet.clear()
            self._observer.embed_queue(len(self._waiting))
            self._jobs.put((loop, text))
        mine: asyncio.Future[Vector] = loop.create_future()
        waiting.append(mine)
        timer = loop.call_later(self._deadline_s, _settle, mine, EmbeddingFailed("late"))
        try:
            return await mine
        finally:
            timer.cancel()

    async def spare(self, text: str, patience_s: float = 0.0) -> Vector:
        """
        The vector of a text that no request waits for: one at a time, and only where no request's text is under way.

        It has a thread of its own, so that a request that comes meanwhile finds all of its threads free.

        Args:
            text: to embed.
            patience_s: seconds to wait for such a moment; nothing is waited for where many do already.

        Raises:
            EmbeddingFailed: `full` when there is something else to embed, `broken` when the model failed on this text.
        """
        if (cached := self._cache.get(text)) is not None:
            return cached
        if self._is_busy and self._patient < MOST_PATIENT:
            await self._until_quiet(patience_s)
        if self._is_busy:
            raise EmbeddingFailed("full")
        self._is_sparing = True
        self._quiet.clear()
        try:
            return await asyncio.to_thread(self._embed, text)
        except Exception as error:
            raise EmbeddingFailed("broken") from error
        finally:
            self._is_sparing = False
            self._tell_quiet()

    @property
    def _is_busy(self) -> bool:
        return bool(self._waiting) or self._is_sparing

    async def _until_quiet(self, seconds: float) -> None:
        """Wait until nothing is under way, so long at most."""
        self._patient += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._is_busy:  # as it is again once the first of those who wait has gone on
                        await self._quiet.wait()
        finally:
            self._patient -= 1

    def _tell_quiet(self) -> None:
        if not self._is_busy:
            self._quiet.set()

    def close(self) -> None:
        """Let the threads go; texts that still wait are dropped."""
        with contextlib.suppress(Empty):
            while True:
                self._jobs.get_nowait()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        """One thread: texts in, vectors handed to the loop that asked."""
        while (job := self._jobs.get()) is not None:
            loop, text = job
            try:
                found: Vector | Exception = self._embed(text)
            except Exception as error:
                found = error
            # The loop is closed when the app has stopped meanwhile: then nobody waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._finish, text, found)

    def _finish(self, text: str, found: Vector | Exception) -> None:
        waiting = self._waiting.pop(text)
        self._observer.embed_queue(len(self._waiting))
        if isinstance(found, Exception):
            # The text is a client's; only the kind of failure may be told.
            logger.error("embedding failed", extra={"error": type(found).__name__})
        elif self._size:
            self._cache[text] = found
            if len(self._cache) > self._size:
                self._cache.popitem(last=False)
        self._tell_quiet()
        for mine in waiting:
            _settle(mine, EmbeddingFailed("broken") if isinstance(found, Exception) else found)


def _settle(mine: asyncio.Future[Vector], found: Vector | EmbeddingFailed) -> None:
    """Answer one request's wait, unless it was answered before or went away."""
    if mine.done():
        return
    if isinstance(found, EmbeddingFailed):
        mine.set_exception(found)
    else:
        mine.set_result(found)
