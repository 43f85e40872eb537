"""The facts of a request to `/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from proxy.config import AUTO, Feature
from proxy.routing.facts import Facts, is_filled_list, is_json_schema
from proxy.routing.lazy import lazy
from proxy.routing.parts import Message, leniently
from proxy.routing.reading import UNSET, Head, read_as, read_head, read_model, require, value_of


class _Head(Head):
    messages: msgspec.Raw = UNSET
    functions: msgspec.Raw = UNSET
    response_format: msgspec.Raw = UNSET
    modalities: msgspec.Raw = UNSET
    max_tokens: msgspec.Raw = UNSET
    max_completion_tokens: msgspec.Raw = UNSET


_decode = msgspec.json.Decoder(_Head).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode


class ChatFacts(Facts):
    """One chat request."""

    _head: _Head

    @lazy
    def _messages(self) -> Sequence[Message]:
        messages = read_as(_decode_messages, self._head.messages)
        return leniently(self._head.messages) if messages is None else messages

    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        return self._head.max_completion_tokens, self._head.max_tokens

    def _features_asked(self) -> set[Feature]:
        found = super()._features_asked()
        if is_filled_list(self._head.functions):
            found.add("tools")
        if is_json_schema(value_of(self._head.response_format)):
            found.add("json_schema")
        modalities = value_of(self._head.modalities)
        if isinstance(modalities, list) and "audio" in modalities:
            found.add("audio")
        return found


def read_chat(body: bytes, headers: Mapping[str, str]) -> Facts:
    """
    The facts of a `/chat/completions` request.

    Raises:
        BadRequest: the body is not a JSON object in UTF-8 with a `model` and a list of `messages`.
    """
    head = read_head(_decode, body)
    model = read_model(head.model)
    require(head.messages, "messages", b"[", "an array")
    return ChatFacts(head, model=model, headers=headers)


def prompt_body(prompt: str, model: str = AUTO) -> bytes:
    """The request with this one user message, for a chat as for Anthropic's API."""
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": prompt}]})
