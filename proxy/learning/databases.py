"""The two databases: how each is opened to be written, and what its troubles are in words."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

PATIENCE_S = 3.0
NO_DRIVER = "the driver of PostgreSQL is not installed: pip install '.[postgres]' in the checkout"
CONNECTIONS = 3
_BETWEEN_LOCKS_S = 0.01

# For all but numbers, texts and bytearrays sqlite3 searches in vain for an adapter, which takes longer than writing the
# value; of a row's forty a quarter are None or a bool. These two change nothing but that.
sqlite3.register_adapter(type(None), lambda _: None)
sqlite3.register_adapter(bool, int)


def sqlite_engine(file: str, patience_s: float) -> AsyncEngine:
    """Of a file that `begin_file` has opened before."""
    url = URL.create("sqlite+aiosqlite", database=file)
    engine = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=patience_s,
        connect_args={"timeout": patience_s},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last batches, never the file
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # One that reads first and then writes would fail, and not wait, where another process writes between.
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def has_driver() -> bool:
    """Whether PostgreSQL's is installed, which is an extra."""
    return importlib.util.find_spec("asyncpg") is not None


def driven(url: str) -> URL:
    """A URL of PostgreSQL, with our driver."""
    return make_url(url).set(drivername="postgresql+asyncpg")


def postgresql_engine(url: str, patience_s: float) -> AsyncEngine:
    """Of a server; `patience_s` as for `Store`."""
    return create_async_engine(
        driven(url),
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=patience_s,
        pool_pre_ping=True,
        connect_args={"timeout": patience_s, "command_timeout": 3 * patience_s},
    )


def begin_file(file: str, patience_s: float) -> sqlite3.Connection:
    """
    Open it once, and set what stays with a file; a connection, for any thread, that is on this file wherever it goes.

    Where the journal's mode is changed SQLite does not wait for a lock, as it does elsewhere: of several workers that
    start on a new file one would be told at once that it is locked.
    """
    until = time.monotonic() + patience_s
    connection = sqlite3.connect(file, timeout=patience_s, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 8192")  # of a new file: four rows a page, a third less work than 4096
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")  # readers and a writer do not wait for each other
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_BETWEEN_LOCKS_S)
            else:
                break
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # only then the log is open, too, and not by name
        return connection
    except BaseException:
        connection.close()
        raise


def write_log(connection: sqlite3.Connection) -> None:
    """Bring into the file what only its log has, as far as nobody is in the way."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_about_rows(error: Exception) -> bool:
    """Whether the database answers, and does not take what it was given."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError)
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, IntegrityError | DataError) or state[:2] in ("22", "23") or _is_misfit(error)


def is_about_url(error: Exception) -> bool:
    """Of one that came as a database was opened: whether it could be no other time, since its driver refused."""
    if isinstance(error, DBAPIError):
        return _is_misfit(error)
    return isinstance(error, ArgumentError | TypeError | ValueError | AttributeError)


def _is_misfit(error: DBAPIError) -> bool:
    """Whether asyncpg found it, before anything was sent."""
    return isinstance(error.orig and error.orig.__cause__, ValueError)


def in_words(error: Exception) -> str:
    """What a database or its driver says is wrong, without a row, an address or a password."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        if type(error.orig).__module__ == "sqlite3":
            return str(error.orig)
        error = cause if isinstance(cause := error.orig.__cause__, Exception) else error
    if isinstance(error, sqlite3.Error) or type(error).__name__ == "ClientConfigurationError":  # asyncpg's
        return str(error).partition("\n")[0]
    told = error.strerror if isinstance(error, OSError) else None
    return told or type(error).__name__
