"""Embedding beside the event loop: a bounded pool of threads, a bounded queue, a deadline, a cache."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol, get_args

from proxy.embedding.minilm import Vector

logger = logging.getLogger(__name__)

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
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="embed")
        self._room = threads + queue
        self._deadline_s = deadline_s
        self._size = cache
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[Vector]] = {}
        self._observer = observer

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
        run = self._under_way.get(text) or self._start(text)
        # Waiting on it, rather than awaiting it, leaves the run alone when this request goes away.
        await asyncio.wait((run,), timeout=self._deadline_s)
        if not run.done():
            raise EmbeddingFailed("late")
        if run.cancelled() or run.exception() is not None:
            raise EmbeddingFailed("broken") from run.exception() if not run.cancelled() else None
        return run.result()

    def _start(self, text: str) -> asyncio.Future[Vector]:
        if len(self._under_way) >= self._room:
            raise EmbeddingFailed("full")
        run = asyncio.get_running_loop().run_in_executor(self._threads, self._embed, text)
        self._under_way[text] = run
        self._observer.embed_queue(len(self._under_way))
        run.add_done_callback(lambda done: self._finish(text, done))
        return run

    def _finish(self, text: str, run: asyncio.Future[Vector]) -> None:
        self._under_way.pop(text, None)
        self._observer.embed_queue(len(self._under_way))
        if run.cancelled():
            return
        if (error := run.exception()) is not None:
            # The text is a client's; only the kind of failure may be told.
            logger.error("embedding failed", extra={"error": type(error).__name__})
            return
        if self._size:
            self._cache[text] = run.result()
            if len(self._cache) > self._size:
                self._cache.popitem(last=False)

    def close(self) -> None:
        """Let the threads go; texts that still wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
