"""Where decisions are kept, as routes.yaml says it: a URL that may hold a password."""

from __future__ import annotations

import inspect
from pathlib import Path

import asyncpg
import pytest

from proxy.config import Config, ConfigError, Store, StoreUrl, parse_config, values
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
        ("postgresql://me:hunter2@/x?host=a:1&host=b:2&target_session_attrs=primary", None, "postgresql:///x"),
        ("postgresql://db/x?port=1,2&host=a,b&application_name=&user=me&password=hunter2", None, "postgresql://db/x"),
        ("postgresql://db/x?command_timeout=30.5&timeout=5", None, "postgresql://db/x"),
        ("postgresql://db/x?service=mine&servicefile=/etc/pg.conf&dsn=postgresql://", None, "postgresql://db/x"),
        ("postgresql://db/x?ssl=verify_full&direct_tls=true", None, "postgresql://db/x"),
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
        (
            "postgresql://me:hunter2@db/x?ssl=require&channel_binding=hunter2",
            "takes no option 'channel_binding' in a URL",
        ),
        ("postgresql://me:hunter2@db/x?statement_cache_size=0", "gsslib"),
        ("postgresql://db/x?password=a&hunter2=b", "takes no option of that name in a URL"),
        (
            "postgresql://me:hunter2@db/x?ssl=hunter2",
            "'ssl' is disable, allow, prefer, require, verify-ca or verify-full",
        ),
        ("postgresql://me:hunter2@db/x?ssl=require&ssl=disable", "the option 'ssl' stands twice"),
        ("postgresql://me:hunter2@db/x?port=hunter2", "the option 'port' is a number"),
        ("postgresql://me:p/a?hunter2=b@db/x", "percent-encoded"),
        ("postgresql://me:p/a#hunter2@db/x", "percent-encoded"),
        ("postgresql://me:p@hunter2@db/x", "percent-encoded"),
        ("{url: 'sqlite:///x.db', rows: 0}", "store.rows: 0 is outside 1 to 1000000000"),
        ("{text: true}", "store: the key 'url' is missing"),
    ],
)
def test_what_is_none_is_told_without_it(written: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        config_of(written if written.startswith("{") else f"'{written}'")
    assert said in str(told.value)
    assert "hunter2" not in str(told.value)


def test_the_options_of_a_url_are_parameters_of_the_driver() -> None:
    of_driver = set(inspect.signature(asyncpg.connect).parameters)
    of_sqlalchemy = {"prepared_statement_cache_size"}
    no_texts = {"loop", "connection_class", "record_class", "server_settings", "statement_cache_size"}
    no_texts |= {"max_cached_statement_lifetime", "max_cacheable_statement_size"}
    of_url = {*values._OPTION_TEXTS, *values._OPTION_NUMBERS, *values._OPTION_WORDS}
    assert of_url == of_driver - no_texts | of_sqlalchemy
