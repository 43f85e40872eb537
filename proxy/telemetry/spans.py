"""The spans of a request: one of the server, one of its decision, and one of the client for each attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.telemetry import attributes
from proxy.telemetry.record import Record
from proxy.telemetry.trace import Attributes, Said, Trace

# Of W3C, and no other: what `OTEL_PROPAGATORS` may name besides passes through as any header does, baggage too.
_PROPAGATOR = TraceContextTextMapPropagator()


class SpanTracer:
    """Begins traces, or goes on with those that clients began."""

    def __init__(self, provider: TracerProvider, *, version: str) -> None:
        """
        Args:
            provider: whose spans they are.
            version: of this program.
        """
        self._tracer = provider.get_tracer("pointsman", version)

    def request(self, method: str, path: str, route: str, operation: str, headers: Mapping[str, str]) -> Trace:
        """As `Tracer.request`."""
        # A parent that cannot be read, or that came twice, is none: W3C Trace Context, section 4.
        parent = _PROPAGATOR.extract(headers) if "traceparent" in headers else None
        span = self._tracer.start_span(
            f"{method} {route}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes.of_request(method, path, route),
        )
        return _Spans(self._tracer, span, method, operation)


class _Spans(Trace):
    __slots__ = (
        "_attempt",
        "_decision",
        "_is_stream",
        "_method",
        "_operation",
        "_server",
        "_status",
        "_tracer",
        "_under",
        "is_recorded",
        "trace_id",
    )

    def __init__(self, tracer: OtelTracer, server: Span, method: str, operation: str) -> None:
        self._tracer = tracer
        self._server = server
        self._under = set_span_in_context(server)
        self._method = method
        self._operation = operation
        self._decision: Span | None = None
        self._attempt: Span | None = None
        self._status = 0  # of the attempt
        self._is_stream = False
        self.trace_id = format_trace_id(server.get_span_context().trace_id)
        self.is_recorded = server.is_recording()

    def deciding(self) -> None:
        if self.is_recorded:
            self._decision = self._tracer.start_span("decide", context=self._under)

    def decided(self, record: Record) -> None:
        self._is_stream = record.is_stream
        if self._decision is not None:
            self._end_decision(self._decision, record)

    def attempt(self, target: Attributes, before: int) -> None:
        operation, model = self._operation, target[attributes.REQUEST_MODEL]
        self._attempt = self._tracer.start_span(
            f"{operation} {model}" if operation else self._method,
            context=self._under,
            kind=SpanKind.CLIENT,
            attributes=attributes.of_attempt(target, self._method, operation, before, is_stream=self._is_stream),
        )
        self._status = 0

    def context(self) -> Sequence[tuple[bytes, bytes]]:
        if self._attempt is None:
            return ()
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=set_span_in_context(self._attempt))
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in carrier.items()]

    def replied(self, status: int) -> None:
        self._status = status
        if self._attempt is not None:
            self._attempt.set_attribute(attributes.STATUS, status)

    def attempt_ended(self, outcome: str) -> None:
        if self._attempt is not None:
            self._end_attempt(self._attempt, outcome)

    def end(self, record: Record, said: Said) -> None:
        if not self.is_recorded:
            return
        if self._decision is not None:  # it came to nothing
            self._end_decision(self._decision, record)
        if self._attempt is not None:
            self._attempt.set_attributes(attributes.of_answer(record, said))
            self._end_attempt(self._attempt, record.outcome or record.error)
        server = self._server
        server.set_attributes(attributes.of_end(record))
        _fail(server, attributes.error_of_request(record))
        server.end()

    def _end_decision(self, span: Span, record: Record) -> None:
        span.set_attributes(attributes.of_decision(record))
        span.set_attributes(attributes.of_stages(record))
        if record.error:  # also where the client is to blame, and the span is no error
            span.set_attribute(attributes.ERROR, record.error)
        _fail(span, attributes.error_of_request(record))
        span.end()
        self._decision = None

    def _end_attempt(self, span: Span, outcome: str) -> None:
        if outcome:
            span.set_attribute("pointsman.outcome", outcome)
        _fail(span, attributes.error_of_attempt(outcome, self._status))
        span.end()
        self._attempt = None


def _fail(span: Span, error: str) -> None:
    """The span failed so, if the error is not empty."""
    if error:
        span.set_attribute(attributes.ERROR, error)
        span.set_status(Status(StatusCode.ERROR))
