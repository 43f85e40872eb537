"""What is kept of one decision and of one rating; plain values, which the store writes as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeGuard

import msgspec
import numpy as np

from proxy.embedding import Vector

USER = "user"
"""The source of a rating that names none: the end user, whoever that is."""
MOST_SOURCES = 20
"""Of the ratings of one decision."""
LONGEST_TEXT = 8_000
"""Characters of a decision's text that are kept; longer ones keep their head."""
LEAST_PROPENSITY = 1e-12
CERTAIN = 1.0 - 1e-9
"""From this propensity on nothing was drawn: a sum of shares may be next to 1."""
_LONGEST_WORD = 200


class DecisionRow(msgspec.Struct, gc=False):
    """
    One decision and what came of it. No prompt unless asked for; of keys only hashes are written.

    Its fields are the columns, in any order but for the last three, which are written in another form. A struct of
    msgspec, since it is made in a request's time, and its values are all taken at once.
    """

    id: str
    time: float
    """When the request began, in seconds since 1970."""
    route: str
    model: str
    """The model that was decided on."""
    answered: str
    """The model that answered, or was tried last."""
    target: str
    reason: str
    prompt_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    baseline_cost_usd: float | None
    seconds: float
    first_token_s: float | None
    status: int
    """0 when the client left before there was one."""
    outcome: str
    """How the last attempt ended."""
    error: str
    completion_id: str | None
    """As the upstream named its answer."""
    finish_reason: str | None
    """In the upstream's words; None when it told none."""
    is_cut: bool
    """Whether the answer stopped at its length limit."""
    bad_tool_calls: int | None
    """Calls of tools whose arguments are not JSON; None when that is not known."""
    retry_of: str | None
    """The decision before, for the same text of the same caller a moment ago; its answer seems not to have done."""
    is_stream: bool
    path: str
    config_sha256: str
    text: str | None
    facts: str | None
    """JSON: what rules could ask for besides the text, so that another routes.yaml can be tried on it."""
    propensity: float
    """How likely this model was for this request; 1 where nothing was drawn."""
    arm: str | None
    """Of an experiment: the model that was drawn, or `learned`; None where nothing was compared."""
    policy: str | None
    """The version of the policy that chose; None when none did."""
    prefer: float | None
    """What it was asked to prefer, 0 to 1."""
    region: int | None
    """Where it sees the text."""
    predicted: float | None
    """The quality that it predicts of the model decided on, without corrections."""
    shadow_route: str | None
    """What decides in the shadow would have done; None where nothing does, or could not tell."""
    shadow_model: str | None
    shadow_chance: float | None
    """How likely the shadow was to decide on the model that was decided on."""
    key_hash: bytes | None
    """Of the caller's key, as `hash_of_key` has it; None when there was none."""
    conversation_hash: bytes
    """Of what names the conversation."""
    vector: Vector | None
    """Of the text that the decision was made on, as the embedder has it; None where it was not looked at."""

    def values(self, salt: bytes) -> tuple[Any, ...]:
        """
        The columns' values, in the order of the fields.

        Bytes as bytearrays, which sqlite3 binds in a quarter of the time: bytes it first asks for an adapter.

        Args:
            salt: of the store.
        """
        return (
            *msgspec.structs.astuple(self)[:-3],
            None if self.key_hash is None else _salted_key(self.key_hash, salt),
            bytearray(salted(self.conversation_hash, salt)),
            None if self.vector is None else bytearray(self.vector.astype(np.float16)),
        )


def plain(text: str) -> str:
    """A text that every database can keep: PostgreSQL has no NUL, and UTF-8 no half of a surrogate pair."""
    return text[:LONGEST_TEXT].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def word(text: str | None) -> str | None:
    """A name that an upstream gave; None for what is none, and could break a row."""
    return text if text is not None and len(text) <= _LONGEST_WORD and text.isascii() and text.isprintable() else None


def vector_of(data: bytes) -> Vector:
    """A stored vector, as float32 again."""
    return np.frombuffer(data, dtype=np.float16).astype(np.float32)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a stored value is one; SQLite keeps what somebody else writes there, whatever the column's type is."""
    return isinstance(value, int | float) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int)


def is_rating(value: object) -> bool:
    """Whether a stored value can be a rating, or the quality that was predicted in its place."""
    return is_number(value) and 0.0 <= value <= 1.0


def is_propensity(value: object) -> bool:
    """Whether a stored value can be how likely a model was; as unlikely as `LEAST_PROPENSITY` is none that we draw."""
    return is_number(value) and LEAST_PROPENSITY <= value <= 1.0


def hash_of_key(key: str) -> bytes:
    """What stands for a caller's key in memory; the store salts it once more."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def salted(digest: bytes, salt: bytes) -> bytes:
    """
    The same for the same store, on every replica, and of no use elsewhere.

    Args:
        digest: of a key, or of what names a conversation.
        salt: the store's, 32 bytes.
    """
    return blake2b(digest, digest_size=16, key=salt).digest()


@lru_cache(maxsize=1024)  # of few callers come many requests
def _salted_key(digest: bytes, salt: bytes) -> bytearray:
    return bytearray(salted(digest, salt))


@dataclass(frozen=True, slots=True)
class Rating:
    """What somebody says of a decision."""

    id: str
    """The decision's, or the completion's own."""
    value: float
    """0 (bad) to 1 (good)."""
    source: str
    """Who says so; of one source the last rating counts."""
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class RatedDecision:
    """The decision that a rating was kept for."""

    decision: str
    route: str
    model: str
    """That answered."""
    before: float | None
    """What the same source said before; None when it had not."""


class LiveRating(msgspec.Struct, frozen=True, gc=False):
    """
    A rating of a decision that a policy made, and whose answer came from the model decided on; with whatever values the
    store has, see `is_sound`.

    Not a tuple: there are tens of thousands, and each would be one more for the collector to walk through.
    """

    region: int
    """Where the policy sees the text."""
    model: str
    predicted: float
    """The quality that the policy predicted of it, without corrections."""
    rating: float
    """0 (bad) to 1 (good)."""
    time: float
    """Of the rating, in seconds since 1970."""
    source: str
    conversation: bytes
    """The hash of what names the decision's conversation."""
    decision: str
    """Its id."""

    @property
    def is_sound(self) -> bool:
        """Whether its values are what Pointsman writes."""
        return _is_whole(self.region) and is_rating(self.predicted) and is_rating(self.rating) and is_number(self.time)
