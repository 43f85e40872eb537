"""The store as commands read it, on both databases, beside a server that has it open."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from proxy.learning.archive import Archive, StoreUnreadable
from proxy.learning.store import Store
from proxy.learning.stored_rows import Rating, vector_of
from tests.learning.rows import VECTOR, row, settings
from tests.learning.test_store import Base, sqlite_base


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    if request.param == "sqlite":
        return sqlite_base(tmp_path / "store.db")
    return Base(request.getfixturevalue("postgres").fresh(), lambda _: [])


async def fill(store: Store) -> None:
    await store.write([row(n, vector=VECTOR if n % 2 else None, route="code" if n < 7 else "hard") for n in range(10)])
    for number, source, value in ((1, "user", 1.0), (1, "judge", 0.0), (1, "judge", 0.5), (8, "user", 0.25)):
        assert await store.rate(Rating(f"ptm-{number}", value, source), None) is not None


def test_what_is_asked_for_is_read_in_pieces(base: Base) -> None:
    base.run(fill)
    with Archive(settings(base.url)) as archive:
        pieces = list(archive.decisions(["id", "vector"], chunk=4))
        assert [len(piece) for piece in pieces] == [4, 4, 2]
        rows = [each for piece in pieces for each in piece]
        assert [each.id for each in rows] == [f"ptm-{n}" for n in range(10)]
        assert [each.rating for each in rows][:2] == [None, 0.75]
        np.testing.assert_allclose(vector_of(rows[1].vector), VECTOR, atol=1e-3)

        def ids(**options: object) -> list[str]:
            return [each.id for piece in archive.decisions(["id"], **options) for each in piece]  # type: ignore[arg-type]

        assert ids(rated=True) == ["ptm-1", "ptm-8"]
        assert ids(rated=True, route="hard") == ["ptm-8"]
        assert ids(since=1_000_008.0) == ["ptm-8", "ptm-9"]
        for _ in archive.decisions(["id"], chunk=1):
            break  # who stops reading half-way leaves nothing open


def test_a_server_writes_meanwhile(base: Base) -> None:
    base.run(fill)
    with Archive(settings(base.url)) as archive:
        reading = archive.decisions(["id"], chunk=1)
        first = next(reading)
        base.run(lambda store: store.write([row(11), row(12)]))
        assert len(first) + sum(map(len, reading)) == 10
        assert sum(map(len, archive.decisions(["id"]))) == 12


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        pytest.param("UPDATE pointsman_meta SET value = '99' WHERE name = 'version'", "run the newer program", id="newer"),
        pytest.param("UPDATE pointsman_meta SET value = '0' WHERE name = 'version'", "start `pointsman serve`", id="older"),
        pytest.param("UPDATE pointsman_meta SET value = 'x' WHERE name = 'version'", "tells no version", id="damaged"),
        pytest.param("DELETE FROM pointsman_meta", "tells no version; bring back a copy", id="empty"),
        pytest.param("DROP TABLE pointsman_meta", "no decisions of Pointsman", id="another"),
        pytest.param("DROP TABLE feedback", "no such table: feedback", id="half"),
    ],
)  # fmt: skip
def test_other_tables(statement: str, said: str, tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")
    base.run(fill)
    base.ask(statement)
    with pytest.raises(StoreUnreadable, match=said) as told, Archive(settings(base.url)) as archive:
        list(archive.decisions(["id"]))
    assert f"store: {settings(base.url).url.shown}" in str(told.value)


def test_no_file_and_no_database(tmp_path: Path) -> None:
    def told(file: Path) -> str:
        with pytest.raises(StoreUnreadable) as error, Archive(settings(f"sqlite:///{file}")) as archive:
            list(archive.decisions(["id", "vector"]))
        return str(error.value)

    assert "no such file" in told(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    assert "Is a directory" in told(tmp_path)
    (tmp_path / "text.db").write_text("hello " * 1000)
    assert "damaged or something else" in told(tmp_path / "text.db")
    base = sqlite_base(tmp_path / "store.db")
    base.run(lambda store: store.write([row(n, vector=VECTOR) for n in range(100)]))
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((tmp_path / "store.db").read_bytes())
    data[8192 * 8 :: 2] = b"\xff" * len(data[8192 * 8 :: 2])
    (tmp_path / "store.db").write_bytes(data)
    assert "damaged or something else" in told(tmp_path / "store.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_rights(tmp_path: Path) -> None:
    base = sqlite_base(tmp_path / "store.db")
    base.run(fill)
    (tmp_path / "store.db").chmod(0)
    with pytest.raises(StoreUnreadable, match="Permission denied"), Archive(settings(base.url)):
        pass


def test_whom_sqlite_lets_read_and_not_write_beside_is_told_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it says where a server has the file open and the folder is another user's."""

    def connect(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    base = sqlite_base(tmp_path / "store.db")
    base.run(fill)
    monkeypatch.setattr("proxy.learning.archive.sqlite3.connect", connect)
    with pytest.raises(
        StoreUnreadable, match="readonly database; SQLite needs to read the file and to write beside it"
    ):
        Archive(settings(base.url)).__enter__()


@pytest.mark.parametrize(
    ("options", "said"), [("", "cannot be read: "), ("?port=1,2", "its driver refuses the URL: ArgumentError")]
)
def test_a_postgresql_that_is_not_there(options: str, said: str) -> None:
    with (
        pytest.raises(StoreUnreadable, match=said) as told,
        Archive(settings(f"postgresql://pointsman:hunter2@127.0.0.1:9/db{options}")),
    ):
        pass
    assert "hunter2" not in str(told.value)
