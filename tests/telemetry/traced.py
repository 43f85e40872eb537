"""A running Pointsman that reports to a collector, for tests that look at both."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.relay.wire import ROUTES, House
from tests.relay.wire import house as open_house
from tests.telemetry.collector import Collector, Seen, collecting

WITH_MORE = (
    ROUTES.replace("models:", "  anthropic: {base_url: '${RAW}/v1', protocol: anthropic}\nmodels:")
    .replace(
        "  raw: {target: {upstream: raw, name: raw-model}}",
        "  raw: {target: {upstream: raw, name: raw-model}}\n"
        "  claude: {target: {upstream: anthropic, name: claude-model}}\n"
        "  shaky: {target: {upstream: raw, name: shaky-model}, fallbacks: [sim]}",
    )
    .replace(
        "routes:", "routes:\n  - {name: closed, when: {header: {x-closed: 'yes'}}, block: {status: 403, message: no}}"
    )
)
PLAIN = b'{"id":"c-1","model":"made-7","choices":[{"message":{"content":"the reply"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5}}}'


class Traced:
    """A house, and the collector that it reports to."""

    def __init__(self, house: House, collector: Collector) -> None:
        self.house = house
        self.collector = collector

    def chat(
        self, model: str, *, headers: dict[str, str] | None = None, **fields: object
    ) -> tuple[httpx.Response, str]:
        """The answer, and the id of the trace that the client began."""
        trace_id, parent = parent_of()
        return self.house.chat(model, headers={"traceparent": parent, **(headers or {})}, **fields), trace_id


def parent_of(flags: str = "01") -> tuple[str, str]:
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-00f067aa0ba902b7-{flags}"


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@contextmanager
def heard_at_the_root() -> Iterator[list[logging.LogRecord]]:
    """What the program's log gets; caplog would listen at loggers too that keep their records to themselves."""
    records: list[logging.LogRecord] = []
    handler, root = logging.Handler(logging.INFO), logging.getLogger()
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield records
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@contextmanager
def nothing_of(module: str) -> Iterator[None]:
    """As if this module, and with it all below it, were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, module, None)
        yield


@contextmanager
def traced_house(routes: str = WITH_MORE, **variables: str) -> Iterator[Traced]:
    with (
        collecting() as collector,
        environment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables),
        open_house(routes) as house,
    ):
        yield Traced(house, collector)


def only(spans: dict[str, list[Seen]], kind: str) -> Seen:
    [span] = spans[kind]
    return span
