"""The queue between requests and the store, above all on the store's bad days."""

from __future__ import annotations

import asyncio
import logging
import selectors
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from proxy.learning.store import Store
from proxy.learning.stored_rows import DecisionRow, Rating
from proxy.learning.trouble import StoreRefused, StoreUnavailable
from proxy.learning.writer import BATCH, MOST_RATING, Writer, Writers
from proxy.telemetry.store_metrics import StoreMetrics
from tests.learning.rows import full_disk, row, settings
from tests.relay.wire import dead_port


class Kept:
    """A writer, and what it tells."""

    def __init__(self, writer: Writer, registry: CollectorRegistry) -> None:
        self.writer = writer
        self._registry = registry

    def counted(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(f"pointsman_store_{name}", labels) or 0.0

    async def until(self, name: str, value: float, **labels: str) -> None:
        async with asyncio.timeout(10):
            while self.counted(name, **labels) < value:  # noqa: ASYNC110  # the metric is what an operator sees
                await asyncio.sleep(0.01)


@asynccontextmanager
async def keeping(url: str, *, most: int = 10_000, patience_s: float = 3.0) -> AsyncIterator[Kept]:
    registry = CollectorRegistry()
    writer = Writer(Store(settings(url), patience_s=patience_s), StoreMetrics(registry), most=most)
    await writer.start()
    try:
        yield Kept(writer, registry)
    finally:
        await writer.close()


def ids(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT id FROM decisions ORDER BY rowid")]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "proxy.learning.writer"]


def test_rows_are_written_in_their_order_and_in_batches(tmp_path: Path) -> None:
    async def write() -> float:
        async with keeping(f"sqlite:///{tmp_path}/store.db") as kept:
            for number in range(2 * BATCH + 1):
                kept.writer.put(row(number))
            await kept.until("writes_total", 3, result="ok")
            return kept.counted("writes_total", result="ok")

    assert asyncio.run(write()) == 3
    assert ids(tmp_path / "store.db") == [f"ptm-{number}" for number in range(2 * BATCH + 1)]


def test_what_waits_at_the_end_is_written(tmp_path: Path) -> None:
    async def write() -> None:
        async with keeping(f"sqlite:///{tmp_path}/store.db") as kept:
            for number in range(BATCH + 7):
                kept.writer.put(row(number))

    asyncio.run(write())
    assert len(ids(tmp_path / "store.db")) == BATCH + 7


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    async def write() -> float:
        async with keeping(f"sqlite:///{tmp_path}/store.db", most=5) as kept:
            for number in range(8):
                kept.writer.put(row(number))
            return kept.counted("dropped_total", cause="full")

    assert asyncio.run(write()) == 3
    assert len(ids(tmp_path / "store.db")) == 5


def test_how_many_wait_for_a_store_out_of_order_is_told_before_the_next_try(tmp_path: Path) -> None:
    async def wait() -> None:
        async with keeping(f"sqlite:///{tmp_path}/later/store.db", most=8) as kept:
            kept.writer.put(row(0))
            await kept.until("writes_total", 4, result="failed")  # by now it rests for two seconds
            for number in range(1, 6):
                kept.writer.put(row(number))
            await kept.until("queue", 6)
            assert kept.counted("writes_total", result="failed") == 4
            for number in range(6, 9):
                kept.writer.put(row(number))
            assert (kept.counted("queue"), kept.counted("dropped_total", cause="full")) == (8, 1)
            (tmp_path / "later").mkdir()

    asyncio.run(wait())


def test_a_decision_that_still_waits_can_be_rated(tmp_path: Path) -> None:
    async def rate() -> tuple[Any, float]:
        async with keeping(f"sqlite:///{tmp_path}/store.db") as kept:
            began = perf_counter()
            kept.writer.put(row(1))
            return await kept.writer.rate(Rating("ptm-1", 1.0, "user"), None), perf_counter() - began

    rated, seconds = asyncio.run(rate())
    assert rated is not None
    assert seconds < 0.4, "it was not left to the next batch"


def test_a_decision_that_another_replica_has_not_written_yet_is_waited_for(tmp_path: Path) -> None:
    async def rate() -> Any:
        url = f"sqlite:///{tmp_path}/store.db"
        async with keeping(url) as one, keeping(url) as other:
            one.writer.put(row(1))
            return await other.writer.rate(Rating("chatcmpl-1", 1.0, "user"), None)

    assert asyncio.run(rate()) is not None


def test_a_full_disk_costs_nothing_but_time_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def write() -> None:
        async with keeping(f"sqlite:///{tmp_path}/store.db") as kept:
            with full_disk(1_000_000):
                for number in range(900):  # 2 MB
                    kept.writer.put(row(number, text="x" * 2_000))
                await kept.until("writes_total", 2, result="failed")
                with pytest.raises(StoreUnavailable):
                    await kept.writer.rate(Rating("ptm-899", 1.0, "user"), None)
            await kept.until("writes_total", 2, result="ok")
            assert kept.counted("dropped_total", cause="full") == kept.counted("queue") == 0

    asyncio.run(write())
    assert ids(tmp_path / "store.db") == [f"ptm-{number}" for number in range(900)]
    assert told(caplog) == ["store out of order", "store in order again"]


def test_a_store_that_is_not_there_is_awaited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "later"

    async def write() -> None:
        async with keeping(f"sqlite:///{folder}/store.db") as kept:
            kept.writer.put(row(1))
            await kept.until("writes_total", 2, result="failed")
            folder.mkdir()
            await kept.until("writes_total", 1, result="ok")

    asyncio.run(write())
    assert ids(folder / "store.db") == ["ptm-1"]
    assert told(caplog) == ["store out of order", "store in order again"]


class Hurrying(asyncio.SelectorEventLoop):
    """Whoever waits has waited at once: where nothing is ready, its clock goes on to the next that is due."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        super().__init__(selector := selectors.DefaultSelector())
        ready = selector.select

        def select(timeout: float | None = None) -> Any:
            found = ready(0 if timeout is not None else None)
            self._ahead_s += 0.0 if found else timeout or 0.0
            return found

        selector.select = select  # type: ignore[method-assign]

    def time(self) -> float:
        return super().time() + self._ahead_s


class Down(Store):
    """A store that is out of order."""

    async def open(self) -> None:
        raise StoreUnavailable("down")

    async def write(self, rows: Sequence[DecisionRow]) -> None:
        raise StoreUnavailable("down")

    async def trim(self) -> int:
        return 0


def test_a_store_that_was_out_of_order_all_night_is_back_within_a_minute(tmp_path: Path) -> None:
    hours = 8

    async def wait() -> float:
        registry = CollectorRegistry()
        writer = Writer(Down(settings(f"sqlite:///{tmp_path}/store.db")), StoreMetrics(registry))
        await writer.start()
        writer.put(row(1))
        await asyncio.sleep(hours * 3600)
        tries = Kept(writer, registry).counted("writes_total", result="failed")
        await writer.close()
        return tries

    with asyncio.Runner(loop_factory=Hurrying) as runner:
        assert 60 * hours < runner.run(wait()) < 3 * 60 * hours


def test_a_server_that_does_not_answer_delays_neither_start_nor_end_for_long(caplog: pytest.LogCaptureFixture) -> None:
    async def start(port: int) -> tuple[float, float, float]:
        began = perf_counter()
        async with keeping(f"postgresql+asyncpg://me:hunter2@127.0.0.1:{port}/pointsman") as kept:
            started = perf_counter()
            kept.writer.put(row(1))
            put = perf_counter()
        assert kept.counted("dropped_total", cause="shutdown") == 1
        return started - began, put - started, perf_counter() - put

    with dead_port() as port:
        started_s, put_s, ended_s = asyncio.run(start(port))
    assert started_s < 4
    assert put_s < 0.05
    assert ended_s < 7
    assert "hunter2" not in caplog.text


def test_rows_that_are_refused_do_not_stop_the_others(tmp_path: Path) -> None:
    async def write() -> None:
        async with keeping(f"sqlite:///{tmp_path}/store.db") as kept:
            kept.writer.put(row(1, route=None))
            await kept.until("dropped_total", 1, cause="refused")
            kept.writer.put(row(2))
            await kept.until("writes_total", 1, result="ok")

    asyncio.run(write())
    assert ids(tmp_path / "store.db") == ["ptm-2"]


def test_configurations_that_say_the_same_share_a_writer(tmp_path: Path) -> None:
    async def use() -> None:
        writers = Writers(CollectorRegistry())
        one, other = settings(f"sqlite:///{tmp_path}/one.db"), settings(f"sqlite:///{tmp_path}/other.db")
        async with writers.of(one) as first:
            async with writers.of(settings(one.url.reveal())) as second:
                assert first is second
            async with writers.of(other) as third, writers.of(None) as none:
                assert third is not first
                assert none is None
                third.put(row(2))  # type: ignore[union-attr]
            first.put(row(1))  # type: ignore[union-attr]
        await writers.close()

    asyncio.run(use())
    assert ids(tmp_path / "one.db") == ["ptm-1"]
    assert ids(tmp_path / "other.db") == ["ptm-2"]


def test_a_store_that_this_program_cannot_use_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "store.db"

    async def start() -> None:
        async with keeping(f"sqlite:///{file}"):
            pass

    asyncio.run(start())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE pointsman_meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(StoreRefused, match="run the newer program"):
        asyncio.run(start())


def test_what_is_too_much_is_dropped_while_it_runs(tmp_path: Path) -> None:
    file, minutes = tmp_path / "store.db", count(1_000_000, 61)

    async def write() -> None:
        store = Store(settings(f"sqlite:///{file}", rows=3), clock=lambda: float(next(minutes)))
        writer = Writer(store, StoreMetrics(CollectorRegistry()), trim_every_s=0.02)
        await writer.start()
        for number in range(20):
            writer.put(row(number))
        async with asyncio.timeout(10):
            while ids(file) != ["ptm-17", "ptm-18", "ptm-19"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await writer.close()

    asyncio.run(write())


def test_however_many_rate_decisions_are_written_meanwhile(tmp_path: Path) -> None:
    async def flood() -> tuple[float, float, int]:
        async with keeping(f"sqlite:///{tmp_path}/store.db", patience_s=1.0) as kept:
            kept.writer.put(row(0))
            await kept.until("writes_total", 1, result="ok")
            ratings = [
                asyncio.create_task(kept.writer.rate(Rating("ptm-0", 1.0, f"judge-{number % 10}"), None))
                for number in range(MOST_RATING + 50)
            ]
            await asyncio.sleep(0)
            at_once = sum(each.done() for each in ratings)
            for number in range(1, 400):
                kept.writer.put(row(number))
                await asyncio.sleep(0.002)
            told = await asyncio.gather(*ratings, return_exceptions=True)
            failed, refused = kept.counted("writes_total", result="failed"), [each for each in told if each is None]
            assert not refused
            late = [each for each in told if isinstance(each, StoreUnavailable)]
            assert {str(each) for each in late} == {"too many ratings at a time"}
            return failed, kept.counted("dropped_total", cause="full"), at_once

    assert asyncio.run(flood()) == (0, 0, 50)
    assert len(ids(tmp_path / "store.db")) == 400


def test_ratings_do_not_queue_behind_a_store_that_is_locked(tmp_path: Path) -> None:
    async def rate() -> float:
        async with keeping(f"sqlite:///{tmp_path}/store.db", patience_s=1.0) as kept:
            kept.writer.put(row(0))
            await kept.until("writes_total", 1, result="ok")
            with closing(sqlite3.connect(tmp_path / "store.db")) as other:
                other.execute("BEGIN IMMEDIATE")
                began = perf_counter()
                ratings = [kept.writer.rate(Rating("ptm-0", 1.0, f"judge-{n}"), None) for n in range(20)]
                told = await asyncio.gather(*ratings, return_exceptions=True)
                assert all(isinstance(each, StoreUnavailable) for each in told)
                return perf_counter() - began

    assert asyncio.run(rate()) < 10


def test_what_is_lost_at_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def lose(port: int) -> None:
        async with keeping(f"postgresql+asyncpg://me:hunter2@127.0.0.1:{port}/pointsman") as kept:
            for number in range(3):
                kept.writer.put(row(number))

    with dead_port() as port:
        asyncio.run(lose(port))
    (lost,) = [record for record in caplog.records if record.message == "decisions lost as the store was closed"]
    assert lost.__dict__["rows"] == 3


def test_a_row_that_comes_after_the_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def lose() -> float:
        async with keeping(f"sqlite:///{tmp_path}/store.db") as kept:
            pass
        kept.writer.put(row(1))
        return kept.counted("dropped_total", cause="shutdown")

    assert asyncio.run(lose()) == 1
    assert told(caplog) == ["decisions lost as the store was closed"]
