"""
The facts of a request as they are stored beside its decision, and back: so that another routes.yaml can be tried on it.

Kept is what rules could ask for besides the text: sizes, features, the requested model; and of the text the shape, for
policies. Of what a client may say as it likes (headers, metadata, user) only what the rules of the moment ask about;
never a prompt, never a key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from proxy.config import Feature, Text, WireProtocol
from proxy.learning.stored_rows import LONGEST_TEXT
from proxy.routing.asks import OUR_HEADERS, Asks
from proxy.routing.facts import Facts
from proxy.routing.parts import Message
from proxy.routing.shape import SIZE, UNKNOWN, Shape, shape_of

LONGEST_VALUE = 200
"""Characters of a model's name, a header, a value of the metadata or the user; a longer one is not kept."""

Values = dict[str, str | None]
"""By name; None for what was not there."""


class NotStored(Exception):
    """A rule asks for something that is not stored of this decision; the message names it."""


class _Kept(msgspec.Struct, omit_defaults=True):
    """The JSON, without what is as usual."""

    tokens: int
    needed: int
    turns: int = 1
    model: str | None = "auto"
    """None for a name that is too long."""
    has: tuple[Feature, ...] = ()
    protocol: WireProtocol = "openai"
    silent: bool = False
    """Whether there is no text by a user."""
    headers: Values = {}
    metadata: Values = {}
    user: str | msgspec.UnsetType | None = msgspec.UNSET
    """Unset where no rule asked."""
    text_tokens: int | None = None
    """Of the text; None in what is older than that is kept."""
    shape: bytes | None = None
    """Of the text, in 16 bits a number; None where the text was not looked at."""


class _Asked(msgspec.Struct):
    """What a policy is asked with."""

    text_tokens: int | None = None
    shape: bytes | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode


def kept(facts: Facts, asks: Asks, which: Text, shape: Shape | None = None) -> str:
    """
    What to store of a request's facts.

    Args:
        facts: of the request.
        asks: what the rules of now ask about.
        which: what of the request is its text.
        shape: of that text; None where nothing looked at it.
    """
    headers = _values(facts.headers, asks.headers) if asks.headers else {}
    for name in OUR_HEADERS:
        if name in facts.headers:
            headers[name] = facts.headers[name][:LONGEST_VALUE]
    user: str | msgspec.UnsetType | None = msgspec.UNSET
    if asks.user and (facts.user is None or len(facts.user) <= LONGEST_VALUE):
        user = facts.user
    found = _Kept(
        tokens=facts.tokens,
        needed=facts.tokens_needed,
        turns=facts.turns(which),
        model=facts.model if len(facts.model) <= LONGEST_VALUE else None,
        has=tuple(sorted(facts.features)),
        protocol=facts.protocol,
        silent=not facts.text(which),
        text_tokens=int(facts.text_tokens(which)),
        headers=headers,
        metadata=_values(facts.metadata, asks.metadata) if asks.metadata else {},
        user=user,
        shape=None if shape is None else shape.astype("<f2").tobytes(),
    )
    return _encode(found).decode()


def _values(said: Mapping[str, str], names: Sequence[str]) -> Values:
    return {name: value for name in names if (value := said.get(name)) is None or len(value) <= LONGEST_VALUE}


def asked_of(stored: str | None) -> tuple[float, Shape]:
    """
    What a policy is asked with besides the vector: the text's tokens, NaN where they are not known, and its shape.

    Args:
        stored: what `kept` gave; or anything, of which nothing is known.
    """
    try:
        found = _decode_asked(stored or "")
    except (msgspec.DecodeError, UnicodeEncodeError):
        return math.nan, UNKNOWN
    return _known(found.text_tokens), _shape(found.shape)


def _known(number: int | None) -> float:
    return math.nan if number is None else float(number)


def _shape(stored: bytes | None) -> Shape:
    if stored is None or len(stored) != 2 * SIZE:
        return UNKNOWN  # older than it is kept, or of another version
    return np.frombuffer(stored, dtype="<f2").astype(np.float32)


class StoredFacts(Facts):
    """One request as the store has it. Asked for what is not stored, it raises NotStored."""

    def __init__(self, stored: str | None, *, text: str | None, conversation: bytes) -> None:
        """
        Args:
            stored: what `kept` gave.
            text: that it was decided on; None when it is not stored.
            conversation: stands for what names it, the same for all of one conversation.

        Raises:
            NotStored: there is nothing to read.
        """
        try:
            found = _decode(stored or "")
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise NotStored("what rules ask for (the decision is older than that is kept)") from None
        if found.model is not None:
            self.model = found.model
        self.headers = _Said("header", found.headers, absent=OUR_HEADERS)
        self.metadata = _Said("metadata", found.metadata)
        self.tokens, self.tokens_needed, self._stored_turns = found.tokens, found.needed, found.turns
        self.features = frozenset(found.has)
        self.is_stream = "stream" in self.features
        self.protocol = found.protocol  # type: ignore[misc] # a request's here, where elsewhere it is its kind's
        self.conversation = self.caller_conversation = conversation.hex()
        self.is_silent = found.silent
        if not isinstance(found.user, msgspec.UnsetType):
            self.user = found.user
        self._stored_text = "" if found.silent else text
        self._folded = None
        self._stored_text_tokens = _known(found.text_tokens)
        self._stored_shape = _shape(found.shape)

    def turns(self, which: Text) -> int:  # noqa: ARG002
        """How many messages were the user's."""
        return self._stored_turns

    def text(self, which: Text) -> str:  # noqa: ARG002
        """The text that the request was decided on."""
        if self._stored_text is None:
            raise NotStored("the text")
        if len(self._stored_text) >= LONGEST_TEXT:
            raise NotStored(f"the text beyond {LONGEST_TEXT:,} characters")
        return self._stored_text

    def text_tokens(self, which: Text) -> float:  # noqa: ARG002
        """Of the text that the request was decided on."""
        return self._stored_text_tokens

    def shape(self, which: Text) -> Shape:  # noqa: ARG002
        """The shape of the text that the request was decided on; unknown where nothing looked at that."""
        said = self._stored_text
        if math.isnan(self._stored_shape[0]) and said is not None and len(said) < LONGEST_TEXT:
            return shape_of(said)
        return self._stored_shape

    @property
    def is_tied(self) -> bool:
        """Never, as far as is stored."""
        return False

    def __getattr__(self, name: str) -> Any:
        # What is not stored was not set above: the name that is then missing says what was asked for.
        raise NotStored({"model": "the requested model", "_head": "the user"}.get(name, name))

    @property
    def _messages(self) -> Sequence[Message]:
        raise NotStored("the messages")

    def _most_answered(self) -> tuple[msgspec.Raw, ...]:
        raise NotStored("the messages")


class _Said(Mapping[str, str]):
    """What the client said under some names; nobody knows what it said under others."""

    def __init__(self, what: str, values: Values, absent: Sequence[str] = ()) -> None:
        """
        Args:
            what: they are.
            values: as they are stored.
            absent: names that would be stored if they had been said.
        """
        self._what = what
        self._values = values
        self._absent = absent

    def __getitem__(self, name: str) -> str:
        if name not in self._values and name not in self._absent:
            raise NotStored(f"{self._what} {name}")
        value = self._values.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, value in self._values.items() if value is not None)

    def __len__(self) -> int:
        return sum(value is not None for value in self._values.values())
