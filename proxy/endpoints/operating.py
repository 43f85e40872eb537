"""GET /healthz and /metrics: for whoever runs this."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_body, send_json
from proxy.endpoints.running import running_of
from proxy.telemetry.metrics import CONTENT_TYPE, exposition


class Health:
    """The process is up and its event loop turns."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Always 200."""
        await send_json(send, {"status": "ok"})


class PrometheusMetrics:
    """Every series, summed over all workers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Prometheus' text format."""
        # In a thread: with a thousand topics it is 3 MB and takes 0.4 s, in which requests go on.
        text = await asyncio.to_thread(exposition, running_of(scope).recorder.metrics.registry)
        await send_body(send, text, content_type=CONTENT_TYPE.encode("ascii"))
