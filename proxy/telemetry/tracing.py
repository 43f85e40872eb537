"""Whether there are traces, and how they begin."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from proxy.telemetry.trace import NO_TRACER, Tracer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NEEDED = "opentelemetry.exporter.otlp.proto.http"


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
