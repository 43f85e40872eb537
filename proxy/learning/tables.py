"""
The tables, and how an older database gets them.

A change of a table is a new number in `VERSION` and the statements that bring a database there in `STEPS`; a new
database gets the tables as they are now. There is no way back: an older program refuses a newer database.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
    update,
)

__all__ = ["STEPS", "VERSION", "StoreTooNew", "StoreUnknown", "decisions", "feedback", "meta", "migrate", "stamp",
           "version_of"]  # fmt: skip

VERSION = 3
STEPS: Mapping[int, Sequence[str]] = {
    2: ["ALTER TABLE decisions ADD COLUMN shadow_chance DOUBLE PRECISION"],
    3: ["ALTER TABLE decisions ADD COLUMN cache_write_tokens BIGINT"],
}
"""By version: the statements that lead there from the version before, in SQL that both databases know."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_SALT = re.compile(r"(?:[0-9a-f]{2}){1,64}")  # as long as a hash's key may be
_LOCK = 0x706F696E74736D  # any number that no other program's advisory lock has

tables = MetaData()

meta = Table(
    "pointsman_meta",
    tables,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)
decisions = Table(
    "decisions",
    tables,
    Column("id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("route", String, nullable=False),
    Column("model", String, nullable=False),
    Column("answered", String, nullable=False),
    Column("target", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("baseline_cost_usd", Double),
    Column("seconds", Double, nullable=False),
    Column("first_token_s", Double),
    Column("status", Integer, nullable=False),
    Column("outcome", String, nullable=False),
    Column("error", String, nullable=False),
    Column("completion_id", String),
    Column("finish_reason", String),
    Column("is_cut", Boolean, nullable=False),
    Column("bad_tool_calls", Integer),
    Column("retry_of", String),
    Column("is_stream", Boolean, nullable=False),
    Column("path", String, nullable=False),
    Column("config_sha256", String, nullable=False),
    Column("text", Text),
    Column("facts", Text),
    Column("propensity", Double, nullable=False),
    Column("arm", String),
    Column("policy", String),
    Column("prefer", Double),
    Column("region", Integer),
    Column("predicted", Double),
    Column("shadow_route", String),
    Column("shadow_model", String),
    Column("shadow_chance", Double),
    Column("key_hash", LargeBinary),
    Column("conversation_hash", LargeBinary, nullable=False),
    Column("vector", LargeBinary),
    Index("decisions_by_time", "time"),
    Index("decisions_by_completion", "completion_id"),
    # All that reports sum up, by what they sum it up for: they read a fifteenth of the bytes, and sort nothing.
    Index(
        "decisions_for_reports",
        *("route", "answered", "time", "model", "reason", "outcome", "status", "arm", "conversation_hash"),
        *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost_usd", "baseline_cost_usd"),
        *("seconds", "first_token_s", "is_cut", "bad_tool_calls", "retry_of", "propensity"),
        *("shadow_route", "shadow_model"),
    ),
)
feedback = Table(
    "feedback",
    tables,
    Column("decision_id", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("rating", Double, nullable=False),
    Column("comment", Text),
    Column("time", Double, nullable=False),
    Index("feedback_by_time", "time"),
)


class StoreUnknown(Exception):
    """The database is not one that a Pointsman made, or what says so in it is damaged."""


class StoreTooNew(StoreUnknown):
    """A newer Pointsman has changed the database."""


def version_of(connection: Connection, version: int = VERSION) -> int:
    """
    The version of a database's tables, at most that which this program knows.

    Raises:
        StoreTooNew: it is beyond that.
        StoreUnknown: it does not say.
    """
    at = int(_said(connection, "version", _NUMBER))
    if at > version:
        raise StoreTooNew(
            f"its tables are of version {at}, and this program knows those up to {version}; run the newer program"
        )
    return at


def _said(connection: Connection, name: str, form: re.Pattern[str]) -> str:
    """A value of `meta`, in such a form."""
    found: str | None = connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()
    if not form.fullmatch(found or ""):
        raise StoreUnknown(f"its {meta.name} tells no {name}; bring back a copy, or name another database")
    assert found is not None
    return found


def migrate(
    connection: Connection, *, now: float, version: int = VERSION, steps: Mapping[int, Sequence[str]] = STEPS
) -> bytes:
    """
    Bring the database to this version; of several that try at once, one does it and the others wait.

    Args:
        connection: in a transaction that nobody else of SQLite writes beside.
        now: seconds since 1970.
        version: to reach.
        steps: how.

    Returns:
        The salt of this database.

    Raises:
        StoreUnknown: it is beyond this version, or does not say what it is.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if not inspect(connection).has_table(meta.name):
        tables.create_all(connection)
        begun = {"version": str(version), "salt": secrets.token_hex(32), "trimmed": stamp(now)}
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in begun.items()])
    at = version_of(connection, version)
    for step in range(at + 1, version + 1):
        for statement in steps[step]:
            connection.execute(text(statement))
    if at < version:
        connection.execute(update(meta).where(meta.c.name == "version").values(value=str(version)))
    return bytes.fromhex(_said(connection, "salt", _SALT))


def stamp(seconds: float) -> str:
    """A time as `meta` has it: texts of one length, so that the later one is the greater."""
    return f"{seconds:017.3f}"
