"""The kinds of requests that are routed: where each comes, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from proxy.config import AUTO, Config, WireProtocol
from proxy.routing.chat import prompt_body, read_chat
from proxy.routing.completions import read_completion
from proxy.routing.decoding import UNREADABLE
from proxy.routing.facts import Facts
from proxy.routing.messages import read_message
from proxy.routing.reading import UNSET
from proxy.routing.responses import read_response


@dataclass(frozen=True, slots=True)
class Api:
    """One of them."""

    path: str
    """Below `/v1` here and below `base_url` at an upstream."""
    read: Callable[[bytes, Mapping[str, str]], Facts]
    """Reads a body and its headers; raises a BadRequest for one that is none of its kind."""
    operation: str
    """What a model does for it, as OpenTelemetry's conventions for generative AI call that."""


CHAT = Api("/chat/completions", read_chat, "chat")
COMPLETIONS = Api("/completions", read_completion, "text_completion")
RESPONSES = Api("/responses", read_response, "chat")
MESSAGES = Api("/messages", read_message, "chat")
APIS = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)


class _Shape(msgspec.Struct):
    messages: msgspec.Raw = UNSET
    input: msgspec.Raw = UNSET
    prompt: msgspec.Raw = UNSET


_decode = msgspec.json.Decoder(_Shape).decode


def protocol_of(headers: Mapping[str, str]) -> WireProtocol:
    """What a client speaks, where neither path nor body tells: Anthropic's clients name a version of the API."""
    return "anthropic" if "anthropic-version" in headers else "openai"


def api_of(body: bytes, headers: Mapping[str, str]) -> Api:
    """The kind that a body is of, by what it has; a chat request's where that is not to be told."""
    if protocol_of(headers) == "anthropic":
        return MESSAGES
    try:
        shape = _decode(body)
    except UNREADABLE:
        return CHAT
    if bytes(shape.messages):
        return CHAT
    prompt = bytes(memoryview(shape.prompt)[:1])
    if bytes(shape.input) or prompt == b"{":  # one that the upstream keeps
        return RESPONSES
    return COMPLETIONS if prompt else CHAT


def read_prompt(
    prompt: str,
    config: Config,
    protocol: WireProtocol | None = None,
    *,
    model: str = AUTO,
    headers: Mapping[str, str] | None = None,
) -> Facts:
    """
    The facts of a request with this one user message, outside a server.

    Args:
        prompt: the message.
        config: what routes.yaml says.
        protocol: of OpenAI's chats or Anthropic's messages; when None OpenAI's, if a model speaks it.
        model: that is asked for.
        headers: names in lower case.
    """
    if protocol is None:
        speaks_openai = any(config.protocol(name) == "openai" for name in config.models)
        protocol = "openai" if speaks_openai else "anthropic"
    return (CHAT if protocol == "openai" else MESSAGES).read(prompt_body(prompt, model), headers or {})
