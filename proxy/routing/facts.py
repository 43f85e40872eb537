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
from typing import ClassVar

import msgspec

from proxy.config import Feature, Text, WireProtocol
from proxy.routing.lazy import lazy
from proxy.routing.parts import FEATURES_OF_PARTS, Message, is_aside, said_in, text_of, utf8_length
from proxy.routing.reading import UNSET, Head, value_of
from proxy.routing.shape import Shape, shape_of

CONVERSATION_HEADER = "x-pointsman-conversation"
TOOL_ROLES = ("tool", "function")
_PROMPT_ROLES = ("system", "developer")
# What the tokens of one image cost is the provider's secret; this is a middle of the published tables. A file counts
# alike: how many pages it has is not known.
_TOKENS_PER_IMAGE = 800
_TOKENS_PER_MESSAGE = 4
# UTF-8 bytes per token: about right for English and code, and, since scripts that need more tokens per
# character also need more bytes per character, not far off for the others.
_BYTES_PER_TOKEN = 4


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

    @property
    def lacks_model(self) -> bool:
        """Whether the body says nothing of a model, where none need be named."""
        return self._head.model is UNSET

    @lazy
    @abstractmethod
    def _messages(self) -> Sequence[Message]:
        """The conversation so far, oldest first."""

    @abstractmethod
    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        """The JSON of the members that say how many tokens the answer may have; the first that says it counts."""

    @lazy
    def tokens(self) -> int:
        """An estimate of the prompt's tokens: messages, with images and files, tools and calls of them."""
        size = len(memoryview(self._head.tools))
        images = 0
        for message in self._messages:
            size += len(memoryview(message.tool_calls)) + len(memoryview(message.function_call))
            if isinstance(message.content, str):
                size += utf8_length(message.content)
            elif message.content is not None:
                for part in message.content:
                    if (said := part.size()) is None:
                        images += 1
                    else:
                        size += said
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
                found |= {FEATURES_OF_PARTS[part.type] for part in message.content if part.type in FEATURES_OF_PARTS}
        return frozenset(found)

    def _features_asked(self) -> set[Feature]:
        """What the request asks for beside its messages."""
        return {"tools"} if is_filled_list(self._head.tools) else set()

    def turns(self, which: Text) -> int:
        """How many messages are the user's, without those that have nothing but what `which` ignores."""
        if self._turns is None or self._turns[0] is not which:
            count = sum(message.role == "user" and not is_aside(message, which) for message in self._messages)
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
        last = next((message for message in spoken if not is_aside(message, which)), None)
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
        """
        Whether it has parts of earlier answers that only the upstream that gave them can read: by their ids alone, or
        encrypted.
        """
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
        """Whether it has what only one upstream can read, such as the name of what that keeps."""
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
            opening += (message.role, text_of(message))
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

    @lazy
    def conversation_hash(self) -> bytes:
        """The same hashed, by which it is remembered; once, since a long opening takes as long as a decision."""
        return hash_of_name(self.caller_conversation)

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
            if message.role == "user" and (said := said_in(message, which)):
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

    def text_tokens(self, which: Text) -> float:
        """An estimate of the tokens of the text to route on, whatever comes with it; NaN where that is not known."""
        return utf8_length(self.text(which)) // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE

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


def is_filled_list(raw: msgspec.Raw) -> bool:
    """Whether a member is a list of something."""
    value = value_of(raw)
    return isinstance(value, list) and bool(value)


def is_json_schema(wanted: object) -> bool:
    """Whether the form that an answer is wanted in is one of these."""
    return isinstance(wanted, dict) and wanted.get("type") == "json_schema"


def hash_of_name(named: str) -> bytes:
    """The 16 bytes by which it is remembered what a conversation or an answer is called."""
    return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()
