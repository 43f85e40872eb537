"""Commands whose output goes where not everything can be written."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from proxy.learning.store import Store
from tests.cli.test_train import lines
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


def redirected(where: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a command as a shell starts it with this redirection."""
    return ["/bin/sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-m", "proxy", *arguments]


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


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_a_closed_output_takes_everything(store: str) -> None:
    command = redirected(">&-", ["report", "--store", store])
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "command", ["check", "check --json", "explain hi", "explain hi --json", "schema", "report", "-h", "--version"]
)
def test_what_cannot_be_written_is_said_in_words(routes: str, store: str, command: str, unbuffered: str) -> None:
    options = {"report": ["--store", store], "check": ["-c", routes], "explain": ["-c", routes]}
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    name, *arguments = command.split()
    lost = redirected(">/dev/full", [name, *arguments, *options.get(name, [])])
    ended = subprocess.run(lost, env=environ, stderr=subprocess.PIPE, text=True, check=False)
    said = "Error: standard output cannot be written: No space left on device.\n"
    assert (ended.returncode, ended.stderr) == (2, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_policy_that_was_written_is_not_told_as_one_that_was_not(tmp_path: Path) -> None:
    data, out = tmp_path / "rated.jsonl", tmp_path / "policy.npz"
    data.write_text("".join(f"{json.dumps(line)}\n" for line in lines(60)))
    command = redirected(">/dev/full", ["train", str(data), "--out", str(out), "--folds", "2", "--force", "--json"])
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert out.exists()
    assert (ended.returncode, "standard output cannot be written" in ended.stderr) == (2, True)
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_a_closed_input_is_an_empty_one(routes: str) -> None:
    command = redirected("<&-", ["explain", "-", "-c", routes])
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "default" in ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(("where", "workers"), [("2>/dev/full", "1"), ("2>&-", "1"), ("2>&-", "2")])
def test_a_log_that_cannot_be_written_keeps_nobody_from_serving(routes: str, where: str, workers: str) -> None:
    with socket.socket() as free:  # there is no greeting to tell the port
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = redirected(where, ["serve", "-c", routes, "--port", str(port), "--workers", workers])
    with (
        subprocess.Popen(command) as serving,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=8)) as http,
    ):
        try:
            asked = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
            for _ in range(3):
                assert http.post("/v1/chat/completions", json=asked, timeout=30).status_code == 403
        finally:
            serving.terminate()
    assert serving.returncode == 0
