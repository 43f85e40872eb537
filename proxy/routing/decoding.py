"""
JSON as others write it, which msgspec decodes, and what it raises where that cannot be read.

Half of a surrogate pair may stand in it, such as `"a\\ud83d"`: RFC 8259, section 8.2, allows it, and JavaScript writes
it where a limit of length cuts an emoji. UTF-8 has no bytes for it, and msgspec reads none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

_Value = TypeVar("_Value")

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""For what is no JSON or has another shape, for brackets nested without end, and for what is not UTF-8."""

# Looked for by its first two bytes, so that a text without any costs next to nothing.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_LENGTH = 6
_LOW = frozenset(b"cdefCDEF")
_MOST = 10_000
"""Surrogates that are looked at: what cannot be read may be of any size, and nobody else is served meanwhile."""
_LONGEST_RUN = 64
"""Backslashes in a row before one."""


def halves(json: bytes) -> list[int]:
    """At which bytes halves stand, in their order; as far as the first ten thousand surrogates go."""
    found: list[int] = []
    high: int | None = None
    for number, match in enumerate(_SURROGATE.finditer(json)):
        if number == _MOST:
            return found  # whether the last one has its other half is not known
        at = match.start()
        before = json[max(0, at - _LONGEST_RUN) : at]
        if (len(before) - len(before.rstrip(b"\\"))) % 2:  # the backslash is escaped itself
            continue
        is_low = json[at + 3] in _LOW
        if is_low and high == at - _LENGTH:
            high = None
            continue
        if high is not None:
            found.append(high)
        high = None if is_low else at
        if is_low:
            found.append(at)
    return found if high is None else [*found, high]


def reading_halves(decode: Callable[[bytes], _Value]) -> Callable[[bytes], _Value]:
    """
    A decoder that reads U+FFFD in place of each half, and all else as this one does.

    Args:
        decode: of msgspec's.
    """

    def read(json: bytes) -> _Value:
        try:
            return decode(json)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if not (found := halves(json)):
                raise
            between = zip([0, *(at + _LENGTH for at in found)], [*found, len(json)], strict=True)
            return decode(rb"\ufffd".join([json[start:end] for start, end in between]))

    return read


read_any: Callable[[bytes], Any] = reading_halves(msgspec.json.Decoder().decode)
"""Reads JSON of any shape so."""
