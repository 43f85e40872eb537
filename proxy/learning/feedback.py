"""What a client may say of a decision."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from proxy.config import quote
from proxy.errors import BadRequest
from proxy.learning.stored_rows import USER, Rating
from proxy.routing.decoding import UNREADABLE
from proxy.telemetry.store_metrics import RatingKind

LONGEST_COMMENT = 4_000
"""Characters."""
_LONGEST_ID = 200
_SCALE = 5
_WORDS = {"up": 1.0, "down": 0.0}
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    id: Any = None
    rating: Any = None
    scale: Any = None
    comment: Any = None
    source: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def read_feedback(body: bytes) -> Rating:
    """
    Read the body of POST /v1/feedback.

    Raises:
        BadRequest: it is none; the message says what to change.
    """
    try:
        told = _decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f"{error}. Feedback has 'id', 'rating' and, if you like, 'scale', 'comment', 'source'."
        ) from None
    except UNREADABLE:
        raise BadRequest("The body is not valid JSON.") from None
    return Rating(_id(told.id), _rating(told.rating, told.scale), _source(told.source), _comment(told.comment))


def kind_of(rating: float) -> RatingKind:
    """The third of the scale that a rating of 0 to 1 is in."""
    if rating < 1 / 3:
        return "down"
    return "up" if rating > 2 / 3 else "neutral"


def _id(told: Any) -> str:
    if not isinstance(told, str) or not 0 < len(told) <= _LONGEST_ID or not told.isascii() or not told.isprintable():
        raise BadRequest(
            "id: give that of a decision, from the header x-pointsman-id, or that of a completion.", param="id"
        )
    return told


def _rating(told: Any, scale: Any) -> float:
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    if scale is not None:
        if scale != _SCALE or isinstance(scale, bool):
            raise BadRequest(
                f"scale: {_SCALE} is the only one; leave it out for ratings from 0 to 1{_and_not(scale)}.",
                param="scale",
            )
        if not is_number or not 1 <= told <= _SCALE:
            raise BadRequest(
                f"rating: with a scale of {_SCALE}, give a number from 1 to {_SCALE}{_and_not(told)}.", param="rating"
            )
        return float((told - 1) / (_SCALE - 1))
    if isinstance(told, str) and told in _WORDS:
        return _WORDS[told]
    if not is_number or not 0 <= told <= 1:
        raise BadRequest(
            f"rating: give a number from 0 to 1, 'up' or 'down', or one from 1 to {_SCALE} with \"scale\": {_SCALE}"
            f"{_and_not(told)}.",
            param="rating",
        )
    return float(told)


def _and_not(told: Any) -> str:
    """What was given instead, shortened; nothing where nothing was."""
    if told is None:
        return ""
    return f", not {quote(told) if isinstance(told, str) else msgspec.json.encode(told).decode()[:60]}"


def _source(told: Any) -> str:
    if told is None:
        return USER
    if not isinstance(told, str) or not _SOURCE.fullmatch(told):
        raise BadRequest(
            "source: give a name of at most 64 letters, digits and . _ - that begins with a letter or digit"
            f"{_and_not(told)}.",
            param="source",
        )
    return told


def _comment(told: Any) -> str | None:
    if told is None:
        return None
    if not isinstance(told, str):
        raise BadRequest("comment: give a text.", param="comment")
    if len(told) > LONGEST_COMMENT:
        raise BadRequest(f"comment: has {len(told):,} characters; give at most {LONGEST_COMMENT:,}.", param="comment")
    return told.replace("\0", "")  # which PostgreSQL cannot keep
