"""The store as commands read it: in bulk, in pieces, beside a server that writes; nothing is ever changed in it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, Select, case, create_engine, exists, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from proxy.config import Store as Settings
from proxy.learning.asking import is_sound_rating
from proxy.learning.databases import NO_DRIVER, PATIENCE_S, driven, has_driver, in_words, is_about_url
from proxy.learning.tables import VERSION, StoreUnknown, decisions, feedback, meta, version_of

CHUNK = 5_000
_NO_NUMBER = (
    "it has something else where a number belongs, which Pointsman never wrote: delete the decisions that have a "
    "typeof(time), typeof(seconds) or typeof(first_token_s) of text or blob"
)


class StoreUnreadable(Exception):
    """The store cannot be read; the message tells why and what to do, and no secret."""


class Archive:
    """
    One database to read, for as long as the `with` block lasts. Not for use inside of an event loop.

    What is read is one moment's state, whatever a server writes meanwhile.
    """

    def __init__(self, settings: Settings) -> None:
        """
        Args:
            settings: where it is.
        """
        self._url = settings.url
        self.shown = settings.url.shown
        self._open: _Sqlite | _Postgresql | None = None

    def __enter__(self) -> Self:
        """
        Raises:
            StoreUnreadable: there is none, it does not answer, or its tables are not those of this program.
        """
        file = self._url.file
        with self._trouble():
            try:
                self._open = _Postgresql(self._url.reveal()) if file is None else _Sqlite(file)
                self._open.run(_check)
            except BaseException as error:
                self.__exit__()
                if isinstance(error, Exception) and is_about_url(error):
                    raise StoreUnreadable(f"its driver refuses the URL: {in_words(error)}") from None
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()

    def decisions(
        self,
        columns: Sequence[str],
        *,
        since: float | None = None,
        rated: bool = False,
        route: str | None = None,
        newest: int | None = None,
        chunk: int = CHUNK,
    ) -> Iterator[list[Row[Any]]]:
        """
        Decisions in pieces, the oldest first.

        Args:
            columns: of `tables.decisions`, by name; each row has them as attributes and in this order, then `rating`,
                the mean of its sources' ratings, each source's last (None where there is none, and what there is where
                none of it is a rating).
            since: seconds since 1970, inclusive.
            rated: whether to leave out those without feedback.
            route: the only one to look at.
            newest: how many to look at, those before being left out, whatever else they are.
            chunk: rows of a piece.

        Raises:
            StoreUnreadable: the database fails on the way.
        """
        own, said = feedback.c.decision_id == decisions.c.id, feedback.c.rating
        rating = func.coalesce(func.avg(case((is_sound_rating(), said))), func.min(said))
        query = select(
            *(decisions.c[name] for name in columns),
            select(rating).where(own).scalar_subquery().label("rating"),
        ).order_by(decisions.c.time)
        if since is not None:
            query = query.where(decisions.c.time >= since)
        if newest is not None:
            last = select(decisions.c.time).order_by(decisions.c.time.desc()).offset(newest - 1).limit(1)
            query = query.where(decisions.c.time >= func.coalesce(last.scalar_subquery(), 0.0))
        if rated:
            query = query.where(exists().where(own))
        if route is not None:
            query = query.where(decisions.c.route == route)
        assert self._open is not None, "inside of `with`"
        pieces = self._open.stream(query, chunk)
        while True:
            with self._trouble():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def ask(self, query: Select[Any]) -> list[Row[Any]]:
        """
        The rows that a question of one's own leads to; few, since all are held at once.

        Raises:
            StoreUnreadable: the database fails.
        """
        assert self._open is not None, "inside of `with`"
        with self._trouble():
            return [row for piece in self._open.stream(query, CHUNK) for row in piece]

    def numbers(self, query: Select[Any]) -> NDArray[np.float64]:
        """
        The same for very many rows of numbers only.

        Returns:
            (rows, columns).
        """
        assert self._open is not None, "inside of `with`"
        with self._trouble():
            try:
                found = self._open.numbers(query)
            except ValueError:
                raise StoreUnreadable(_NO_NUMBER) from None
        return found.reshape(-1, len(query.selected_columns))

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Tells the database's troubles in our words: theirs may quote an address or a password."""
        try:
            yield
        except StoreUnreadable as error:
            raise StoreUnreadable(f"store: {self.shown}: {error}") from None
        except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
            told = in_words(error)
            raise StoreUnreadable(f"store: {self.shown} cannot be read: {told}{_way_out(told)}") from None

    def number(self, value: object) -> float | None:
        """
        A stored number, or nothing.

        Raises:
            StoreUnreadable: it is something else, which SQLite takes from whoever writes it.
        """
        if value is None or isinstance(value, int | float):
            return value
        with self._trouble():
            raise StoreUnreadable(_NO_NUMBER)


