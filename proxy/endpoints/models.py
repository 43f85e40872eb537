"""GET /v1/models and /v1/models/{id}: what a client may ask for, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.config import Config
from proxy.endpoints.answers import send_json
from proxy.endpoints.running import running
from proxy.errors import UnknownModel
from proxy.routing.router import AUTO

_OWNER = "pointsman"


def _entry(name: str) -> dict[str, Any]:
    # OpenAI's `created` is when a model was made; nobody knows that here, and 0 says so to a reader of dates.
    return {"id": name, "object": "model", "created": 0, "owned_by": _OWNER}


def _names(config: Config) -> list[str]:
    return [AUTO, *config.models]


class ListModels:
    """`auto` and the models of routes.yaml."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer with the whole list; there are no pages, as at OpenAI."""
        data = [_entry(name) for name in _names(running(scope).config)]
        await send_json(send, {"object": "list", "data": data})


class GetModel:
    """One of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer with the model of this name, which may contain slashes."""
        name = scope["path_params"]["name"]
        if name not in _names(running(scope).config):
            raise UnknownModel(f"Model {name!r} is not served here; see /v1/models.", param="model")
        await send_json(send, _entry(name))
