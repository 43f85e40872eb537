"""Active health checks, against a real upstream that falls ill and recovers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from proxy.app import build_app
from tests.relay.wire import Exchange, RawUpstream, config_of, word_model
from tests.serving import serving

ROUTES = """
version: 1
upstreams:
  checked:
    base_url: "${URL}/v1"
    api_key: sk-ours
    health_check: {path: /health, every: 20ms, timeout: 500ms}
models: {small: {target: {upstream: checked, name: m}}, other: {target: {upstream: checked, name: n}}}
default: small
"""


class Ill:
    """An upstream that is as well as it is told to be; a request that is no check fails the test."""

    def __init__(self, raw: RawUpstream) -> None:
        self.raw = raw
        self.status = b"200 OK"
        self.checks = threading.Semaphore(0)
        self.lines: set[bytes] = set()
        self.keys: set[bytes] = set()
        raw.script = self.answer

    def answer(self, exchange: Exchange) -> None:
        self.lines.add(exchange.line)
        self.keys.update(exchange.values(b"authorization"))
        exchange.answer(b" " * 300_000, status=self.status)  # it is long on its way behind the head
        self.checks.release()


@pytest.fixture
def ill() -> Iterator[Ill]:
    raw = RawUpstream()
    try:
        yield Ill(raw)
    finally:
        raw.close()


def states(http: httpx.Client) -> list[tuple[str, str | None]]:
    models = http.get("/v1/targets").json()["models"]
    return [(target["state"], target["reason"]) for model in models for target in model["targets"]]


def wait_for(http: httpx.Client, wanted: list[tuple[str, str | None]]) -> None:
    until = time.monotonic() + 10
    while (found := states(http)) != wanted:
        assert time.monotonic() < until, found
        time.sleep(0.01)


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Callable[[], set[str]]:
    """Why checks have failed so far, as the log has it."""
    caplog.set_level(logging.DEBUG, logger="proxy.relay.checking")
    return lambda: {vars(record)["error"] for record in caplog.records if record.message == "health check failed"}


def test_an_upstream_that_fails_its_checks_rests_and_is_back(ill: Ill, reasons: Callable[[], set[str]]) -> None:
    config = config_of(ROUTES, URL=f"http://127.0.0.1:{ill.raw.port}")
    with serving(build_app(config, load_model=word_model)) as served, httpx.Client(base_url=served.url) as http:
        assert ill.checks.acquire(timeout=10)
        wait_for(http, [("closed", None)] * 2)
        ill.status = b"500 Ill"
        wait_for(http, [("open", "health_check")] * 2)
        ill.status = b"404 Well"  # whoever has no such path answers, and so is there
        wait_for(http, [("closed", "health_check")] * 2)
    assert ill.lines == {b"GET /v1/health HTTP/1.1"}
    assert ill.keys == {b"Bearer sk-ours"}
    assert len(ill.raw._connections) == 1, "kept"
    assert reasons() == {"status 500"}


def test_an_upstream_that_does_not_answer_rests(ill: Ill, reasons: Callable[[], set[str]]) -> None:
    def keep_silent(exchange: Exchange) -> None:
        exchange.wait_until_left(10)

    ill.raw.script = keep_silent
    text = ROUTES.replace("timeout: 500ms", "timeout: 50ms")
    config = config_of(text, URL=f"http://127.0.0.1:{ill.raw.port}")
    with serving(build_app(config, load_model=word_model)) as served, httpx.Client(base_url=served.url) as http:
        wait_for(http, [("open", "health_check")] * 2)
    assert reasons() == {"no answer within 0.05 s"}


def test_without_a_check_nothing_is_asked(ill: Ill) -> None:
    text = "\n".join(line for line in ROUTES.splitlines() if "health_check" not in line)
    config = config_of(text, URL=f"http://127.0.0.1:{ill.raw.port}")
    with serving(build_app(config, load_model=word_model)) as served, httpx.Client(base_url=served.url) as http:
        assert http.get("/readyz").status_code == 200
    assert ill.raw.exchanges == []
