"""The store on both databases: real files of SQLite, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import logging
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from proxy.learning.databases import PATIENCE_S, postgresql_engine, sqlite_engine
from proxy.learning.store import Store
from proxy.learning.stored_rows import (
    LONGEST_TEXT,
    MOST_SOURCES,
    RatedDecision,
    Rating,
    hash_of_key,
    plain,
    vector_of,
)
from proxy.learning.tables import VERSION, StoreTooNew, migrate
from proxy.learning.trouble import RowsRefused, StoreRefused, StoreUnavailable, TooManySources
from proxy.telemetry.log import configure_logging
from tests.learning.postgres import Cluster
from tests.learning.rows import VECTOR, full_disk, row, settings

T = TypeVar("T")
ALICE, BOB = hash_of_key("sk-alice"), hash_of_key("sk-bob")


class Base:
    """A database of one of the two kinds."""

    def __init__(self, url: str, ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
        self.url = url
        self.ask = ask
        self.now = 1_000_500.0
        self.passed = 0.0

    def store(self, *, patience_s: float = PATIENCE_S, **fields: Any) -> Store:
        of_test = settings(self.url, **fields)
        return Store(of_test, clock=lambda: self.now, passed=lambda: self.passed, patience_s=patience_s)

    def run(self, do: Callable[[Store], Awaitable[T]], **fields: Any) -> T:
        """What one replica does with it, from its opening to its end."""

        async def whole() -> T:
            store = self.store(**fields)
            try:
                return await do(store)
            finally:
                await store.close()

        return asyncio.run(whole())


def sqlite_base(file: Path) -> Base:
    def ask(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as connection, connection:
            return connection.execute(statement).fetchall()

    return Base(f"sqlite:///{file}", ask)


def postgresql_base(postgres: Cluster) -> Base:
    url = postgres.fresh()

    def ask(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(line.split("|")) for line in postgres.sql(url, statement).splitlines()]

    return Base(url, ask)


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    if request.param == "sqlite":
        return sqlite_base(tmp_path / "store.db")
    return postgresql_base(request.getfixturevalue("postgres"))


def numbers(base: Base, table: str = "decisions") -> int:
    return int(base.ask(f"SELECT count(*) FROM {table}")[0][0])


def test_a_row_is_kept_as_it_was(tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")
    base.run(lambda store: store.write([row(7, vector=VECTOR, key_hash=ALICE, text="Grüße", is_stream=True)]))
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.row_factory = sqlite3.Row
        found = dict(connection.execute("SELECT * FROM decisions").fetchone())
    assert np.allclose(vector_of(found.pop("vector")), VECTOR, atol=1e-3)
    hashes = found.pop("key_hash"), found.pop("conversation_hash")
    assert all(len(each) == 16 and each not in ALICE for each in hashes)
    same = row(7, text="Grüße", is_stream=True)
    for name in found:
        assert found[name] == getattr(same, name), name


SAID = {"Grüße": "Grüße", "a\0b": "ab", "half \ud83d of it": "half ? of it", "x" * 9_000: "x" * LONGEST_TEXT}


def test_no_text_that_a_client_can_send_keeps_a_batch_from_being_written(base: Base) -> None:
    base.run(lambda store: store.write([row(number, text=plain(said)) for number, said in enumerate(SAID)]))
    assert base.ask("SELECT text FROM decisions ORDER BY time") == [(text,) for text in SAID.values()]


def test_the_hash_of_a_key_is_too_long_to_be_met_by_chance() -> None:
    assert len({len(ALICE), len(hash_of_key("")), len(hash_of_key("x" * 1_000)), 32}) == 1


def test_what_is_rated_is_found_by_an_index_under_either_name(tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")
    base.run(Store.open)
    plan = str(base.ask("EXPLAIN QUERY PLAN SELECT route FROM decisions WHERE id = 'x' OR completion_id = 'x' LIMIT 9"))
    assert "SCAN" not in plan
    assert "decisions_by_completion" in plan


def test_a_power_cut_costs_the_last_rows_and_never_the_file(tmp_path: Path) -> None:
    """SQLite's word for it: with `synchronous` OFF it may be damaged."""

    async def ask() -> list[Any]:
        engine = sqlite_engine(str(tmp_path / "store.db"), PATIENCE_S)
        async with engine.connect() as connection:
            found = [(await connection.exec_driver_sql("PRAGMA synchronous")).scalar()]
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == [1], "NORMAL"


