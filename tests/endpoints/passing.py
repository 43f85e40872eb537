"""A Pointsman that passes on what is not routed, and forms to send through it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.relay.wire import House
from tests.relay.wire import house as open_house

ROUTES = """
version: 1
upstreams:
  raw: {base_url: "${RAW}/v1"}
  keyed: {base_url: "${RAW}/v1", api_key: "${KEY}"}
  hasty: {base_url: "${RAW}/v1", timeouts: {whole_answer: 300ms, idle: 1s}}
  claude: {base_url: "${RAW}/claude/v1", protocol: anthropic, api_key: "${KEY}"}
  sim: {base_url: "${SIM}/east/v1"}
models:
  raw: {target: {upstream: raw, name: raw-model-with-a-name}, price: {input: 1, output: 2}}
  keyed: {target: {upstream: keyed, name: k}}
  hasty: {target: {upstream: hasty, name: hasty-model}}
  opus: {target: {upstream: claude, name: claude-opus}}
  sim: {target: {upstream: sim, name: gpt-4o-mini}}
rewrite: []
default: raw
retry: {free: 1000}
server: {body_timeout: 500ms}
"""
JSON = b"content-type: application/json"
BOUNDARY = b"b0undary"
FORM = {"content-type": "multipart/form-data; boundary=b0undary"}


def form(model: bytes, file: bytes = b"\x00\xff\r\nsound", *, first: bool = True) -> bytes:
    parts = [
        b'Content-Disposition: form-data; name="model"\r\n\r\n' + model,
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + file,
    ]
    ordered = parts if first else parts[::-1]
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in ordered) + b"--" + BOUNDARY + b"--\r\n"


@pytest.fixture(scope="module")
def passing() -> Iterator[House]:
    with open_house(ROUTES) as house:
        yield house


@pytest.fixture
def house(passing: House) -> Iterator[House]:
    """Its upstream plain at first; at the end no request is left."""
    passing.raw.exchanges.clear()
    passing.raw.script = lambda exchange: exchange.answer(b'{"ok": true}', JSON)
    passing.raw.holds_bodies = True
    yield passing
    passing.wait_for_metric("pointsman_in_flight", 0)


def target(answer: httpx.Response) -> str:
    return str(answer.headers["x-pointsman-target"])
