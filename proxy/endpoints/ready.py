"""GET /readyz: may requests come, and on which configuration would they run?"""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.running import running_of

_SHORT = 12


class Readiness:
    """Whether requests may come; the server says when no more should."""

    is_draining = False
    """From the signal to end: requests are still answered, and whoever sends them should go elsewhere."""


class Ready:
    """
    Models and configuration are loaded, so requests may come.

    The server opens its port only after that, so whoever gets an answer gets this one, until the server drains.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """200, with what a reload did last, where a file is watched; 503 while the server drains."""
        running = running_of(scope)
        readiness: Readiness = scope["state"]["readiness"]
        if readiness.is_draining:
            await send_json(send, {"status": "draining"}, status=503)
            return
        told: dict[str, Any] = {
            "status": "ready",
            "models": len(running.config.models),
            "routes": len(running.config.routes),
            "policy": None if running.policy is None else running.policy.version,
        }
        if (reloads := scope["state"]["reloads"]) is not None:
            told["config"] = running.sha256[:_SHORT]
            told["reload"] = reloads.last and {"result": reloads.last.result, "time": reloads.last.time}
        await send_json(send, told)