def test_a_batch_that_may_have_been_written_is_not_written_twice(base: Base) -> None:
    async def twice(store: Store) -> None:
        await store.write([row(1), row(2)])
        await store.write([row(1), row(2), row(3, prompt_tokens=2**53, vector=VECTOR)])

    base.run(twice)
    assert numbers(base) == 3


def test_the_last_rating_of_a_source_counts(base: Base) -> None:
    async def rate(store: Store) -> list[RatedDecision | None]:
        await store.write([row(1)])
        ratings = [
            Rating("ptm-1", 1.0, "user", "good"),
            Rating("ptm-1", 0.25, "user", "not so good"),
            Rating("chatcmpl-1", 0.5, "judge"),
        ]
        return [await store.rate(rating, None) for rating in ratings]

    told = base.run(rate)
    assert told == [RatedDecision("ptm-1", "code", "large", before) for before in (None, 1.0, None)]
    kept = base.ask("SELECT source, rating, comment FROM feedback ORDER BY source")
    assert [(source, float(rating), comment or None) for source, rating, comment in kept] == [
        ("judge", 0.5, None),
        ("user", 0.25, "not so good"),
    ]


@pytest.mark.parametrize(
    ("made_with", "rated_with", "known"),
    [(None, None, True), (None, ALICE, True), (ALICE, ALICE, True), (ALICE, BOB, False), (ALICE, None, False)],
    ids=["no key", "a key for one without", "the same", "another's", "none for one with"],
)
def test_who_may_rate(tmp_path: Path, made_with: bytes | None, rated_with: bytes | None, known: bool) -> None:
    async def rate(store: Store) -> list[RatedDecision | None]:
        await store.write([row(1, key_hash=made_with)])
        return [await store.rate(Rating(name, 1.0, "user"), rated_with) for name in ("ptm-1", "chatcmpl-1")]

    assert [told is not None for told in sqlite_base(tmp_path / "store.db").run(rate)] == [known, known]


def test_of_completions_of_one_name_the_callers_own_newest_is_rated(base: Base) -> None:
    async def rate(store: Store) -> RatedDecision | None:
        mine = [row(number, completion_id="same", key_hash=ALICE) for number in (1, 2)]
        await store.write([*mine, row(3, completion_id="same", key_hash=BOB)])
        return await store.rate(Rating("same", 1.0, "user"), ALICE)

    told = base.run(rate)
    assert told is not None
    assert told.decision == "ptm-2"


def test_replicas_that_start_at_once_agree_on_one_salt(base: Base) -> None:
    async def all_at_once() -> list[RatedDecision | None]:
        replicas = [base.store() for _ in range(5)]
        await asyncio.gather(*(replica.open() for replica in replicas))
        await replicas[0].write([row(1, key_hash=ALICE)])
        told = [await replica.rate(Rating("ptm-1", 1.0, "user"), ALICE) for replica in replicas]
        for replica in replicas:
            await replica.close()
        return told

    assert all(asyncio.run(all_at_once()))
    assert numbers(base, "pointsman_meta") == 3


def test_a_newer_database_is_refused(base: Base) -> None:
    base.run(Store.open)
    base.ask("UPDATE pointsman_meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(StoreRefused, match=rf"version 99, and this program knows those up to {VERSION}") as refused:
        base.run(Store.open)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM pointsman_meta", "tells no version"),
        ("UPDATE pointsman_meta SET value = '?' WHERE name = 'version'", "tells no version"),
        ("UPDATE pointsman_meta SET value = 'pepper' WHERE name = 'salt'", "tells no salt"),
    ],
)
def test_a_database_that_does_not_say_what_it_is_is_refused(base: Base, statement: str, said: str) -> None:
    base.run(Store.open)
    base.ask(statement)
    with pytest.raises(StoreRefused, match=f"{said}; bring back a copy, or name another database"):
        base.run(Store.open)


