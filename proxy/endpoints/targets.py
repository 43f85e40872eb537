"""GET /v1/targets: how each target does, as the worker sees it that answers."""

from __future__ import annotations

import os
from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.running import running_of
from proxy.relay.guests import Guests
from proxy.relay.upstreams import Target


class ListTargets:
    """The models, what they speak, and their targets: whether each gets requests, why not, and when it will."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """`worker` is the process that answers: each has its own view."""
        running = running_of(scope)
        models = [
            {
                "model": model,
                "protocol": running.config.protocol(model),
                "targets": [_told(target, running.upstreams.guests) for target in running.upstreams.targets(model)],
            }
            for model in running.config.models
        ]
        await send_json(send, {"worker": os.getpid(), "models": models})


def _told(target: Target, guests: Guests) -> dict[str, Any]:
    standing = target.health.standing()
    return {
        "target": target.label,
        "state": standing.state,
        "reason": standing.reason or None,
        "next_probe_s": round(standing.next_probe_s, 3),
        "in_flight": standing.in_flight,
        "latency_ms": None if standing.latency_s is None else round(standing.latency_s * 1e3, 3),
        "error_rate": round(standing.error_rate, 3),
        "weight": target.weight,
        "keys": len(target.keys),
        "keys_resting": [
            {"key": key.position, "reason": key.reason, "rest_s": round(key.rest_s, 3)}
            for key in target.keys.standing()
        ],
        "clients_limited": guests.limited_at(target.label),
    }
