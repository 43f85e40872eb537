"""JSON edited without touching the bytes beside the edit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from proxy.routing.decoding import reading_halves

_MODEL_KEY = re.compile(rb'"model"[ \t\n\r]*:[ \t\n\r]*')
_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_decode_str = reading_halves(msgspec.json.Decoder(str).decode)
_SCALAR = re.compile(rb"[^\s,\]}]+")
_BRACKET_OR_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


class Member(NamedTuple):
    """One `"key": value` of a JSON object, by where it stands in the bytes; ends are exclusive."""

    key: bytes
    """Decoded: `"mod\\u0065l"` is `model`."""
    key_start: int
    start: int
    end: int


def members(body: bytes) -> Iterator[Member]:
    """
    The members of a JSON object, duplicates included, in their order.

    Args:
        body: a JSON object that a parser has already found valid; nothing is checked again.
    """
    at = _skip_space(body, 0) + 1  # past the brace
    while True:
        key_start = _skip_space(body, at)
        if body[key_start : key_start + 1] != b'"':
            return  # the closing brace of an empty object
        key_end = end_of_value(body, key_start)
        start = _skip_space(body, _skip_space(body, key_end) + 1)  # past the colon
        end = end_of_value(body, start)
        yield Member(_decode_key(body[key_start:key_end]), key_start, start, end)
        at = _skip_space(body, end) + 1  # past the comma
        if body[at - 1 : at] != b",":
            return


def replace_model(body: bytes, name: str) -> bytes:
    """
    The same body with another value for `model`; every other byte stays as it is.

    Of a key that stands twice, parsers take the first or the last: both are replaced, so that no upstream can
    read another name than the one that was decided.

    Args:
        body: a valid JSON object that has a `model`.
        name: what the upstream calls its model.
    """
    new = msgspec.json.encode(name)
    # Nearly always `"model"` stands in the body once, and then it is the key. Inside a string its quotes would be
    # escaped; the key itself could be written with escapes of its letters, all of which begin with \u006.
    first = body.find(b'"model"')
    if first >= 0 and body.find(b'"model"', first + 1) < 0 and b"\\u006" not in body:
        key = _MODEL_KEY.match(body, first)
        if key is not None:
            return b"".join((body[: key.end()], new, body[end_of_value(body, key.end()) :]))
    pieces: list[bytes] = []
    done = 0
    for member in members(body):
        if member.key == b"model":
            pieces += (body[done : member.start], new)
            done = member.end
    pieces.append(body[done:])
    return b"".join(pieces)


def add_model(body: bytes, name: str) -> bytes:
    """
    The same body with a `model` before all else.

    Args:
        body: a valid JSON object that has other members.
        name: the value.
    """
    start = body.index(b"{") + 1
    return b"".join((body[:start], b'"model":', msgspec.json.encode(name), b",", body[start:]))


def _skip_space(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match is not None else at


def end_of_value(body: bytes, start: int) -> int:
    """Where the JSON value ends that starts here; of JSON that a parser has already found valid."""
    opening = body[start : start + 1]
    if opening == b'"':
        match = _STRING.match(body, start)
    elif opening in (b"{", b"["):
        depth = 0
        for match in _BRACKET_OR_STRING.finditer(body, start):
            token = match[0]
            if token in (b"{", b"["):
                depth += 1
            elif token in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    break
    else:
        match = _SCALAR.match(body, start)
    if match is None:
        raise ValueError(f"no JSON value at byte {start}")
    return match.end()


def _decode_key(quoted: bytes) -> bytes:
    return quoted[1:-1] if b"\\" not in quoted else _decode_str(quoted).encode()
