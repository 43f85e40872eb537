"""Where decisions are kept, as routes.yaml says it: a URL that may hold a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, Store, StoreUrl, parse_config
from tests.config.files import BASE


def config_of(store: str) -> Config:
    return parse_config(BASE + f"\nstore: {store}\n", source="routes.yaml", environ={"URL": "postgres://a:hunter2@b/c"})


@pytest.mark.parametrize(
    ("written", "file", "shown"),
    [
        ("sqlite:///pointsman.db", "pointsman.db", "sqlite:///pointsman.db"),
        ("sqlite:////var/lib/store.db", "/var/lib/store.db", "sqlite:////var/lib/store.db"),
        ("sqlite+aiosqlite:///store.db", "store.db", "sqlite:///store.db"),
        ("postgresql+asyncpg://me:hunter2@db:5433/pointsman?ssl=require", None, "postgresql://db:5433/pointsman"),
        ("postgresql://me:hunter2@[::1]/pointsman", None, "postgresql://[::1]/pointsman"),
        ("postgresql://me:hunter2@/pointsman?host=/run/postgresql", None, "postgresql:///pointsman"),
        ("${URL}", None, "postgresql://b/c"),
    ],
)
def test_urls(written: str, file: str | None, shown: str) -> None:
    config = config_of(f"'{written}'")
    store = config.storing
    assert store == Store(config.store)  # type: ignore[arg-type]
    assert store is not None
    assert (store.url.file, store.url.shown) == (None if file is None else Path(file), shown)
    assert "hunter2" not in f"{store} {store.url} {store.url!r} {config}"


@pytest.mark.parametrize("written", ["none", "''", "{url: none}", "{url: '', text: true}"])
def test_none(written: str) -> None:
    assert config_of(written).storing is None


def test_absent_is_none() -> None:
    assert parse_config(BASE, source="routes.yaml", environ={}).storing is None


def test_a_mapping_says_more() -> None:
    store = config_of("{url: 'sqlite:///x.db', text: true, keep: 7d, rows: 10}").storing
    assert store == Store(StoreUrl("sqlite:///x.db"), True, 604_800.0, 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "mysql://me:hunter2@db/x",
            "expected none, sqlite:///FILE or postgresql+asyncpg://NAME:PASSWORD@HOST/DATABASE",
        ),
        ("hunter2", "expected none, sqlite:///FILE or"),
        ("sqlite://hunter2.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///hunter2.db?mode=ro", "takes no options"),
        ("postgresql://me:hunter2@db", "needs a host and a database"),
        ("postgresql://me:hunter2@/x", "needs a host and a database"),
        ("postgresql://me:12/hunter2@db/x", "needs a host and a database"),
        ("postgresql://me:hunter2@db:port/x", "percent-encoded"),
        ("postgresql://me:hunter2@db/x?sslmode=require", "'ssl' in place of 'sslmode'"),
        ("{url: 'sqlite:///x.db', rows: 0}", "store.rows: 0 is outside 1 to 1000000000"),
        ("{text: true}", "store: the key 'url' is missing"),
    ],
)
def test_what_is_none_is_told_without_it(written: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        config_of(written if written.startswith("{") else f"'{written}'")
    assert said in str(told.value)
    assert "hunter2" not in str(told.value)
