"""Whether there are traces, how many, and what becomes of them where nobody takes them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time

import pytest
from prometheus_client import CollectorRegistry

from proxy.telemetry.trace import NO_TRACER
from proxy.telemetry.tracing import is_wanted, tracing, why_not
from tests.relay.wire import house as open_house
from tests.telemetry.traced import (
    environment,
    heard_at_the_root,
    nothing_of,
    only,
    traced_house,
)


def test_the_sampler_is_the_environments() -> None:
    with traced_house(
        OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0", OTEL_SERVICE_NAME="gate"
    ) as traced:
        assert traced.house.chat("raw").status_code == 200
        [sent] = traced.house.raw.last.values(b"traceparent")
        assert not int(sent[-2:], 16) & 1
        _, trace_id = traced.chat("raw")  # whose client decided that it is sampled
        assert only(traced.collector.trace(trace_id), "server").resource["service.name"] == "gate"
        assert not traced.collector.has(sent.decode().split("-")[1])


def test_what_is_left_is_sent_at_the_end() -> None:
    with traced_house(OTEL_BSP_SCHEDULE_DELAY="600000") as traced:
        _, trace_id = traced.chat("raw")
        traced.house.wait_for_metric("pointsman_in_flight", 0)
        assert not traced.collector.has(trace_id)
        collector = traced.collector
    assert collector.has(trace_id)


def test_a_collector_that_is_down_costs_spans_and_one_line() -> None:
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    with traced_house(**small) as traced, heard_at_the_root() as records:
        traced.collector.status = 400  # which is not tried again
        for _ in range(20):
            assert traced.house.chat("raw").status_code == 200
        traced.collector.wait_for_batches(2)
        deadline = time.monotonic() + 5
        lost = 0.0
        while lost < 60:
            assert time.monotonic() < deadline, lost
            lost = sum(
                traced.house.metric(f'pointsman_spans_dropped_total{{cause="{cause}"}}')
                for cause in ("queue_full", "export_failed")
            )
        traced.collector.status = 200
        _, trace_id = traced.chat("raw")
        traced.collector.trace(trace_id)
    assert lost == 60
    told = [record for record in records if "collector" in record.getMessage()]
    assert [record.getMessage() for record in told] == [
        "spans do not reach the collector",
        "spans reach the collector again",
    ]
    assert "code: 400" in told[0].__dict__["reason"]
    assert not [record for record in records if record.name.startswith("opentelemetry")]


def test_the_end_does_not_wait_for_a_collector_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.exporting._PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with environment(OTEL_EXPORTER_OTLP_ENDPOINT=url), open_house() as house:
            assert house.chat("raw").status_code == 200
            began = time.monotonic()
        assert time.monotonic() - began < 3


def test_off_the_headers_pass_and_nothing_is_imported(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_of("opentelemetry"), environment(OTEL_EXPORTER_OTLP_ENDPOINT=""), open_house() as house:
        assert house.chat("raw", headers={"traceparent": "as it came", "tracestate": "a=1"}).status_code == 200
        assert house.raw.last.values(b"traceparent") == [b"as it came"]
        assert house.raw.last.values(b"tracestate") == [b"a=1"]
        assert "spans_dropped" not in house.http.get("/metrics").text
    assert not [record for record in caplog.records if record.msg == "tracing is off"]


@pytest.mark.parametrize(
    ("environ", "wanted", "trouble"),
    [
        pytest.param({}, False, "", id="nothing-said"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False, "", id="empty"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True, "", id="endpoint"),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, True, "", id="endpoint-of-traces"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False, "", id="disabled"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False, "", id="capitals"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False, "", id="none"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, True, "'zipkin'", id="zipkin"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True, "'grpc'", id="grpc"
        ),
    ],
)  # fmt: skip
def test_the_environment_decides(environ: dict[str, str], wanted: bool, trouble: str) -> None:
    assert is_wanted(environ) is wanted
    assert (trouble in why_not(environ)) if trouble else (not wanted or not why_not(environ))


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry"])
def test_without_the_extra_that_is_said(missing: str, caplog: pytest.LogCaptureFixture) -> None:
    async def begin() -> None:
        named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
        async with tracing(named, CollectorRegistry(), version="1") as tracer:
            assert tracer is NO_TRACER

    with nothing_of(missing):
        asyncio.run(begin())
    [line] = caplog.records
    assert "pip install '.[otel]' in the checkout" in line.__dict__["reason"]


def test_a_bad_number_turns_it_off_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}
    with environment(**named), open_house() as house:
        assert house.chat("raw").status_code == 200
    assert [record.__dict__["reason"] for record in caplog.records if record.msg == "tracing is off"] == [
        "OTEL_BSP_MAX_QUEUE_SIZE is 'many', which is no whole number"
    ]


def test_a_number_that_is_read_as_it_is_imported_stops_no_start() -> None:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}
    script = (
        "import asyncio, os\n"
        "from prometheus_client import CollectorRegistry\n"
        "from proxy.telemetry.tracing import tracing\n"
        "async def begin():\n"
        "    async with tracing(os.environ, CollectorRegistry(), version='1'): print('served')\n"
        "asyncio.run(begin())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], env={**os.environ, **named}, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("served\n", "tracing is off\n")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10%"},
            "TRACES_SAMPLER_ARG", id="a-share-in-percent",
        ),
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5"}, "TRACES_SAMPLER_ARG", id="over-all"
        ),
        pytest.param({"OTEL_TRACES_SAMPLER": "allways_on"}, "sampler allways_on", id="no-sampler"),
        pytest.param({"OTEL_BSP_SCHEDULE_DELAY": "5s"}, "OTEL_BSP_SCHEDULE_DELAY", id="a-unit"),
        pytest.param(
            {"OTEL_BSP_EXPORT_TIMEOUT": "1m", "OTEL_TRACES_SAMPLER": "some"}, "sampler some.; ", id="two-of-them"
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_HEADERS": "Bearer sk-secret"}, "Header format invalid", id="no-header"),
    ],
)  # fmt: skip
def test_what_the_defaults_stand_in_for_is_told(variables: dict[str, str], told: str) -> None:
    with heard_at_the_root() as records, traced_house(**variables) as traced:
        _, trace_id = traced.chat("raw")
        traced.collector.trace(trace_id)
    (record,) = [record for record in records if record.getMessage() == "tracing is not as it was set"]
    assert told in record.__dict__["reason"]
    assert "sk-secret" not in record.__dict__["reason"]
