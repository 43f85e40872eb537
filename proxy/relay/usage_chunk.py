"""Asking a stream for its usage where the client did not, and taking the chunk that tells it out again."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.relay.edits import edit_body
from proxy.relay.events import events_of
from proxy.routing.decoding import UNREADABLE
from proxy.routing.edits import Edits


class _Asked(msgspec.Struct):
    stream_options: Any = None


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, msgspec.Raw] | None = None


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def ask_for_usage(body: bytes) -> bytes | None:
    """
    The same body with `stream_options.include_usage`; None where the client has that already, or has no options there.

    Args:
        body: of a request for a stream, found valid.
    """
    options = _decode_asked(body).stream_options
    if options is None:
        options = {}
    if not isinstance(options, dict) or options.get("include_usage"):
        return None
    asking = msgspec.json.encode({**options, "include_usage": True})
    return edit_body(body, Edits({}, frozenset(), {}, {"stream_options": asking}))


def without_usage_chunk(events: bytes) -> bytes:
    """
    The same events without the one that tells nothing but the usage.

    A chunk that tells it beside a choice stays, and so does one that has no choice for another reason.

    Args:
        events: whole ones, as `WholeEvents` lets them through.
    """
    if b'"usage"' not in events:
        return events
    return b"".join(event for event, data in events_of(events) if not (b'"usage"' in data and _is_usage_chunk(data)))


def _is_usage_chunk(data: bytes) -> bool:
    try:
        chunk = _decode_chunk(data)
    except UNREADABLE:
        return False
    return chunk.choices == [] and bool(chunk.usage)
