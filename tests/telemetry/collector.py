"""A collector: takes spans as OTLP over HTTP, and shows them as tests want to see them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import Receive, Scope, Send

from tests.serving import serving

KINDS = {1: "internal", 2: "server", 3: "client"}


@dataclass(frozen=True)
class Seen:
    """One span."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent: str
    state: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    is_error: bool
    began: int  # nanoseconds
    ended: int


class Collector:
    """Where spans arrive."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.bodies: list[bytes] = []
        self.headers: list[dict[bytes, bytes]] = []
        self._spans: list[Seen] = []
        self._came = threading.Condition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert (scope["method"], scope["path"]) == ("POST", "/v1/traces")
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        with self._came:
            self.bodies.append(body)
            self.headers.append(dict(scope["headers"]))
            if self.status == 200:
                self._spans += _spans(body)
            self._came.notify_all()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body"})

    def wait_for_batches(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.bodies) >= count, 5), "no more came"

    def trace(self, trace_id: str) -> dict[str, list[Seen]]:
        """All spans of a trace by kind, once that of the server, which ends last, is here; in their order."""
        with self._came:
            assert self._came.wait_for(lambda: any(span.kind == "server" for span in self._of(trace_id)), 5), trace_id
            found: dict[str, list[Seen]] = {"server": [], "internal": [], "client": []}
            for span in sorted(self._of(trace_id), key=lambda span: span.began):
                found[span.kind].append(span)
            return found

    def has(self, trace_id: str) -> bool:
        with self._came:
            return bool(self._of(trace_id))

    def _of(self, trace_id: str) -> list[Seen]:
        return [span for span in self._spans if span.trace_id == trace_id]


def _spans(body: bytes) -> Iterator[Seen]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.name, KINDS[span.kind], span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    span.trace_state, _plain(span.attributes), _plain(group.resource.attributes),
                    span.status.code == 2, span.start_time_unix_nano, span.end_time_unix_nano,
                )  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""
    collector = Collector()
    with serving(collector) as served:
        collector.url = served.url
        yield collector
