"""The facts of a request to Anthropic's `/messages`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import ClassVar

import msgspec

from proxy.config import Feature, WireProtocol
from proxy.routing.facts import Facts, is_filled_list, is_json_schema
from proxy.routing.lazy import lazy
from proxy.routing.parts import Message, Part, leniently, parts_given
from proxy.routing.reading import UNSET, Head, read_as, read_head, read_model, require, value_of


class _Head(Head):
    messages: msgspec.Raw = UNSET
    system: msgspec.Raw = UNSET
    max_tokens: msgspec.Raw = UNSET
    mcp_servers: msgspec.Raw = UNSET
    output_config: msgspec.Raw = UNSET
    output_format: msgspec.Raw = UNSET


class _Block(Part):
    content: msgspec.Raw = UNSET
    input: msgspec.Raw = UNSET

    def size(self) -> int | None:
        """As of any part, and of a call of a tool or a result of a search what is in it."""
        said = super().size()
        found = self.content if self.type == _SEARCH_RESULT else self.input
        return None if said is None else said + len(memoryview(found))


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Block] | None = None


_decode = msgspec.json.Decoder(_Head).decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_system = msgspec.json.Decoder(str | list[Part]).decode

_TOOL_RESULT = "tool_result"
_SEARCH_RESULT = "search_result"
# So begins what Claude Code tells the API in a block of its own: the first of the system prompt, and another each time.
_FOR_THE_API = "x-anthropic-"


class MessageFacts(Facts):
    """One request for a message."""

    protocol: ClassVar[WireProtocol] = "anthropic"

    _head: _Head

    @lazy
    def _messages(self) -> Sequence[Message]:
        found: list[Message] = []
        system, messages = read_as(_decode_system, self._head.system), read_as(_decode_messages, self._head.messages)
        if system is not None:
            found.append(Message("system", _prompt_of(system)))
        if messages is None:
            return found + leniently(self._head.messages)
        for message in messages:
            found += _messages_of(message)
        return found

    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        return (self._head.max_tokens,)

    def _features_asked(self) -> set[Feature]:
        """Servers of tools are tools; `output_format` is what `output_config.format` was called as a beta."""
        found = super()._features_asked()
        if is_filled_list(self._head.mcp_servers):
            found.add("tools")
        config = value_of(self._head.output_config)
        wanted = config.get("format") if isinstance(config, dict) else None
        if is_json_schema(wanted) or is_json_schema(value_of(self._head.output_format)):
            found.add("json_schema")
        return found

    @lazy
    def user(self) -> str | None:
        """The body's `metadata.user_id`."""
        value = value_of(self._head.metadata)
        user = value.get("user_id") if isinstance(value, dict) else None
        return user if isinstance(user, str) else None


def read_message(body: bytes, headers: Mapping[str, str]) -> Facts:
    """
    The facts of a `/messages` request.

    Raises:
        BadRequest: the body is not a JSON object in UTF-8 with a `model` and a list of `messages`.
    """
    head = read_head(_decode, body)
    model = read_model(head.model)
    require(head.messages, "messages", b"[", "an array")
    return MessageFacts(head, model=model, headers=headers)


def _prompt_of(system: str | list[Part]) -> str | list[Part]:
    """The system prompt as the model gets it."""
    if isinstance(system, str):
        return system
    return [part for part in system if part.text is None or not part.text.startswith(_FOR_THE_API)]


def _messages_of(message: _Message) -> Iterator[Message]:
    """As other APIs say it: what tools gave is a message of its own, where here it stands in a user's."""
    if not isinstance(message.content, list):
        yield Message(message.role, message.content)
        return
    if not message.content:
        yield Message(message.role)
    for is_result, blocks in groupby(message.content, lambda block: block.type == _TOOL_RESULT):
        if is_result:
            given = [part for block in blocks for part in parts_given(block.content)]
            yield Message("tool" if message.role == "user" else message.role, given)
        else:
            yield Message(message.role, list(blocks))
