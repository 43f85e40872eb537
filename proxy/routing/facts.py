"""
The few things of a request that routing reads.

The body is never modelled beyond them: an unknown field, a 64-bit seed or a ten-megabyte image passes through
as it came. Reading is lenient wherever OpenAI itself would judge: a message of a shape that nobody knows has
no text to route on, and goes to the upstream, whose answer tells the client more than a guess made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from proxy.config import Feature, Text
from proxy.errors import BadRequest

CONVERSATION_HEADER = "x-pointsman-conversation"

_UNSET_RAW = msgspec.Raw(b"")
_PARTS: dict[str, Feature] = {
    "image_url": "images",
    "input_image": "images",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
}
_TOOL_ROLES = ("tool", "function")
# What the tokens of one image cost is the provider's secret; this is a middle of the published tables.
_TOKENS_PER_IMAGE = 800
_TOKENS_PER_MESSAGE = 4
# UTF-8 bytes per token: about right for English and code, and, since scripts that need more tokens per
# character also need more bytes per character, not far off for the others.
_BYTES_PER_TOKEN = 4


class _Head(msgspec.Struct):
    """The top level, as far as it is read. What has no field here is skipped, not stored."""

    model: msgspec.Raw = _UNSET_RAW
    messages: msgspec.Raw = _UNSET_RAW
    stream: msgspec.Raw = _UNSET_RAW
    tools: msgspec.Raw = _UNSET_RAW
    functions: msgspec.Raw = _UNSET_RAW
    response_format: msgspec.Raw = _UNSET_RAW
    modalities: msgspec.Raw = _UNSET_RAW
    max_tokens: msgspec.Raw = _UNSET_RAW
    max_completion_tokens: msgspec.Raw = _UNSET_RAW
    metadata: msgspec.Raw = _UNSET_RAW
    user: msgspec.Raw = _UNSET_RAW
    prompt_cache_key: msgspec.Raw = _UNSET_RAW


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Part] | None = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_str = msgspec.json.Decoder(str).decode


class Facts:
    """One chat request as routing sees it. What costs time is read when first asked for."""

    def __init__(self, head: _Head, *, model: str, headers: Mapping[str, str]) -> None:
        """
        Args:
            head: the JSON of the members that are read.
            model: the name that the client asked for.
            headers: by lower-case name; of several of one name the values joined by commas.
        """
        self.model = model
        self.headers = headers
        self.is_stream = bytes(head.stream) == b"true"
        self._head = head
        self._text: tuple[Text, str] | None = None
        self._folded: tuple[str, str] | None = None

    @cached_property
    def _messages(self) -> Sequence[_Message]:
        try:
            return _decode_messages(self._head.messages)
        except (msgspec.ValidationError, RecursionError):
            return _leniently(self._head.messages)

    @cached_property
    def tokens(self) -> int:
        """An estimate of the prompt's tokens: messages, images and tools."""
        size = len(memoryview(self._head.tools))
        images = 0
        for message in self._messages:
            if isinstance(message.content, str):
                size += _utf8_length(message.content)
            elif message.content is not None:
                for part in message.content:
                    size += _utf8_length(part.text or "")
                    images += part.type == "image_url"
        return size // _BYTES_PER_TOKEN + images * _TOKENS_PER_IMAGE + len(self._messages) * _TOKENS_PER_MESSAGE

    @cached_property
    def tokens_needed(self) -> int:
        """The prompt's tokens and those that the client allows for the answer."""
        head = self._head
        limits = (_value(head.max_completion_tokens), _value(head.max_tokens))
        return self.tokens + next((limit for limit in limits if isinstance(limit, int) and limit > 0), 0)

    @cached_property
    def features(self) -> frozenset[Feature]:
        """What the request brings or asks for besides text."""
        head = self._head
        found: set[Feature] = set()
        if self.is_stream:
            found.add("stream")
        if any(isinstance(value, list) and value for value in (_value(head.tools), _value(head.functions))):
            found.add("tools")
        response_format = _value(head.response_format)
        if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
            found.add("json_schema")
        modalities = _value(head.modalities)
        if isinstance(modalities, list) and "audio" in modalities:
            found.add("audio")
        for message in self._messages:
            if isinstance(message.content, list):
                found |= {_PARTS[part.type] for part in message.content if part.type in _PARTS}
        return frozenset(found)

    @cached_property
    def turns(self) -> int:
        """How many messages are the user's."""
        return sum(message.role == "user" for message in self._messages)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The body's `metadata`, as far as its values are texts."""
        value = _value(self._head.metadata)
        items = value.items() if isinstance(value, dict) else ()
        return {key: text for key, text in items if isinstance(text, str)}

    @cached_property
    def user(self) -> str | None:
        """The body's `user`."""
        value = _value(self._head.user)
        return value if isinstance(value, str) else None

    @property
    def is_in_tool_loop(self) -> bool:
        """Whether the model asked for a tool and now gets what it gave."""
        messages = self._messages
        return bool(messages) and messages[-1].role in _TOOL_ROLES

    @property
    def starts_conversation(self) -> bool:
        """Whether nobody has answered yet; never of a conversation that the client names by header."""
        if self.headers.get(CONVERSATION_HEADER):
            return False
        return not any(message.role == "assistant" or message.role in _TOOL_ROLES for message in self._messages)

    @cached_property
    def conversation(self) -> str:
        """
        What all requests of one conversation share, and no other's do.

        The header `x-pointsman-conversation`, else the body's `prompt_cache_key`, else all up to the first words
        of the user, which every later turn sends again.
        """
        if named := self.headers.get(CONVERSATION_HEADER):
            return f"header:{named}"
        if isinstance(key := _value(self._head.prompt_cache_key), str) and key:
            return f"key:{key}"
        opening: list[str] = []
        for message in self._messages:
            opening += (message.role, _text_of(message))
            if message.role == "user":
                break
        return "opening:" + "\0".join(opening)

    def text(self, which: Text) -> str:
        """
        The text to route on: the last user messages that say anything, oldest first.

        System prompts, tool results and the assistant's own words are left out, and so is what stands in a user's
        message between tags that `which` ignores. Empty when no user spoke.
        """
        if self._text is not None and self._text[0] is which:
            return self._text[1]
        found: list[str] = []
        for message in reversed(self._messages):
            if message.role == "user" and (said := _without(which.ignore, _text_of(message))):
                found.append(said)
                if len(found) == which.turns:
                    break
        self._text = (which, "\n".join(reversed(found)))
        return self._text[1]

    def folded_text(self, which: Text) -> str:
        """The text to route on, with the differences between upper and lower case taken out."""
        text = self.text(which)
        if self._folded is None or self._folded[0] is not text:
            self._folded = (text, text.casefold())
        return self._folded[1]


