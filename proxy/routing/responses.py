"""The facts of a request to `/responses`: its input may be a text, or items of which messages are one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from proxy.config import AUTO, Feature, Text
from proxy.routing.decoding import UNREADABLE, reading_halves
from proxy.routing.facts import CONVERSATION_HEADER, Facts, callers_answer, conversation_after, is_json_schema
from proxy.routing.lazy import lazy
from proxy.routing.parts import Message, Part, parts_given
from proxy.routing.reading import UNSET, Head, read_as, read_head, read_model, value_of


class _Head(Head):
    input: msgspec.Raw = UNSET
    instructions: msgspec.Raw = UNSET
    text: msgspec.Raw = UNSET
    max_output_tokens: msgspec.Raw = UNSET
    previous_response_id: msgspec.Raw = UNSET
    conversation: msgspec.Raw = UNSET
    background: msgspec.Raw = UNSET
    prompt: msgspec.Raw = UNSET


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: str | list[Part] | None = None
    output: msgspec.Raw = UNSET
    arguments: str | None = None
    input: Any = None
    encrypted_content: msgspec.Raw = UNSET


class _Tool(msgspec.Struct):
    vector_store_ids: Any = None
    container: Any = None


_decode = msgspec.json.Decoder(_Head).decode
_decode_passed = reading_halves(_decode)
_decode_tools = msgspec.json.Decoder(list[_Tool]).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class ResponseFacts(Facts):
    """One request for a response."""

    is_kept: ClassVar[bool] = True

    _head: _Head

    @lazy
    def _messages(self) -> Sequence[Message]:
        found: list[Message] = []
        if isinstance(instructions := value_of(self._head.instructions), str):
            found.append(Message("system", instructions))
        found += map(_message_of, self._items)
        if not self._items and isinstance(said := value_of(self._head.input), str):
            found.append(Message("user", said))
        return found

    @lazy
    def _items(self) -> list[msgspec.Raw]:
        if bytes(memoryview(self._head.input)[:1]) != b"[":
            return []
        return read_as(_decode_items, self._head.input) or []

    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        return (self._head.max_output_tokens,)

    def _features_asked(self) -> set[Feature]:
        found = super()._features_asked()
        text = value_of(self._head.text)
        if isinstance(text, dict) and is_json_schema(text.get("format")):
            found.add("json_schema")
        return found

    @lazy
    def goes_on_from(self) -> str:
        """Of a response or a conversation."""
        return self._previous or self._kept_conversation

    @lazy
    def _previous(self) -> str:
        previous = value_of(self._head.previous_response_id)
        return previous if isinstance(previous, str) else ""

    @lazy
    def _kept_conversation(self) -> str:
        kept = value_of(self._head.conversation)
        kept = kept.get("id") if isinstance(kept, dict) else kept
        return kept if isinstance(kept, str) else ""

    @property
    def is_in_kept_conversation(self) -> bool:
        """Whether an upstream keeps the conversation, and not only the response before."""
        return not self._previous and bool(self._kept_conversation)

    @property
    def is_background(self) -> bool:
        """Whether `background` is true."""
        return bytes(self._head.background) == b"true"

    @lazy
    def refers_to_items(self) -> bool:
        """
        As Vercel's AI SDK does of all that a model has said, or where that is not stored, the reasoning comes back
        encrypted.
        """
        return any(map(_is_of_one_upstream, self._items))

    @lazy
    def names_files(self) -> bool:
        """As of any request, or a tool is given files, a store of them, or the container that they are in."""
        return super().names_files or any(map(_has_files, self._tools))

    @property
    def _tools(self) -> list[_Tool]:
        return read_as(_decode_tools, self._head.tools) or []

    def is_bound(self, which: Text) -> bool:
        """As of any request, or what came before is kept by an upstream, and no other knows of it."""
        return bool(self.goes_on_from) or self.refers_to_items or super().is_bound(which)

    @property
    def starts_conversation(self) -> bool:
        """As of any request; never of one that goes on from what an upstream keeps."""
        return not self.goes_on_from and super().starts_conversation

    @lazy
    def conversation(self) -> str:
        """What it goes on from, else as of any request."""
        return conversation_after(self.goes_on_from) if self._is_named_by_it else super().conversation

    @lazy
    def caller_conversation(self) -> str:
        """As of any request, or as of the answer that it goes on from."""
        return callers_answer(self.headers, self.goes_on_from) if self._is_named_by_it else super().caller_conversation

    @property
    def _is_named_by_it(self) -> bool:
        return bool(self.goes_on_from) and not self.headers.get(CONVERSATION_HEADER)


def read_response(body: bytes, headers: Mapping[str, str]) -> Facts:
    """
    The facts of a `/responses` request. `input` need not be there: a stored prompt may stand for it. Nor need `model`
    beside one, and is `auto` then.

    Raises:
        BadRequest: the body is not a JSON object in UTF-8 with a `model` or a stored prompt.
    """
    head = read_head(_decode, body)
    may_lack_model = bytes(memoryview(head.prompt)[:1]) == b"{"
    model = AUTO if may_lack_model and head.model is UNSET else read_model(head.model)
    return ResponseFacts(head, model=model, headers=headers)


def read_passed(body: bytes, headers: Mapping[str, str]) -> Facts | None:
    """
    The facts of a body that goes on as a request for a response does, and is not routed; None where it cannot be read,
    for then the upstream judges.
    """
    try:
        if not body.isascii():  # decoding the top level does not look at the UTF-8 of what it skips
            body.decode("utf-8")
        return ResponseFacts(_decode_passed(body), model="", headers=headers)
    except UNREADABLE:
        return None


def _has_files(tool: _Tool) -> bool:
    container = tool.container
    named = container.get("file_ids") if isinstance(container, dict) else isinstance(container, str)
    return bool(tool.vector_store_ids or named)


def _is_of_one_upstream(raw: msgspec.Raw) -> bool:
    item = read_as(_decode_item, raw)
    return item is not None and (item.type == "item_reference" or bool(value_of(item.encrypted_content)))


def _message_of(raw: msgspec.Raw) -> Message:
    """An item as a message: a call of a tool is the assistant's, its output is the tool's."""
    item = read_as(_decode_item, raw)
    if item is None:
        return Message()
    if item.type == "message":
        return Message(item.role, item.content)
    if item.type.endswith("_output"):
        return Message("tool", parts_given(raw if item.output is UNSET else item.output))
    return Message("assistant", item.input if isinstance(item.input, str) else item.arguments)
