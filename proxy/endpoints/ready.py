"""GET /readyz: may requests come, and on which configuration would they run?"""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.running import running

_SHORT = 12


class Ready:
    """
    Models and configuration are loaded, so requests may come.

    The server opens its port only after that, so whoever gets an answer gets this one.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """200 once the app's lifespan has begun; with what a reload did last, where a file is watched."""
        held = running(scope)
        told: dict[str, Any] = {
            "status": "ready",
            "models": len(held.config.models),
            "routes": len(held.config.routes),
        }
        if (reloads := scope["state"]["reloads"]) is not None:
            told["config"] = held.sha256[:_SHORT]
            told["reload"] = reloads.last and {"result": reloads.last.result, "time": reloads.last.time}
        await send_json(send, told)
