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

from proxy.errors import BadRequest

_UNSET_RAW = msgspec.Raw(b"")
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

    def __init__(
        self, *, model: str, is_stream: bool, messages: msgspec.Raw, tools: msgspec.Raw, headers: Mapping[str, str]
    ) -> None:
        """
        Args:
            model: the name that the client asked for.
            is_stream: whether the answer is to be streamed.
            messages: the JSON of the list of messages.
            tools: the JSON of the tools, or nothing.
            headers: by lower-case name; of several of one name the values joined by commas.
        """
        self.model = model
        self.is_stream = is_stream
        self.headers = headers
        self._raw_messages = messages
        self._raw_tools = tools

    @cached_property
    def _messages(self) -> Sequence[_Message]:
        try:
            return _decode_messages(self._raw_messages)
        except (msgspec.ValidationError, RecursionError):
            return _leniently(self._raw_messages)

    @cached_property
    def tokens(self) -> int:
        """An estimate of the prompt's tokens: messages, images and tools."""
        size = len(memoryview(self._raw_tools))
        images = 0
        for message in self._messages:
            if isinstance(message.content, str):
                size += _utf8_length(message.content)
            elif message.content is not None:
                for part in message.content:
                    size += _utf8_length(part.text or "")
                    images += part.type == "image_url"
        return size // _BYTES_PER_TOKEN + images * _TOKENS_PER_IMAGE + len(self._messages) * _TOKENS_PER_MESSAGE

    def text(self, turns: int) -> str:
        """
        The text to route on: the last `turns` user messages that say anything, oldest first.

        System prompts, tool results and the assistant's own words are left out. Empty when no user spoke.
        """
        found: list[str] = []
        for message in reversed(self._messages):
            if message.role == "user" and (said := _text_of(message)):
                found.append(said)
                if len(found) == turns:
                    break
        return "\n".join(reversed(found))


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
    return Facts(
        model=model,
        is_stream=bytes(head.stream) == b"true",
        messages=head.messages,
        tools=head.tools,
        headers=headers,
    )


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


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


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