def test_a_url_that_the_driver_refuses_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for options, said in (
        ("ssl=verify-full", "root certificate file .* does not exist"),
        ("port=1,2", "ArgumentError"),
    ):
        with pytest.raises(StoreRefused, match=f"postgresql://db/x: its driver refuses the URL: {said}") as refused:
            Base(f"postgresql://me:hunter2@db/x?{options}", lambda _: []).run(Store.open)
        assert "hunter2" not in str(refused.value)


def test_options_of_a_url_that_the_driver_takes(postgres: Cluster) -> None:
    options = "timeout=soon&command_timeout=0.5&service=a&servicefile=/a.conf&dsn=postgresql://&passfile=/a"
    url = f"{postgres.fresh()}&{options}&krbsrvname=a&gsslib=gssapi&ssl=require&direct_tls=true"
    Base(url, lambda _: []).run(Store.open)


def test_an_older_database_is_brought_up_step_by_step(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}")
    steps = {
        VERSION + 1: ["ALTER TABLE feedback ADD COLUMN first INTEGER"],
        VERSION + 2: ["ALTER TABLE feedback ADD COLUMN second INTEGER", "UPDATE feedback SET second = first"],
    }
    with engine.begin() as connection:
        salt = migrate(connection, now=0)
        assert migrate(connection, now=0, version=VERSION + 2, steps=steps) == salt
        assert migrate(connection, now=0, version=VERSION + 2, steps=steps) == salt  # and nothing is done twice
        connection.execute(text("SELECT first, second FROM feedback"))
        with pytest.raises(StoreTooNew):
            migrate(connection, now=0)
    with engine.begin() as connection, pytest.raises(OperationalError):
        migrate(
            connection, now=0, version=VERSION + 3, steps={VERSION + 3: ["ALTER TABLE nothing ADD COLUMN x INTEGER"]}
        )
    engine.dispose()


def test_what_is_old_or_too_much_is_dropped_with_its_ratings(base: Base) -> None:

    async def fill(store: Store) -> None:
        await store.write([row(number) for number in range(3_000)])
        for number in (2, 2_600, 2_999):
            await store.rate(Rating(f"ptm-{number}", 1.0, "user"), None)

    base.run(fill)
    assert base.run(Store.trim) == 0  # not due yet
    base.now = 1_010_000.0
    assert base.run(Store.trim, keep=10_000 - 2_499.5) == 2_500  # which takes several batches
    assert (numbers(base), numbers(base, "feedback")) == (500, 2)
    assert base.run(Store.trim, rows=1) == 0, "another replica has done it within the minute"
    base.now += 61
    assert base.run(Store.trim, rows=10) == 490
    assert (numbers(base), numbers(base, "feedback")) == (10, 1)
    base.now += 61
    assert base.run(Store.trim, rows=10) == 0