def _way_out(told: str) -> str:
    if "not a database" in told or "malformed" in told:
        return "; the file is damaged or something else: bring back a copy, or save what is left by sqlite3's .recover"
    if "unable to open" in told or "readonly" in told:
        return "; SQLite needs to read the file and to write beside it: run this as the server's user, or on a copy"
    return ""


def _check(connection: Connection) -> None:
    """
    Raises:
        StoreUnreadable: these are not the tables that this program knows.
    """
    if not inspect(connection).has_table(meta.name):
        raise StoreUnreadable("there are no decisions of Pointsman in it; `pointsman serve` with this store makes them")
    try:
        at = version_of(connection)
    except StoreUnknown as error:
        raise StoreUnreadable(str(error)) from None
    if at < VERSION:
        raise StoreUnreadable(
            f"its tables are of version {at}, and this program reads those of {VERSION}; start `pointsman serve` with "
            "this store once, which brings them there"
        )


class _Sqlite:
    def __init__(self, file: Path) -> None:
        if not file.exists():
            raise StoreUnreadable("no such file; a server with this store writes it, and a relative name begins here")
        file.open("rb").close()  # says more of what is wrong than SQLite does

        def connected() -> sqlite3.Connection:
            return sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=PATIENCE_S)

        self._engine: Engine = create_engine("sqlite://", creator=connected, poolclass=NullPool, hide_parameters=True)

    def run(self, do: Callable[[Connection], None]) -> None:
        with self._engine.connect() as connection:
            do(connection)

    def stream(self, query: Select[Any], chunk: int) -> Iterator[list[Row[Any]]]:
        with self._engine.connect() as connection:
            found = connection.execution_options(stream_results=True, max_row_buffer=chunk).execute(query)
            while piece := found.fetchmany(chunk):
                yield list(piece)

    def numbers(self, query: Select[Any]) -> NDArray[np.float64]:
        with self._engine.connect() as connection:
            # The driver's own rows: to make others of them takes longer than to find them.
            rows: Any = connection.execute(query).cursor
            return np.fromiter(chain.from_iterable(rows), dtype=np.float64)

    def close(self) -> None:
        self._engine.dispose()


class _Postgresql:
    """Its driver knows only event loops: each step is one run of a loop of its own."""

    def __init__(self, url: str) -> None:
        if not has_driver():
            raise StoreUnreadable(NO_DRIVER)
        self._engine = create_async_engine(
            driven(url),
            hide_parameters=True,
            poolclass=NullPool,
            connect_args={"timeout": PATIENCE_S},
        )
        self._runner = asyncio.Runner()

    def run(self, do: Callable[[Connection], None]) -> None:
        async def checked() -> None:
            async with self._engine.connect() as connection:
                await connection.run_sync(do)

        self._runner.run(checked())

    def stream(self, query: Select[Any], chunk: int) -> Iterator[list[Row[Any]]]:
        run = self._runner.run
        connection: AsyncConnection = self._engine.connect()

        async def begun() -> Any:
            await connection.start()
            return await connection.stream(query)

        try:
            found = run(begun())
            while piece := run(found.fetchmany(chunk)):
                yield list(piece)
        finally:
            run(connection.close())

    def numbers(self, query: Select[Any]) -> NDArray[np.float64]:
        rows = chain.from_iterable(self.stream(query, CHUNK))
        return np.fromiter(chain.from_iterable(rows), dtype=np.float64)

    def close(self) -> None:
        self._runner.run(self._engine.dispose())
        self._runner.close()
