"""The bounded door between the event loop and the model; runs are held and let go by the tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue

import numpy as np
import pytest

from proxy.embedding import Embedder, EmbeddingFailed, Vector
from proxy.embedding.pool import MOST_PATIENT


class Model:
    """Embeds a text as its length, when it is let."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.runs: list[str] = []
        self._begun: SimpleQueue[str] = SimpleQueue()

    def embed(self, text: str) -> Vector:
        self.runs.append(text)
        self._begun.put(text)
        assert self.gate.wait(5)
        if text == "bad":
            raise ValueError(text)
        return np.array([len(text)], dtype=np.float32)

    async def begins(self, text: str) -> None:
        """Wait until it does."""
        while await asyncio.to_thread(self._begun.get, timeout=5) != text:
            pass


class Seen:
    def __init__(self) -> None:
        self.hits: list[bool] = []
        self.waiting: list[int] = []

    def embed_cache(self, *, hit: bool) -> None:
        self.hits.append(hit)

    def embed_queue(self, waiting: int) -> None:
        self.waiting.append(waiting)


def run(
    case: Callable[[Embedder, Model, Seen], Awaitable[None]],
    *, threads: int = 1, queue: int = 1, deadline_s: float = 5, cache: int = 2,
) -> None:  # fmt: skip
    async def main() -> None:
        model, seen = Model(), Seen()
        embedder = Embedder(
            model.embed, threads=threads, queue=queue, deadline_s=deadline_s, cache=cache, observer=seen
        )
        try:
            async with asyncio.timeout(10):
                await case(embedder, model, seen)
        finally:
            model.gate.set()
            embedder.close()

    asyncio.run(main())


async def cause_of(call: Awaitable[Vector]) -> str:
    with pytest.raises(EmbeddingFailed) as caught:
        await call
    return caught.value.cause


def test_a_known_text_is_served_from_the_cache() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        assert (await embedder.vector("abc"))[0] == 3
        assert (await embedder.vector("abc"))[0] == 3
        assert model.runs == ["abc"]
        assert seen.hits == [False, True]
        assert seen.waiting == [1, 0]

    run(case)


def test_the_least_recently_used_leaves_first() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        for text in ("a", "b", "a", "c", "a", "b"):
            await embedder.vector(text)
        assert model.runs == ["a", "b", "c", "b"]

    run(case)


def test_ten_requests_with_one_text_make_one_run() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        await asyncio.gather(*(embedder.vector("same") for _ in range(10)))
        assert model.runs == ["same"]

    run(case)


def test_full_when_no_thread_and_no_place_is_free() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        model.gate.clear()
        waiting = [asyncio.ensure_future(embedder.vector(text)) for text in ("one", "two")]
        await asyncio.sleep(0)
        assert await cause_of(embedder.vector("three")) == "full"
        model.gate.set()
        assert [vector[0] for vector in await asyncio.gather(*waiting)] == [3, 3]
        assert (await embedder.vector("three"))[0] == 5

    run(case)


def test_late_at_the_deadline_and_in_time_the_next_time() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        model.gate.clear()
        assert await cause_of(embedder.vector("slow")) == "late"
        model.gate.set()
        assert (await embedder.vector("slow"))[0] == 4
        assert model.runs == ["slow"]

    run(case, deadline_s=0.02)


def test_broken_is_one_requests_matter() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        assert await cause_of(embedder.vector("bad")) == "broken"
        assert (await embedder.vector("good"))[0] == 4

    run(case)


def test_a_request_that_goes_away_leaves_the_run_to_the_others() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        model.gate.clear()
        first, second = (asyncio.ensure_future(embedder.vector("shared")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        model.gate.set()
        assert (await second)[0] == 6
        assert first.cancelled()

    run(case)


def test_what_nobody_waits_for_is_embedded_only_when_nothing_else_is() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        assert (await embedder.spare("abc"))[0] == 3
        assert (seen.hits, seen.waiting) == ([], []), "it is neither a request's look-up nor in its queue"
        assert (await embedder.vector("abc"))[0] == 3
        assert (await embedder.spare("abc"))[0] == 3
        assert model.runs == ["abc", "abc"], "it is not kept, and what is kept is used"
        assert await cause_of(embedder.spare("bad")) == "broken"
        model.gate.clear()
        spared = asyncio.create_task(embedder.spare("spared"))
        await model.begins("spared")
        assert await cause_of(embedder.spare("more")) == "full"
        asked = asyncio.create_task(embedder.vector("asked"))
        await model.begins("asked")  # on the only thread there is: the other text does not hold it
        model.gate.set()
        assert ((await spared)[0], (await asked)[0]) == (6, 5)
        model.gate.clear()
        asked = asyncio.create_task(embedder.vector("again"))
        await asyncio.sleep(0)
        assert await cause_of(embedder.spare("more")) == "full"
        model.gate.set()
        await asked

    run(case)


def test_what_nobody_waits_for_may_wait_for_its_moment_itself() -> None:
    async def case(embedder: Embedder, model: Model, seen: Seen) -> None:
        model.gate.clear()
        asked = asyncio.create_task(embedder.vector("asked"))
        await asyncio.sleep(0)
        assert await cause_of(embedder.spare("late", patience_s=0.01)) == "full"
        patient = [asyncio.create_task(embedder.spare(f"no. {n}", patience_s=5)) for n in range(MOST_PATIENT)]
        await asyncio.sleep(0)
        assert await cause_of(embedder.spare("one too many", patience_s=5)) == "full"
        for each in patient[2:]:
            each.cancel()
        assert model.runs == ["asked"]
        model.gate.set()
        await asked
        assert [(await each)[0] for each in patient[:2]] == [5, 5]
        assert len(model.runs) == 3

    run(case)
