"""GET /v1/map: the topics' examples in two dimensions. Where a text stands among them, `/v1/route?map=1` tells."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.config import Config
from proxy.embedding import Vector
from proxy.endpoints.answers import send_json
from proxy.endpoints.running import running_of
from proxy.endpoints.ui import need_ui
from proxy.routing.topics import Topics

_MOST_POINTS = 2000
_MOST_CHARACTERS = 200
_NEAREST = 5


class ShowMap:
    """Every topic, and its first examples with their places, as many for each as make a map that can be looked at."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """
        `x` and `y` are in the vectors' own unit; a point's `topic` is its place in `topics`. Of another `revision`, as
        after a change of the topics, places cannot be compared.

        Raises:
            UnknownPath: routes.yaml turns it off.
        """
        running = running_of(scope)
        need_ui(running.config)
        found: dict[str, Any] = {"revision": None, "topics": [], "points": []}
        if running.topics is not None:
            found = await asyncio.to_thread(_map, running.config, running.topics)
        await send_json(send, found)


def _map(config: Config, topics: Topics) -> dict[str, Any]:
    most = max(1, _MOST_POINTS // len(topics.names))
    points = [
        {"topic": topic, "text": _short(text), "x": round(float(x), 4), "y": round(float(y), 4)}
        for topic, (name, rows) in enumerate(zip(topics.names, topics.examples, strict=True))
        for text, (x, y) in zip(config.topics[name].examples, topics.map.place(rows[:most]), strict=False)
    ]
    counts = [{"name": name, "examples": len(config.topics[name].examples)} for name in topics.names]
    return {"revision": topics.map.revision, "topics": counts, "points": points}


async def place_of(config: Config, topics: Topics, vector: Vector) -> dict[str, Any]:
    """Where a text stands on the map, and the examples that are most like it."""

    def place() -> dict[str, Any]:
        x, y = topics.map.place(vector[None])[0]
        nearest = [
            {
                "topic": topics.names[topic],
                "text": _short(config.topics[topics.names[topic]].examples[index]),
                "similarity": round(similarity, 4),
            }
            for topic, index, similarity in topics.nearest(vector, _NEAREST)
        ]
        revision = topics.map.revision
        return {"revision": revision, "x": round(float(x), 4), "y": round(float(y), 4), "nearest": nearest}

    return await asyncio.to_thread(place)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
