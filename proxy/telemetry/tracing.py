"""Traces: what of a request is told to one, and whether there are any. OpenTelemetry itself is in `spans.py`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from proxy.telemetry.attributes import Attributes
    from proxy.telemetry.record import Record

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NEEDED = "opentelemetry.exporter.otlp.proto.http"


class Said(NamedTuple):
    """What an upstream's answer says of itself, as far as it does."""

    id: str | None = None
    model: str | None = None
    finish_reason: str | None = None


class Trace:
    """Of one request. This one goes nowhere, and stands where tracing is off."""

    __slots__ = ()

    trace_id = ""
    """32 hexadecimal digits; empty where there is no trace."""
    is_recorded = False
    """Whether what it is told goes anywhere; false too where the sampler left this request out."""

    def deciding(self) -> None:
        """The decision begins."""

    def decided(self, record: Record) -> None:
        """It is made."""

    def attempt(self, target: Attributes, before: int) -> None:
        """
        An attempt begins; the one before has ended.

        Args:
            target: what is constant about it, by `attributes.of_target`.
            before: attempts that were made already.
        """

    def context(self) -> Sequence[tuple[bytes, bytes]]:
        """Headers that make the upstream's own spans children of the attempt; none where the client's stay."""
        return ()

    def replied(self, status: int) -> None:
        """The attempt got a status."""

    def attempt_ended(self, outcome: str) -> None:
        """It ended, and is not the last."""

    def end(self, record: Record, said: Said) -> None:
        """
        The request is over, and with it the last attempt.

        Args:
            record: complete.
            said: by the answer; nothing of it is needed where `is_recorded` is false.
        """


class Tracer(Protocol):
    """Begins traces."""

    def request(self, method: str, path: str, route: str, operation: str, headers: Mapping[str, str]) -> Trace:
        """
        A request begins.

        Args:
            method: of HTTP.
            path: as the client sent it, without its query, which may hold a key.
            route: the same with what varies in braces.
            operation: of a model, in the words of the conventions (`chat`); empty where it is not known to be any.
            headers: the client's, which may name a parent.
        """


class _Untraced:
    def request(self, method: str, path: str, route: str, operation: str, headers: Mapping[str, str]) -> Trace:  # noqa: ARG002
        return UNTRACED


UNTRACED = Trace()
NO_TRACER: Tracer = _Untraced()


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector, in OpenTelemetry's own variables."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() != "none" and any(map(environ.get, _ENDPOINTS))


def why_not(environ: Mapping[str, str]) -> str:
    """What stands in the way of the traces that are wanted; empty when nothing does."""
    if (exporter := environ.get("OTEL_TRACES_EXPORTER", "otlp").strip()) not in ("otlp", "none", ""):
        return f"OTEL_TRACES_EXPORTER is {exporter!r}; spans can go to 'otlp' or 'none'"
    for name in _PROTOCOLS:
        if (protocol := environ.get(name, "").strip()) not in ("http/protobuf", ""):
            return f"{name} is {protocol!r}; spans are sent as 'http/protobuf', to port 4318 as a rule"
    if not _is_installed():
        return "the extra is not installed; pip install '.[otel]' in the checkout, or unset OTEL_EXPORTER_OTLP_ENDPOINT"
    return ""


def _is_installed() -> bool:
    try:
        return find_spec(_NEEDED) is not None and find_spec("opentelemetry.sdk.trace") is not None
    except ModuleNotFoundError:  # a part of the way there is missing
        return False


@asynccontextmanager
async def tracing(environ: Mapping[str, str], registry: CollectorRegistry, *, version: str) -> AsyncIterator[Tracer]:
    """
    The tracer of this process until the block ends, when what is left is sent, within a few seconds.

    Trouble with it is logged, and never stops anything else.

    Args:
        environ: names the collector; without one nothing of OpenTelemetry is imported.
        registry: gets the series of tracing, if there is any.
        version: of this program.
    """
    if not is_wanted(environ):
        yield NO_TRACER
        return
    if reason := why_not(environ):
        logger.error("tracing is off", extra={"reason": reason})
        yield NO_TRACER
        return
    try:
        from proxy.telemetry.exporting import Exporting  # some variables are read by what it imports
        from proxy.telemetry.spans import SpanTracer

        exporting = Exporting(environ, registry, version=version)
    except ValueError as error:  # a number that is none, in one of the variables
        logger.error("tracing is off", extra={"reason": str(error)})
        yield NO_TRACER
        return
    try:
        yield SpanTracer(exporting.provider, version=version)
    finally:
        await exporting.close()
