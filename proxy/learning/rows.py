"""What is kept of one decision and of one rating; plain values, which the store writes as they are."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from proxy.embedding import Vector

LONGEST_TEXT = 8_000
"""Characters of a decision's text that are kept; longer ones keep their head."""
_LONGEST_WORD = 200


@dataclass(slots=True)
class DecisionRow:
    """One decision and what came of it. No prompt unless asked for; of keys only hashes are written."""

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
    vector: Vector | None
    """Of the text that the decision was made on, as the embedder has it; None where it was not looked at."""
    tokens: dict[str, int]
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
    caller: bytes | None
    """A hash of the caller's key, of this process; None when there was none."""
    conversation: bytes
    config_sha256: str
    text: str | None
    propensity: float = 1.0
    """How likely this model was for this request."""
    policy: str | None = None
    """The version of the policy that chose; None when none did."""

    def values(self, salt: bytes) -> dict[str, Any]:
        """
        The columns.

        Args:
            salt: of the store.
        """
        return {
            "id": self.id,
            "time": self.time,
            "route": self.route,
            "model": self.model,
            "answered": self.answered,
            "target": self.target,
            "reason": self.reason,
            "propensity": self.propensity,
            "policy": self.policy,
            "prompt_tokens": self.tokens.get("prompt"),
            "cached_tokens": self.tokens.get("cached"),
            "completion_tokens": self.tokens.get("completion"),
            "reasoning_tokens": self.tokens.get("reasoning"),
            "cost_usd": self.cost_usd,
            "baseline_cost_usd": self.baseline_cost_usd,
            "seconds": self.seconds,
            "first_token_s": self.first_token_s,
            "status": self.status,
            "outcome": self.outcome,
            "error": self.error,
            "completion_id": word(self.completion_id),
            "finish_reason": word(self.finish_reason),
            "is_cut": self.is_cut,
            "bad_tool_calls": self.bad_tool_calls,
            "retry_of": self.retry_of,
            "is_stream": self.is_stream,
            "path": self.path,
            "key_hash": None if self.caller is None else salted(self.caller, salt),
            "conversation_hash": salted(self.conversation, salt),
            "config_sha256": self.config_sha256,
            # PostgreSQL has no NUL in its texts, and UTF-8 no half of a surrogate pair.
            "text": None if self.text is None else _plain(self.text[:LONGEST_TEXT]),
            "vector": None if self.vector is None else self.vector.astype(np.float16).tobytes(),
        }


def _plain(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def word(text: str | None) -> str | None:
    """A name that an upstream gave; None for what is none, and could break a row."""
    return text if text is not None and len(text) <= _LONGEST_WORD and text.isascii() and text.isprintable() else None


def vector_of(data: bytes) -> Vector:
    """A stored vector, as float32 again."""
    return np.frombuffer(data, dtype=np.float16).astype(np.float32)


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
class Rated:
    """The decision that a rating was kept for."""

    decision: str
    route: str
    model: str
    """That answered."""
    before: float | None
    """What the same source said before; None when it had not."""
