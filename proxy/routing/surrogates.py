"""
JSON in which half of a surrogate pair stands, such as `"a\\ud83d"`.

RFC 8259, section 8.2, allows it, and JavaScript writes it where a limit of length cuts an emoji. UTF-8 has no bytes for
it, and msgspec reads none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

_Value = TypeVar("_Value")

# Every escape, so that what a backslash before it escapes is taken for none; of halves alone there is no group.
_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89a-fA-F])|\\[^u])"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def first_half(json: bytes) -> int | None:
    """At which byte the first half stands; None where none does."""
    return next((found.start() for found in _ESCAPE.finditer(json) if found[1] is None), None)


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
            if first_half(json) is None:
                raise
            return decode(_ESCAPE.sub(lambda found: found[1] or rb"\ufffd", json))

    return read
