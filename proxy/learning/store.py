"""The database: opened when it can be, written in batches, asked for one decision."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.config import Store as Settings
from proxy.learning.ageing import Ageing, passed_s
from proxy.learning.databases import (
    CONNECTIONS,
    NO_DRIVER,
    PATIENCE_S,
    begin_file,
    has_driver,
    in_words,
    is_about_rows,
    is_about_url,
    postgresql_engine,
    sqlite_engine,
    write_log,
)
from proxy.learning.stored_rows import MOST_SOURCES, DecisionRow, LiveRating, RatedDecision, Rating, is_rating, salted
from proxy.learning.tables import StoreUnknown, decisions, feedback, meta, migrate, stamp
from proxy.learning.trouble import RowsRefused, StoreRefused, StoreUnavailable, TooManySources

logger = logging.getLogger(__name__)

_CHUNK = 100
_NAMESAKES = 100
_TRIMMED_AT_ONCE = 1_000
_BETWEEN_TRIMS_S = 60.0
MOST_RATINGS = 20_000
_RESET = "corrections_reset"
_AHEAD_S = 300.0
"""By so much the clocks of replicas may differ."""
_CAN_CORRECT = and_(
    decisions.c.answered == decisions.c.model,
    decisions.c.outcome == "ok",
    decisions.c.region.is_not(None),
    decisions.c.predicted.is_not(None),
)
"""Of a decision by a policy: its ratings say something of what that predicted."""


class Store:
    """
    One database. Every method may be called at any time, and opens it if it is not open.

    All of them raise StoreUnavailable when the database cannot do it now.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        passed: Callable[[], float] = passed_s,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """
        Args:
            settings: where, and for how long.
            clock: seconds since 1970.
            passed: seconds from any beginning, however the clock is set.
            patience_s: how long a lock, a connection or a free one of ours is waited for, in seconds.

        Raises:
            StoreRefused: the database's driver is missing.
        """
        self.settings = settings
        self.shown = settings.url.shown
        self._file = settings.url.file
        self.ratings_at_once = CONNECTIONS - 1 if self._file is None else 1
        """More would leave decisions no connection, or in a file, which one at a time can write into, no turn."""
        self._clock = clock
        self._ageing = Ageing(clock, passed)
        self._patience_s = patience_s
        self._engine: AsyncEngine | None = None
        self._salt = b""
        self._insert = ""
        self._opening = asyncio.Lock()
        self._is: tuple[int, int] | None = None
        self._held: sqlite3.Connection | None = None
        """On the file that is open, also once it is moved: the engine opens by name whenever it has none to spare."""
        self._beside: dict[Path, tuple[int, int] | None] = {}
        if self._file is None and not has_driver():
            raise StoreRefused(f"store: {NO_DRIVER}")

    async def open(self) -> None:
        """
        Open it, and bring its tables to this version.

        Raises:
            StoreRefused: a newer program has changed it, it is something else, or its URL is nothing to the driver.
        """
        with self._trouble():
            await self._opened()

    async def close(self) -> None:
        """Let its connections go."""
        engine, self._engine = self._engine, None
        held, self._held = self._held, None
        if engine is not None:
            await engine.dispose()
        if held is not None:
            await asyncio.to_thread(held.close)

    async def write(self, rows: Sequence[DecisionRow]) -> None:
        """
        Keep decisions, all or none; those that are there already stay as they are.

        Raises:
            RowsRefused: one of them is not to be written.
        """
        async with self._transaction() as connection:
            for start in range(0, len(rows), _CHUNK):  # between two of them the loop serves others
                values = [row.values(self._salt) for row in rows[start : start + _CHUNK]]
                # The statement as the driver has it: SQLAlchemy's look at each value costs more than all the rest.
                await connection.exec_driver_sql(self._insert, values)

    async def rate(self, rating: Rating, caller: bytes | None) -> RatedDecision | None:
        """
        Keep a rating; None when there is no such decision for this caller.

        Args:
            rating: of a decision that was made with the same key, or with none.
            caller: the hash of the key that came with the rating.

        Raises:
            TooManySources: others have rated it under `MOST_SOURCES` names.
        """
        async with self._reading() as connection:
            found = await self._find(connection, rating.id, caller)
        if found is None:
            return None
        values = {"rating": rating.value, "comment": rating.comment, "time": self._clock()}
        key = {"decision_id": found.id, "source": rating.source}
        async with self._transaction() as connection:
            # Ratings of one decision take turns: each of several at once would count the sources without the others.
            locked = select(decisions.c.id).where(decisions.c.id == found.id).with_for_update()
            if (await connection.execute(locked)).scalar() is None:
                return None  # it was dropped meanwhile
            others = (feedback.c.decision_id == found.id) & (feedback.c.source != rating.source)
            sources = (await connection.execute(select(func.count()).select_from(feedback).where(others))).scalar_one()
            if sources >= MOST_SOURCES:
                raise TooManySources
            inserting = _inserted(connection, feedback).values(**key, **values)
            done = await connection.execute(inserting.on_conflict_do_nothing(index_elements=list(key)))
            before = None
            if not done.rowcount:
                same = (feedback.c.decision_id == found.id) & (feedback.c.source == rating.source)
                found_there = (await connection.execute(select(feedback.c.rating).where(same))).scalar_one()
                before = found_there if is_rating(found_there) else None  # somebody else may have written a text there
                await connection.execute(update(feedback).where(same).values(**values))
        return RatedDecision(found.id, found.route, found.answered, before)

    async def live_ratings(self, policy: str, *, since: float, most: int = MOST_RATINGS) -> list[LiveRating]:
        """
        The ratings of a policy's own decisions, the newest first, as far as they count: see `reset_corrections`.

        Args:
            policy: its version.
            since: seconds since 1970; older ones are not looked for.
            most: so many of the newest, among ten times as many of any policy or none.
        """
        found: list[LiveRating] = []
        async with self._reading() as connection:
            since = max(since, await _reset_at(connection))
            newest = feedback.c.time.desc(), feedback.c.decision_id, feedback.c.source
            looked_at = select(feedback).where(feedback.c.time > since).order_by(*newest).limit(10 * most).subquery()
            columns, rated = decisions.c, looked_at.c
            asked = (
                select(
                    columns.region, columns.model, columns.predicted,
                    rated.rating, rated.time, rated.source, columns.conversation_hash, columns.id,
                )
                .join(decisions, columns.id == rated.decision_id)
                .where(columns.policy == policy, _CAN_CORRECT)
                .order_by(rated.time.desc(), rated.decision_id, rated.source)
                .limit(most)
            )  # fmt: skip
            async with connection.stream(asked) as rows:
                async for part in rows.partitions(_CHUNK):  # between two of them the loop serves others
                    found += [LiveRating(*row) for row in part]
        return found

    async def reset_corrections(self) -> int:
        """
        From now on no rating until now counts for corrections; how many that counted do not any more.

        Counted are those, of any policy, of answers by the model decided on that went well, where the policy made a
        prediction; also what is too old for `live_ratings`, or beyond its newest.
        """
        now = self._clock()
        async with self._reading() as connection:  # counting may take long, and nobody need wait for it
            since = await _reset_at(connection)
            of_policy = feedback.join(decisions, decisions.c.id == feedback.c.decision_id)
            counted = select(func.count()).select_from(of_policy)
            counted = counted.where(feedback.c.time > since, _CAN_CORRECT)
            count: int = (await connection.execute(counted)).scalar_one()
        async with self._transaction() as connection:
            inserting = _inserted(connection, meta).values(name=_RESET, value=stamp(now))
            await connection.execute(
                inserting.on_conflict_do_update(index_elements=["name"], set_={"value": inserting.excluded.value})
            )
        return count

    async def trim(self) -> int:
        """
        Drop what is too old or too much, if no replica has within the last minute; how many decisions that were.
        """
        now = self._clock()
        async with self._transaction() as connection:
            # A time to come is that of a clock that was ahead.
            at = meta.c.value
            is_due = (meta.c.name == "trimmed") & ((at < stamp(now - _BETWEEN_TRIMS_S)) | (at > stamp(now + _AHEAD_S)))
            if not (await connection.execute(update(meta).where(is_due).values(value=stamp(now)))).rowcount:
                return 0
        async with self._reading() as connection:
            beyond = select(decisions.c.time).order_by(decisions.c.time.desc()).offset(self.settings.rows).limit(1)
            last = (await connection.execute(beyond)).scalar() or 0.0
            too_old = await self._believed_now(connection) - self.settings.keep
        cutoff = max(too_old, last)
        dropped = 0
        while True:
            async with self._transaction() as connection:
                old = select(decisions.c.id).where(decisions.c.time <= cutoff).limit(_TRIMMED_AT_ONCE)
                ids = (await connection.execute(old)).scalars().all()
                # In the order in which `rate` locks them: else the two could wait for each other.
                await connection.execute(delete(decisions).where(decisions.c.id.in_(ids)))
                await connection.execute(delete(feedback).where(feedback.c.decision_id.in_(ids)))
            dropped += len(ids)
            if len(ids) < _TRIMMED_AT_ONCE:
                break
        if dropped >= _TRIMMED_AT_ONCE and too_old > last:
            logger.info("many decisions dropped as too old", extra={"store": self.shown, "rows": dropped})
        return dropped

    async def _believed_now(self, connection: AsyncConnection) -> float:
        """By our own clock and, where the database has one, not beyond that: replicas share what one would drop."""
        now = self._ageing.now()
        if self._file is not None:
            return now
        return min(now, float((await connection.execute(select(func.extract("epoch", func.now())))).scalar_one()))

    async def _find(self, connection: AsyncConnection, name: str, caller: bytes | None) -> Any:
        """The decision of this id, else the newest whose completion has it; only one that the caller may rate."""
        columns = decisions.c
        is_named = or_(columns.id == name, columns.completion_id == name)
        is_anybodys = columns.key_hash.is_(None)
        may = is_anybodys if caller is None else or_(is_anybodys, columns.key_hash == salted(caller, self._salt))
        asked = select(columns.id, columns.time, columns.route, columns.answered).where(is_named, may).limit(_NAMESAKES)
        # Sorted here: asked for the newest, a database may walk through all of them by time until it meets one.
        found = await connection.execute(asked)
        return max(found, key=lambda row: (row.id == name, row.time), default=None)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """Written all or not at all."""
        with self._trouble():
            async with (await self._opened()).begin() as connection:
                yield connection

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with self._trouble():
            async with (await self._opened()).connect() as connection:
                yield await connection.execution_options(reads=True)

    async def _opened(self) -> AsyncEngine:
        async with self._opening:
            if self._is_another_file():
                await self._leave_file()
                await self.close()  # what is open is the old file, which nobody else finds any more
                self._forget_beside()
            if self._engine is None:
                with self._trouble_of_opening():
                    self._engine = await self._opened_now()
            return self._engine

    async def _opened_now(self) -> AsyncEngine:
        if self._file is not None:
            # aiosqlite leaves a thread behind where a file cannot be opened, which may outlive the loop.
            self._held = await asyncio.to_thread(begin_file, str(self._file), self._patience_s)
        engine = self._new_engine()
        try:
            async with engine.begin() as connection:
                self._salt = await connection.run_sync(migrate, now=self._clock())
        except BaseException:
            await engine.dispose()
            await self.close()
            raise
        self._is = self._identity()
        self._beside = {file: _identity(file) for file in self._files_beside()}
        self._insert = _insert_of(engine)
        return engine

    def _new_engine(self) -> AsyncEngine:
        if self._file is not None:
            return sqlite_engine(str(self._file), self._patience_s)
        return postgresql_engine(self.settings.url.reveal(), self._patience_s)

    def _is_another_file(self) -> bool:
        return self._file is not None and self._identity() != self._is

    def _identity(self) -> tuple[int, int] | None:
        return None if self._file is None else _identity(self._file)

    def _files_beside(self) -> list[Path]:
        # Beside the file itself, and not beside a link to it.
        return [] if self._file is None else [Path(f"{self._file.resolve()}{end}") for end in ("-wal", "-shm")]

    async def _leave_file(self) -> None:
        """Complete the file that was open, which may have been moved and be kept, and say that it is left."""
        if self._held is None:
            return
        told = {"store": self.shown}
        try:
            await asyncio.to_thread(write_log, self._held)
        except sqlite3.Error as error:  # it may lack rows then, which is no reason to keep no others
            told["error"] = str(error)
        logger.warning("file of the store moved, replaced or deleted; going on with another", extra=told)

    def _forget_beside(self) -> None:
        """
        Remove what belonged to a file that is not there any more.

        SQLite leaves the log of a database that was moved away where it was, and would apply it to whatever has taken
        the place: a copy that was brought back would be destroyed by it.
        """
        for file, known in self._beside.items():
            if known is not None and _identity(file) == known:
                file.unlink(missing_ok=True)
        self._beside = {}

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Tells the database's troubles in our words: theirs may quote a row, an address or a password."""
        try:
            yield
        except (TooManySources, StoreRefused, StoreUnavailable):
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
            if is_about_rows(error):
                raise RowsRefused(type(error).__name__) from None
            raise StoreUnavailable(in_words(error)) from None
        except Exception as error:  # a value that a driver trips over
            raise RowsRefused(type(error).__name__) from None

    @contextmanager
    def _trouble_of_opening(self) -> Iterator[None]:
        """The same while no rows are there yet that could be to blame."""
        try:
            yield
        except StoreUnknown as error:
            raise StoreRefused(f"store: {self.shown}: {error}") from None
        except Exception as error:
            if is_about_url(error):
                raise StoreRefused(f"store: {self.shown}: its driver refuses the URL: {in_words(error)}") from None
            raise StoreUnavailable(in_words(error)) from None


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _reset_at(connection: AsyncConnection) -> float:
    """When corrections began anew, in seconds since 1970; 0 when they never did."""
    found = await connection.execute(select(meta.c.value).where(meta.c.name == _RESET))
    return float(found.scalar() or 0.0)


def _inserted(connection: AsyncConnection | AsyncEngine, table: Table) -> Any:
    """An insert that can say what to do about rows that are there: each database has its own."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _insert_of(engine: AsyncEngine) -> str:
    """The statement that takes a row's values in their order."""
    fields: dict[str, Any] = {name: bindparam(name) for name in DecisionRow.__struct_fields__}
    statement = _inserted(engine, decisions).values(fields).on_conflict_do_nothing(index_elements=["id"])
    compiled = statement.compile(dialect=engine.dialect)
    assert compiled.positiontup == list(fields), "the columns are in the order of the fields"
    return str(compiled)