def left(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the log tells of files that were left for others."""
    return [record for record in caplog.records if record.name == "proxy.learning.store"]


@pytest.mark.parametrize("was_there", [False, True])
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_file_that_is_moved_away_has_its_rows_and_another_is_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replicas: int, was_there: bool
) -> None:
    base, moved = sqlite_base(tmp_path / "store.db"), sqlite_base(tmp_path / "moved.db")
    if was_there:
        base.run(Store.open)

    async def move() -> None:
        stores = [base.store() for _ in range(replicas)]
        for number in range(20):
            await stores[number % replicas].write([row(number, vector=VECTOR)])
        (tmp_path / "store.db").rename(tmp_path / "moved.db")
        for number in range(20, 24):
            await stores[number % replicas].write([row(number, vector=VECTOR)])
        shutil.copy(tmp_path / "moved.db", tmp_path / "while it runs.db")
        for store in stores:
            await store.close()

    asyncio.run(move())
    assert numbers(sqlite_base(tmp_path / "while it runs.db")) == 20
    assert (numbers(moved), numbers(base)) == (20, 4)
    assert moved.ask("PRAGMA integrity_check") == base.ask("PRAGMA integrity_check") == [("ok",)]
    assert [(each.levelname, each.__dict__["store"]) for each in left(caplog)] == [("WARNING", base.url)] * replicas


def test_a_file_that_cannot_be_completed_is_left_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = sqlite_base(tmp_path / "store.db")

    async def move(store: Store) -> None:
        await store.write([row(number, text="x" * 2_000) for number in range(900)])
        (tmp_path / "store.db").rename(tmp_path / "moved.db")
        with full_disk(1_000_000):
            await store.write([row(1000)])

    base.run(move)
    assert base.ask("SELECT id FROM decisions") == [("ptm-1000",)]
    (told,) = left(caplog)
    assert told.__dict__["error"]


def test_a_deleted_file_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = sqlite_base(tmp_path / "store.db")

    files = [tmp_path / f"store.db{suffix}" for suffix in ("", "-wal", "-shm")]

    async def lose(store: Store) -> None:
        await store.write([row(1)])
        for file in files:
            file.unlink()
        await store.write([row(2)])

    base.run(lose)
    assert base.ask("SELECT id FROM decisions") == [("ptm-2",)]
    assert len(left(caplog)) == 1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(lambda file: file.write_bytes(b"something else" * 1000), "not a database", id="corrupt"),
        pytest.param(lambda file: file.mkdir(), "unable to open", id="a folder"),
    ],
)
def test_a_file_that_is_none_is_told_and_works_once_it_is_moved_away(
    tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    file = tmp_path / "store.db"
    spoil(file)

    async def mend(store: Store) -> None:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=told):
                await store.write([row(1)])
        file.rename(tmp_path / "aside")
        await store.write([row(1)])

    base = sqlite_base(file)
    base.run(mend)
    assert numbers(base) == 1


def test_a_new_file_that_another_is_about_to_change_is_waited_for(tmp_path: Path) -> None:
    """As where several workers start at once."""
    base = sqlite_base(tmp_path / "store.db")

    async def come_second(store: Store) -> None:
        with closing(sqlite3.connect(tmp_path / "store.db", check_same_thread=False)) as first:
            first.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.2, first.commit)
            await store.open()

    base.run(come_second)
    assert base.ask("PRAGMA journal_mode") == [("wal",)]


def test_a_new_file_that_stays_locked_is_told(tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")

    async def come_second(store: Store) -> None:
        with closing(sqlite3.connect(tmp_path / "store.db")) as first:
            first.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.open()
            first.rollback()
        await store.open()

    base.run(come_second, patience_s=0.1)
    assert (base.ask("PRAGMA journal_mode"), base.ask("PRAGMA page_size")) == ([("wal",)], [(8192,)])


def test_a_locked_file_is_waited_for_and_then_told(tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")

    async def meet_a_lock(store: Store) -> None:
        await store.write([row(1)])
        with closing(sqlite3.connect(tmp_path / "store.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.write([row(2)])
            assert await store.rate(Rating("ptm-9", 1.0, "user"), None) is None, "who only reads need not wait"
            other.rollback()
        await store.write([row(2)])

    base.run(meet_a_lock, patience_s=0.2)
    assert numbers(base) == 2


def test_a_server_that_restarts_is_found_again(postgres: Cluster) -> None:
    async def lose(store: Store) -> None:
        await store.write([row(1)])
        await asyncio.to_thread(postgres.stop)
        try:
            with pytest.raises(StoreUnavailable) as told:
                await store.write([row(2)])
        finally:
            await asyncio.to_thread(postgres.start)
        assert "hunter2" not in str(told.value)
        await store.write([row(2)])
        await asyncio.to_thread(postgres.stop)
        await asyncio.to_thread(postgres.start)
        await store.write([row(3)])  # and no batch fails where nobody asked meanwhile

    url = postgres.fresh()
    Base(url, lambda _: []).run(lose)
    assert postgres.sql(url, "SELECT count(*) FROM decisions") == "3"


def test_a_server_that_does_not_come_to_an_end_is_not_waited_for_without_one(postgres: Cluster) -> None:
    async def meet_a_lock(store: Store) -> None:
        await store.write([row(1)])
        engine = postgresql_engine(store.settings.url.reveal(), PATIENCE_S)
        async with engine.begin() as other:
            await other.execute(text("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(StoreUnavailable):
                async with asyncio.timeout(10):
                    await store.write([row(2)])
        await engine.dispose()
        await store.write([row(2)])

    url = postgres.fresh()
    Base(url, lambda _: []).run(meet_a_lock, patience_s=0.1)
    assert postgres.sql(url, "SELECT count(*) FROM decisions") == "2"


def test_a_row_that_no_database_takes_is_not_tried_for_ever(base: Base) -> None:
    async def refuse(store: Store) -> None:
        with pytest.raises(RowsRefused):
            await store.write([row(1), row(2, route=None)])

    base.run(refuse)
    assert numbers(base) == 0


@pytest.mark.parametrize(("replicas", "name"), [(1, "store.db"), (2, "store.db"), (1, "link.db")])
def test_a_copy_that_is_brought_back_is_not_destroyed_by_the_log_of_what_was_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replicas: int, name: str
) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    base, copy = sqlite_base(tmp_path / name), tmp_path / "copy.db"

    async def replace() -> None:
        stores = [base.store() for _ in range(replicas)]

        async def put(first: int) -> None:
            for start in range(first, first + 1000, 100):
                await stores[start // 100 % replicas].write([row(n, vector=VECTOR) for n in range(start, start + 100)])

        await put(0)
        with closing(sqlite3.connect(tmp_path / "store.db")) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
        await put(1000)
        copy.replace(tmp_path / "store.db")
        await put(2000)
        for store in stores:
            await store.close()

    asyncio.run(replace())
    assert base.ask("PRAGMA integrity_check") == [("ok",)]
    assert numbers(base) == 2000
    assert base.ask("SELECT count(*) FROM decisions WHERE time >= 1001000 AND time < 1002000") == [(0,)]
    assert len(left(caplog)) == replicas


def test_a_clock_that_was_ahead_does_not_keep_what_is_old(base: Base) -> None:
    async def fill(store: Store) -> None:
        await store.write([row(number) for number in range(30)])

    base.run(fill)
    right, base.now = base.now + 100.0, base.now + 365 * 86_400.0
    assert base.run(Store.trim, rows=30, keep=1e9) == 0
    base.now = right
    assert base.run(Store.trim, rows=10) == 20


def test_a_clock_that_is_set_ahead_empties_no_store(base: Base, caplog: pytest.LogCaptureFixture) -> None:
    year = 365 * 86_400.0

    def go_on(seconds: float) -> None:
        base.now, base.passed = base.now + seconds, base.passed + seconds

    async def set_ahead(store: Store) -> None:
        await store.write([row(number) for number in range(1_500)])
        for ahead_s in (year, -year, year, 0.0):
            go_on(61)
            base.now += ahead_s
            assert await store.trim() == 0
        go_on(86_400 - 61 - 1)
        assert await store.trim() == 0
        go_on(61)
        assert await store.trim() == 1_500, "a day later it is believed"

    with caplog.at_level(logging.INFO):
        base.run(set_ahead)
    told = [record for record in caplog.records if record.name.startswith("proxy.learning.")]
    assert [(record.levelname, vars(record).get("ahead_s"), vars(record).get("rows")) for record in told] == [
        ("WARNING", year, None),
        ("WARNING", year, None),
        ("INFO", None, 1_500),
    ]


def test_a_replica_whose_clock_is_ahead_drops_nothing_that_others_keep(postgres: Cluster) -> None:
    base, now = postgresql_base(postgres), time.time()
    base.run(lambda store: store.write([row(1, time=now - 60.0), row(2, time=now - 100 * 86_400.0)]))
    base.now = now + 365 * 86_400.0
    assert base.run(Store.trim, keep=90 * 86_400.0) == 1
    assert base.ask("SELECT id FROM decisions") == [("ptm-1",)]


def test_a_clock_that_is_a_little_behind_does_not_drop_again_what_another_just_did(base: Base) -> None:
    async def fill(store: Store) -> None:
        await store.write([row(number) for number in range(30)])

    base.run(fill)
    base.now += 100.0
    assert base.run(Store.trim, rows=20) == 10
    base.now -= 200.0
    assert base.run(Store.trim, rows=10) == 0


def test_a_decision_that_is_dropped_as_it_is_rated_has_no_rating(base: Base) -> None:
    base.run(lambda store: store.write([row(1)]))
    is_found: list[bool] = []

    def clock() -> float:
        if is_found:  # what is looked at between finding the decision and keeping the rating
            base.ask("DELETE FROM decisions")
        return base.now

    async def rate() -> RatedDecision | None:
        store = Store(settings(base.url), clock=clock)
        await store.open()
        is_found.append(True)
        told = await store.rate(Rating("ptm-1", 1.0, "user"), None)
        await store.close()
        return told

    assert asyncio.run(rate()) is None
    assert (numbers(base), numbers(base, "feedback")) == (0, 0)


def test_a_decision_has_so_many_sources_and_no_more(base: Base) -> None:
    async def rate(store: Store) -> None:
        await store.write([row(1), row(2)])
        for number in range(MOST_SOURCES):
            await store.rate(Rating("ptm-1", 1.0, f"judge-{number}"), None)
        with pytest.raises(TooManySources):
            await store.rate(Rating("ptm-1", 0.0, "one more"), None)
        again = await store.rate(Rating("ptm-1", 0.5, "judge-0"), None)
        assert again is not None
        assert again.before == 1.0
        assert await store.rate(Rating("ptm-2", 1.0, "one more"), None) is not None

    base.run(rate)
    assert numbers(base, "feedback") == MOST_SOURCES + 1


def test_ratings_at_the_same_time_are_no_way_past_that(base: Base) -> None:
    """On three replicas, each of which has several connections."""

    async def rate(store: Store) -> None:
        replicas = [store, *(base.store(patience_s=30.0) for _ in range(2))]

        async def at_once(decision: str, sources: range) -> list[RatedDecision | BaseException | None]:
            rating = [replicas[number % 3].rate(Rating(decision, 1.0, f"judge-{number}"), None) for number in sources]
            return await asyncio.gather(*rating, return_exceptions=True)

        last = range(MOST_SOURCES - 1, MOST_SOURCES + 8)
        await store.write([row(number) for number in range(4)])
        await at_once("ptm-0", last)  # so that no connection has to be opened any more
        for decision in ("ptm-1", "ptm-2", "ptm-3"):
            await at_once(decision, range(MOST_SOURCES - 1))
            found = [type(each) for each in await at_once(decision, last)]
            assert (found.count(RatedDecision), found.count(TooManySources)) == (1, len(last) - 1)
        for replica in replicas[1:]:
            await replica.close()

    base.run(rate, patience_s=30.0)


def test_nothing_of_what_is_kept_is_logged_at_any_level(base: Base) -> None:
    async def keep(store: Store) -> None:
        await store.write([row(1, text="SECRET prompt", facts="SECRET facts", key_hash=ALICE)])
        await store.rate(Rating("ptm-1", 1.0, "user", "SECRET comment"), ALICE)
        await store.live_ratings("p1", since=0.0)

    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging("json", level="debug", stream=stream)
        logging.getLogger("proxy.any").debug("this is shown")
        base.run(keep)
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    ((salt,),) = base.ask("SELECT value FROM pointsman_meta WHERE name = 'salt'")
    assert "this is shown" in stream.getvalue()
    assert "SECRET" not in stream.getvalue()
    assert salt not in stream.getvalue()


def test_a_store_of_before_takes_rows_again(base: Base) -> None:
    base.run(Store.open)
    for column in ("shadow_chance", "cache_write_tokens"):
        base.ask(f"ALTER TABLE decisions DROP COLUMN {column}")
    base.ask("UPDATE pointsman_meta SET value = '1' WHERE name = 'version'")

    async def write(store: Store) -> None:
        await store.write([row(1, shadow_model="small", shadow_chance=0.25, cache_write_tokens=2**40)])

    base.run(write)
    ((chance, written),) = base.ask("SELECT shadow_chance, cache_write_tokens FROM decisions")
    assert (float(chance), int(written)) == (0.25, 2**40)
    assert base.ask("SELECT value FROM pointsman_meta WHERE name = 'version'") == [(str(VERSION),)]
