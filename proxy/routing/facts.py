"""
The few things of a request that routing reads.

The body is never modelled beyond them: an unknown field, a 64-bit seed or a ten-megabyte image passes through
as it came. Reading is lenient wherever the upstream itself would judge: a message of a shape that nobody knows has
no text to route on, and goes to the upstream, whose answer tells the client more than a guess made here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import takewhile
from typing import Any, ClassVar

import msgspec

from proxy.config import Feature, Text, WireProtocol
from proxy.routing.lazy import lazy
from proxy.routing.reading import UNSET, Head, read_as, value_of
from proxy.routing.shape import Shape, shape_of

CONVERSATION_HEADER = "x-pointsman-conversation"

_FEATURES_OF_PARTS: dict[str, Feature] = {
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
TOOL_ROLES = ("tool", "function")
_PROMPT_ROLES = ("system", "developer")
# What the tokens of one image cost is the provider's secret; this is a middle of the published tables.
_TOKENS_PER_IMAGE = 800
_TOKENS_PER_MESSAGE = 4
# UTF-8 bytes per token: about right for English and code, and, since scripts that need more tokens per
# character also need more bytes per character, not far off for the others.
_BYTES_PER_TOKEN = 4


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


_decode_file = msgspec.json.Decoder(_File).decode
_MEDIA = tuple(name for name in Part.__struct_fields__ if name not in ("type", "text"))


class Message(msgspec.Struct):
    """One message, or what stands for one in another kind of request."""

    role: str = ""
    content: str | list[Part] | None = None


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_given = msgspec.json.Decoder(str | Part).decode


class Facts(ABC):
    """
    One request as routing sees it. What costs time is read when first asked for.

    Each kind of request says the same things in its own way; a subclass reads one kind.
    """

    protocol: ClassVar[WireProtocol] = "openai"
    """What an upstream must speak to answer it."""
    is_kept: ClassVar[bool] = False
    """Whether upstreams keep the answers, so that a later request can go on from one by its id."""

    def __init__(self, head: Head, *, model: str, headers: Mapping[str, str]) -> None:
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
        self._turns: tuple[Text, int] | None = None
        self._text: tuple[Text, str] | None = None
        self._folded: tuple[str, str] | None = None
        self._shape: tuple[str, Shape] | None = None
        self._hashed: dict[int, list[str]] = {}

    @lazy
    @abstractmethod
    def _messages(self) -> Sequence[Message]:
        """The conversation so far, oldest first."""

    @abstractmethod
    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        """The JSON of the members that say how many tokens the answer may have; the first that says it counts."""

    @lazy
    def tokens(self) -> int:
        """An estimate of the prompt's tokens: messages, images and tools."""
        size = len(memoryview(self._head.tools))
        images = 0
        for message in self._messages:
            if isinstance(message.content, str):
                size += utf8_length(message.content)
            elif message.content is not None:
                for part in message.content:
                    size += utf8_length(part.text or "")
                    images += _FEATURES_OF_PARTS.get(part.type) == "images"
        return size // _BYTES_PER_TOKEN + images * _TOKENS_PER_IMAGE + len(self._messages) * _TOKENS_PER_MESSAGE

    @lazy
    def tokens_needed(self) -> int:
        """The prompt's tokens and those that the client allows for the answer."""
        for raw in self._most_answered():
            if isinstance(limit := value_of(raw), int) and limit > 0:
                return self.tokens + limit
        return self.tokens

    @lazy
    def features(self) -> frozenset[Feature]:
        """What the request brings or asks for besides text."""
        found = self._features_asked()
        if self.is_stream:
            found.add("stream")
        for message in self._messages:
            if isinstance(message.content, list):
                found |= {_FEATURES_OF_PARTS[part.type] for part in message.content if part.type in _FEATURES_OF_PARTS}
        return frozenset(found)

    def _features_asked(self) -> set[Feature]:
        """What the request asks for beside its messages."""
        return {"tools"} if is_filled_list(self._head.tools) else set()

    def turns(self, which: Text) -> int:
        """How many messages are the user's, without those that have nothing but what `which` ignores."""
        if self._turns is None or self._turns[0] is not which:
            count = sum(message.role == "user" and not _is_aside(message, which) for message in self._messages)
            self._turns = (which, count)
        return self._turns[1]

    @lazy
    def metadata(self) -> Mapping[str, str]:
        """The body's `metadata`, as far as its values are texts."""
        value = value_of(self._head.metadata)
        items = value.items() if isinstance(value, dict) else ()
        return {key: text for key, text in items if isinstance(text, str)}

    @lazy
    def user(self) -> str | None:
        """The body's `user`."""
        value = value_of(self._head.user)
        return value if isinstance(value, str) else None

    def is_bound(self, which: Text) -> bool:
        """
        Whether only the model it is on can go on with the conversation: it asked for a tool that now answers.

        What the application tells the model behind that is no word of the user, nor is what a coding tool reminds it of
        between tags that `which` ignores.
        """
        spoken = (one for one in reversed(self._messages) if one.role not in _PROMPT_ROLES)
        last = next((message for message in spoken if not _is_aside(message, which)), None)
        return last is not None and last.role in TOOL_ROLES

    @lazy
    def goes_on_from(self) -> str:
        """The id of the answer, or the conversation, that an upstream keeps and this goes on from; empty for none."""
        return ""

    @property
    def is_background(self) -> bool:
        """Whether the answer is made in the background, whether or not the client stays."""
        return False

    @property
    def is_in_kept_conversation(self) -> bool:
        """Whether that is a conversation, which some request before the first turn has created."""
        return False

    @lazy
    def refers_to_items(self) -> bool:
        """Whether it names parts of earlier answers by their ids alone: only the upstream that gave them knows them."""
        return False

    @lazy
    def names_files(self) -> bool:
        """Whether it names a file by the id that it got when some request before has sent it to an upstream."""
        lists = (message.content for message in self._messages if isinstance(message.content, list))
        return any(part.names_file for parts in lists for part in parts)

    @property
    def names_created(self) -> bool:
        """Whether it names what requests of their own create at an upstream: a conversation, or files."""
        return self.is_in_kept_conversation or self.names_files

    @property
    def is_tied(self) -> bool:
        """Whether it names what one upstream keeps, of which no other knows."""
        return bool(self.goes_on_from) or self.refers_to_items or self.names_files

    @property
    def starts_conversation(self) -> bool:
        """Whether nobody has answered yet; never of a conversation that the client names by header."""
        if self.headers.get(CONVERSATION_HEADER):
            return False
        return not any(message.role == "assistant" or message.role in TOOL_ROLES for message in self._messages)

    @lazy
    def conversation(self) -> str:
        """
        What all requests of one conversation share, and no other's do.

        The header `x-pointsman-conversation`, else the body's `prompt_cache_key`, else all that was said up to the
        first answer, with its images and files, which every later turn sends again. Not the user's first message alone:
        that may be what a coding tool reminds the model of, the same each time.
        """
        if named := self.headers.get(CONVERSATION_HEADER):
            return f"header:{named}"
        if isinstance(key := value_of(self._head.prompt_cache_key), str) and key:
            return f"key:{key}"
        return f"opening:{self._opening}"

    @lazy
    def _opening(self) -> str:
        opening: list[str] = []
        has_spoken = False
        for message in self._messages:
            is_user = message.role == "user"
            if has_spoken and not is_user:
                break
            has_spoken = is_user
            opening += (message.role, _text_of(message))
            if is_user:
                opening += self._media_of(message)
        return "\0".join(opening)

    @lazy
    def media(self) -> tuple[str, ...]:
        """What came with the user's last words: of each image, file and audio a hash."""
        last = takewhile(lambda message: message.role == "user", reversed(self._messages))
        return tuple(found for message in last for found in self._media_of(message))

    def _media_of(self, message: Message) -> list[str]:
        """Worked out once: of twenty megabytes a hash takes as long as many decisions."""
        if not isinstance(message.content, list):
            return []
        found = self._hashed.get(id(message))
        if found is None:
            held = [raw for part in message.content for raw in part.media()]
            found = self._hashed[id(message)] = [blake2b(raw, digest_size=16).hexdigest() for raw in held]
        return found

    @lazy
    def caller_conversation(self) -> str:
        """
        The same of one caller: another one who names a conversation alike, or says "hi" first, has one of their own.

        With the caller's key in it: to be hashed, and never kept.
        """
        return f"{key_in(self.headers)}\0{self.user or ''}\0{self.conversation}"

    @property
    def callers_items(self) -> str:
        """The same of the items of a conversation's answers. A `prompt_cache_key` is too wide, many may share one."""
        return f"{key_in(self.headers)}\0items:{self.headers.get(CONVERSATION_HEADER) or self._opening}"

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

    def shape(self, which: Text) -> Shape:
        """The shape of the text to route on."""
        text = self.text(which)
        if self._shape is None or self._shape[0] is not text:
            self._shape = (text, shape_of(text))
        return self._shape[1]


