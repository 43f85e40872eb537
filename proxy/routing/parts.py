"""One message of a request: its parts, its text, and what can be understood of one that has a shape of its own."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.config import Feature, Text
from proxy.routing.reading import UNSET, read_as, value_of

FEATURES_OF_PARTS: dict[str, Feature] = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "computer_screenshot": "images",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
    "document": "files",
}
_TEXTS = ("text", "input_text", "output_text")


class Part(msgspec.Struct):
    """A part of a message; besides the text the JSON of what each kind of part may hold."""

    type: str = ""
    text: str | None = None
    image_url: msgspec.Raw = UNSET
    video_url: msgspec.Raw = UNSET
    input_audio: msgspec.Raw = UNSET
    file: msgspec.Raw = UNSET
    file_id: msgspec.Raw = UNSET
    file_data: msgspec.Raw = UNSET
    file_url: msgspec.Raw = UNSET
    source: msgspec.Raw = UNSET

    def size(self) -> int | None:
        """The bytes of what it says; None of an image or a file, whose bytes do not tell its tokens."""
        feature = FEATURES_OF_PARTS.get(self.type)
        if feature == "files":
            document: _PlainText | _Content | None = read_as(_decode_document, self.source)
            return None if document is None else document.size()
        return None if feature == "images" else utf8_length(self.text or "")

    def media(self) -> list[msgspec.Raw]:
        """What it holds besides text: of images, files and audio the data, or where they are."""
        return [raw for name in _MEDIA if (raw := getattr(self, name)) is not UNSET]

    @property
    def names_file(self) -> bool:
        """Whether a file is named that an upstream keeps: in a part of a response, of a chat, or of Anthropic's."""
        return value_of(self.file_id) is not None or any(map(_has_file_id, (self.file, self.source)))


_LONGEST_NAMING = 4096
"""Bytes of what names a file; what is longer is one, and to look through twenty megabytes of it takes milliseconds."""


class _File(msgspec.Struct):
    file_id: str | None = None


def _has_file_id(raw: msgspec.Raw) -> bool:
    if raw is UNSET or len(memoryview(raw)) > _LONGEST_NAMING:
        return False
    file = read_as(_decode_file, raw)
    return file is not None and file.file_id is not None


class _PlainText(msgspec.Struct, tag_field="type", tag="text"):
    """The source of a document of Anthropic's that is a text."""

    data: str

    def size(self) -> int:
        return utf8_length(self.data)


class _Content(msgspec.Struct, tag_field="type", tag="content"):
    """Of one that is made of parts."""

    content: msgspec.Raw

    def size(self) -> int:
        return sum(utf8_length(part.text or "") for part in parts_given(self.content))


_decode_document = msgspec.json.Decoder(_PlainText | _Content).decode
_decode_file = msgspec.json.Decoder(_File).decode
_MEDIA = tuple(name for name in Part.__struct_fields__ if name not in ("type", "text"))


class Message(msgspec.Struct):
    """One message, or what stands for one in another kind of request; besides its content the JSON of tool calls."""

    role: str = ""
    content: str | list[Part] | None = None
    tool_calls: msgspec.Raw = UNSET
    function_call: msgspec.Raw = UNSET


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_given = msgspec.json.Decoder(str | Part).decode


def parts_given(raw: msgspec.Raw) -> list[Part]:
    """What a tool gave, be it a text, a part or a list of them: images and the like as a user sends them, too."""
    found = read_as(_decode_list, raw)
    return [_part_given(one) for one in ([raw] if found is None else found)]


def _part_given(raw: msgspec.Raw) -> Part:
    part: str | Part | None = read_as(_decode_given, raw)
    if isinstance(part, str):
        return Part("text", part)
    if part is not None and (part.type in _TEXTS or part.type in FEATURES_OF_PARTS):
        return part
    return Part("text", str(bytes(raw), "utf-8"))  # whatever it is, it counts by its size


def leniently(raw: msgspec.Raw) -> list[Message]:
    """What can be understood of messages of which at least one has a shape of its own."""
    return [_lenient_message(message) for message in value_of(raw) or () if isinstance(message, dict)]


def _lenient_message(message: dict[str, Any]) -> Message:
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        content = [
            Part(type=str(part.get("type")), text=part["text"] if isinstance(part.get("text"), str) else None)
            for part in content
            if isinstance(part, dict)
        ]
    elif not isinstance(content, str):
        content = None
    return Message(role=role if isinstance(role, str) else "", content=content)


def text_of(message: Message) -> str:
    """All its text, one part a line."""
    if isinstance(message.content, str):
        return message.content.strip()
    return "\n".join(part.text for part in message.content or () if part.type in _TEXTS and part.text).strip()


def said_in(message: Message, which: Text) -> str:
    """Its text without what stands between tags that `which` ignores."""
    return _without(which.ignore, text_of(message))


def is_aside(message: Message, which: Text) -> bool:
    """Whether a user's message has nothing in it but what stands between tags that `which` ignores."""
    if message.role != "user" or not (text := text_of(message)) or _without(which.ignore, text):
        return False
    return isinstance(message.content, str) or all(part.type in _TEXTS for part in message.content or ())


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


def utf8_length(text: str) -> int:
    """The bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))
