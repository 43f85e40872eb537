"""GET /v1/models and /v1/models/{id}: what a client may ask for, in the shape of its API."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.config import AUTO, Config, WireProtocol
from proxy.endpoints.answers import send_json
from proxy.endpoints.running import running_of
from proxy.errors import UnknownModel
from proxy.routing.apis import protocol_of
from proxy.routing.reading import header_map

_OWNER = "pointsman"


def _entry(name: str, protocol: WireProtocol) -> dict[str, Any]:
    # When a model was made nobody knows here, and the beginning of time says so to a reader of dates, in both APIs.
    if protocol == "anthropic":
        created = "1970-01-01T00:00:00Z"
        return {"type": "model", "id": name, "display_name": name, "created_at": created, "lifecycle": "active"}
    return {"id": name, "object": "model", "created": 0, "owned_by": _OWNER}


def _names(config: Config, protocol: WireProtocol) -> list[str]:
    """To OpenAI's clients, that is whoever does not say to be another, all: so an operator sees what is there."""
    return [AUTO, *(name for name in config.models if protocol == "openai" or config.protocol(name) == protocol)]


class ListModels:
    """`auto` and the models of routes.yaml; to a client of Anthropic's API those that speak it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer with the whole list; there are no pages, as at OpenAI."""
        protocol = protocol_of(header_map(scope["headers"]))
        names = _names(running_of(scope).config, protocol)
        listed: dict[str, Any] = {"data": [_entry(name, protocol) for name in names]}
        if protocol == "anthropic":
            listed |= {"has_more": False, "first_id": names[0], "last_id": names[-1]}
        else:
            listed = {"object": "list"} | listed
        await send_json(send, listed)


class GetModel:
    """One of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer with the model of this name, which may contain slashes."""
        protocol, name = protocol_of(header_map(scope["headers"])), scope["path_params"]["name"]
        if name not in _names(running_of(scope).config, protocol):
            raise UnknownModel(f"Model {name!r} is not served here; see /v1/models.", param="model")
        await send_json(send, _entry(name, protocol))
