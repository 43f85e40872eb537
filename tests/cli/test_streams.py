"""Commands whose output goes where not everything can be written."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.learning.store import Store
from tests.learning.rows import row, settings

ROUTES = """
version: 1
upstreams: {up: {base_url: "http://127.0.0.1:9/v1"}}
models: {small: {target: {upstream: up, name: m}}}
default: small
routes: [{name: later, when: {text: {contains: [hi]}}, block: {status: 403, message: "later \\u2192 \\U0001F600"}}]
store: none
"""


@pytest.fixture
def routes(tmp_path: Path) -> str:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES, encoding="utf-8")
    return str(path)


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"

    async def fill() -> None:
        base = Store(settings(url))
        await base.write([row(0, route="\u7ffb\u8a33")])
        await base.close()

    asyncio.run(fill())
    return url


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_an_encoding_lacks_is_replaced_and_in_json_escaped(routes: str, encoding: str) -> None:
    command = [sys.executable, "-m", "proxy", "explain", "-c", routes, "hi"]
    environ = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    shown = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True).stdout.decode(encoding)
    assert "later ? ?" in shown
    told = subprocess.run([*command, "--json"], env=environ, stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(told.decode(encoding))["block"]["message"] == "later \u2192 \U0001f600"


def test_a_table_is_written_in_any_encoding(store: str) -> None:
    command = [sys.executable, "-m", "proxy", "report", "--store", store]
    environ = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    shown = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True).stdout
    assert b"\n?? " in shown