def callers_answer(headers: Mapping[str, str], answer_id: str) -> str:
    """
    As `Facts.caller_conversation`, of an answer that an upstream keeps: who has its id need not say `user` again to go
    on from it.
    """
    return f"{key_in(headers)}\0{conversation_after(answer_id)}"


def key_in(headers: Mapping[str, str]) -> str:
    """The caller's key, in whichever of the two headers it comes; empty without one."""
    return headers.get("authorization") or headers.get("x-api-key", "")


def conversation_after(answer_id: str) -> str:
    """The conversation of a request that goes on from this answer."""
    return f"response:{answer_id}"


def parts_given(raw: msgspec.Raw) -> list[Part]:
    """What a tool gave, be it a text, a part or a list of them: images and the like as a user sends them, too."""
    found = read_as(_decode_list, raw)
    return [_part_given(one) for one in ([raw] if found is None else found)]


def _part_given(raw: msgspec.Raw) -> Part:
    part: str | Part | None = read_as(_decode_given, raw)
    if isinstance(part, str):
        return Part("text", part)
    if part is not None and (part.type in _TEXTS or part.type in _FEATURES_OF_PARTS):
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


def _text_of(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content.strip()
    return "\n".join(part.text for part in message.content or () if part.type in _TEXTS and part.text).strip()


def _is_aside(message: Message, which: Text) -> bool:
    """Whether a user's message has nothing in it but what stands between tags that `which` ignores."""
    if message.role != "user" or not (text := _text_of(message)) or _without(which.ignore, text):
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


def is_filled_list(raw: msgspec.Raw) -> bool:
    """Whether a member is a list of something."""
    value = value_of(raw)
    return isinstance(value, list) and bool(value)


def utf8_length(text: str) -> int:
    """The bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))
