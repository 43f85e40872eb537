"""From a span that has ended to the collector, past a bounded queue; a collector that is down costs spans only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter

logger = logging.getLogger(__name__)

# The SDK's own, unless the environment says otherwise.
_QUEUE = 2048
# The name of a model is the client's to choose, and as long as a body may be.
_LONGEST = 1000
# Things that the SDK says, of which more are not kept.
_MOST_SAID = 10
# Loggers of what reads the variables with headers: a malformed one is logged verbatim, and it may be a key.
_READERS = "opentelemetry.util."
# For what is left at the end. The SDK would wait for 30 s.
_PATIENCE_S = 3.0

DropCause = Literal["queue_full", "export_failed"]


class _Sdk(logging.Handler):
    """Hears what the SDK logs, which is each batch and each try, so that it can be told once."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        """The first few since it was emptied."""

    def listen(self) -> None:
        """From now on nobody else hears it."""
        self.said.clear()
        whole = logging.getLogger("opentelemetry")
        whole.propagate = False
        whole.setLevel(logging.WARNING)
        whole.addHandler(self)  # once, however often it is asked for

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.said) == _MOST_SAID:
            return
        # Of an error only the name: its text has the endpoint, which may have a key.
        args = [type(arg).__name__ if isinstance(arg, BaseException) else arg for arg in record.args or ()]
        if record.name.startswith(_READERS):
            args = ["..."] * len(args)
        try:
            self.said.append(record.msg % tuple(args))
        except (TypeError, ValueError):
            self.said.append(record.msg)


_sdk = _Sdk()


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.dropped = Counter(
            "pointsman_spans_dropped", "Spans that did not reach the collector.", ["cause"], registry=registry
        )
        for cause in get_args(DropCause):
            self.dropped.labels(cause)


class _Exporter(SpanExporter):
    """Says in one line that the collector does not take spans, and in another that it does again."""

    def __init__(self, metrics: _Metrics) -> None:
        self._to_collector = OTLPSpanExporter()
        self._failed = metrics.dropped.labels("export_failed")
        self._is_failing = False
        self.taken = 0
        """Spans that have left the queue."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        _sdk.said.clear()
        result = self._to_collector.export(spans)
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing:
            self._failed.inc(len(spans))
        if is_failing != self._is_failing:
            self._is_failing = is_failing
            if is_failing:
                logger.warning("spans do not reach the collector", extra={"reason": "".join(_sdk.said[:1])})
            else:
                logger.info("spans reach the collector again")
        return result

    def shutdown(self) -> None:
        self._to_collector.shutdown()  # type: ignore[no-untyped-call]


class _Door(SpanProcessor):
    """
    Before the queue: counts what finds no room.

    The SDK would push out the oldest span in its place, and log each.
    """

    def __init__(self, exporter: _Exporter, metrics: _Metrics, most: int) -> None:
        self._exporter = exporter
        self._queue = BatchSpanProcessor(exporter, max_queue_size=most)
        self._most = most
        self._given = 0
        self._full = metrics.dropped.labels("queue_full")

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._given - self._exporter.taken >= self._most:
            self._full.inc()
        else:
            self._given += 1
            self._queue.on_end(span)

    def shutdown(self) -> None:
        self._queue.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._queue.force_flush(timeout_millis)


class Exporting:
    """
    The provider of this process and its way to the collector, all as OpenTelemetry's environment variables say.

    Made in the process that serves: its thread would not live on in a fork.

    Attributes:
        provider: makes tracers.
    """

    def __init__(self, environ: Mapping[str, str], registry: CollectorRegistry, *, version: str) -> None:
        """
        Args:
            environ: the process's own, which the SDK reads too.
            registry: gets the series.
            version: of this program.

        Raises:
            ValueError: a variable holds what it cannot.
        """
        _sdk.listen()
        most = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", default=_QUEUE)
        longest = _number(
            environ, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", default=_LONGEST
        )
        named = Resource.create()  # has the service's name by the environment, or that of a Python
        own = {"service.version": version}
        if str(named.attributes["service.name"]).startswith("unknown_service"):
            own["service.name"] = "pointsman"
        self.provider = TracerProvider(
            resource=named.merge(Resource(own)),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=longest),
        )
        metrics = _Metrics(registry)
        self._exporter = _Exporter(metrics)
        self.provider.add_span_processor(_Door(self._exporter, metrics, most))
        if _sdk.said:  # of a sampler that there is not, of a delay that is no number: it goes on with its defaults
            logger.warning("tracing is not as it was set", extra={"reason": "; ".join(_sdk.said)})

    async def close(self) -> None:
        """Send what is left, within a few seconds."""
        loop, is_sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self.provider.shutdown()
            with contextlib.suppress(RuntimeError):  # too late, and the loop is closed
                loop.call_soon_threadsafe(is_sent.set)

        # Of its own, since nobody waits for it at the end of the process where it takes longer.
        threading.Thread(target=send, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await is_sent.wait()
        except TimeoutError:
            self._exporter.shutdown()  # ends the wait between two tries
            logger.warning("the last spans were not sent", extra={"waited_s": _PATIENCE_S})


def _number(environ: Mapping[str, str], *names: str, default: int) -> int:
    """
    What the first of these variables that is set says.

    Raises:
        ValueError: that is no number.
    """
    for name in names:
        if value := environ.get(name):
            try:
                return int(value)
            except ValueError:
                raise ValueError(f"{name} is {value!r}, which is no whole number") from None
    return default