def read_chat(body: bytes, headers: Mapping[str, str]) -> Facts:
    """
    The facts of a `/chat/completions` request.

    Raises:
        BadRequest: the body is not a JSON object in UTF-8 with a `model` and a list of `messages`.
    """
    head = _read_head(body)
    model = _read_model(head.model)
    start = bytes(memoryview(head.messages)[:1])
    if not start:
        raise BadRequest("Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter")
    if start != b"[":
        raise BadRequest(
            f"Invalid type for 'messages': expected an array, got {_json_kind(start)}.",
            param="messages",
            code="invalid_type",
        )
    return Facts(head, model=model, headers=headers)


def _read_head(body: bytes) -> _Head:
    # Reading the top level checks the structure of all that it skips, but not its UTF-8.
    try:
        if not body.isascii():
            body.decode("utf-8")
        return _decode_head(body)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The request body is not UTF-8: byte {error.start} cannot be decoded.") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.") from None
    except msgspec.ValidationError:
        kind = _json_kind(body.lstrip()[:1])
        raise BadRequest(f"The request body must be a JSON object, not {kind}.") from None
    except msgspec.DecodeError as error:
        # msgspec's own words name a position, never the content.
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None


def _read_model(raw: msgspec.Raw) -> str:
    if not bytes(raw):
        raise BadRequest(
            "Missing required parameter: 'model'. Send 'auto' to have one chosen, or a name from /v1/models.",
            param="model",
            code="missing_required_parameter",
        )
    try:
        return _decode_str(raw)
    except msgspec.ValidationError:
        raise BadRequest(
            f"Invalid type for 'model': expected a string, got {_json_kind(bytes(raw)[:1])}.",
            param="model",
            code="invalid_type",
        ) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: 'model': {error}.", param="model") from None


def _leniently(raw: msgspec.Raw) -> Sequence[_Message]:
    """What can be understood of messages of which at least one has a shape of its own."""
    try:
        decoded = _decode_any(raw)
    except (msgspec.DecodeError, RecursionError):
        return ()
    return [_lenient_message(message) for message in decoded if isinstance(message, dict)]


def _lenient_message(message: dict[str, Any]) -> _Message:
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        content = [
            _Part(type=str(part.get("type")), text=part["text"] if isinstance(part.get("text"), str) else None)
            for part in content
            if isinstance(part, dict)
        ]
    elif not isinstance(content, str):
        content = None
    return _Message(role=role if isinstance(role, str) else "", content=content)


def _text_of(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content.strip()
    return "\n".join(part.text for part in message.content or () if part.type == "text" and part.text).strip()


def _without(tags: tuple[str, ...], text: str) -> str:
    """The text without what stands between these tags; one that is not closed is a text like any other."""
    if "</" not in text:
        return text
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        pieces: list[str] = []
        at = 0
        while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
            pieces.append(text[at:start])
            at = end + len(closing)
        text = "".join((*pieces, text[at:]))
    return text.strip()


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _value(raw: msgspec.Raw) -> Any:
    """A member's value; None when it is absent or cannot be read, for then the upstream judges."""
    try:
        return _decode_any(raw) if len(memoryview(raw)) else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _json_kind(start: bytes) -> str:
    """What a JSON value is, in a person's words, from its first byte."""
    kinds = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "a boolean", b"f": "a boolean", b"n": "null"}
    return kinds.get(start, "a number")


def header_map(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; of several of one name the values joined by commas, as RFC 9110 reads them."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
