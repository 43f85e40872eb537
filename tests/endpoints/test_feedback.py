"""POST /v1/feedback, and the rows that decisions leave behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.relay.wire import ROUTES, House
from tests.relay.wire import house as open_house

STORED = ROUTES + "store: sqlite:///${STORE}\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "decisions.db"


@pytest.fixture(scope="module")
def stored(file: Path) -> Iterator[House]:
    with open_house(STORED, environ={"STORE": str(file)}) as house:
        yield house


def rows(file: Path, table: str = "decisions", where: str = "1") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} WHERE {where}")]


def rate(house: House, named: str, rating: object = "up", *, headers: Any = None, **fields: object) -> httpx.Response:
    return house.http.post("/v1/feedback", json={"id": named, "rating": rating, **fields}, headers=headers)


def test_a_decision_is_rated_by_its_id_and_its_row_is_there(stored: House, file: Path) -> None:
    answered = stored.chat()
    decision = answered.headers["x-pointsman-id"]
    told = rate(stored, decision, 0.75, comment="nice")
    assert told.status_code == 200
    assert told.json() == {
        "id": decision, "decision": decision, "rating": 0.75, "source": "user", "route": "pinned", "model": "sim",
        "replaced": False,
    }  # fmt: skip
    (row,) = rows(file, where=f"id = '{decision}'")
    assert (row["route"], row["model"], row["answered"], row["reason"]) == ("pinned", "sim", "sim", "pinned")
    assert row["completion_id"] == answered.json()["id"]
    (rating,) = rows(file, "feedback", f"decision_id = '{decision}'")
    assert (rating["source"], rating["rating"], rating["comment"]) == ("user", 0.75, "nice")
