"""
The shape of a text: how long it is, which signs it is made of, and whether it lists answers to choose from.

A vector says what a text is about and hardly anything of how it is put; yet models differ in how they do on a table of
numbers, a proof in LaTeX and ten answers of one word each. Counted are bytes, whatever the language, which takes
microseconds; greetings, thanks and capitals do not count, here as little as in the vector.

Pure: a text in, numbers out.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from proxy.embedding import without_courtesy

MOST_READ = 2000
"""Characters of a text that are looked at, half of them at its end."""

_SIGNS = ".,:;?!\"'([{<=+*/^-$%\\_#`|"
"""Each is counted by itself, and what closes with what opens."""
_OPENS = {")": "(", "]": "[", "}": "{", ">": "<"}
_LETTER, _DIGIT, _FOREIGN, _REST, _FIRST_SIGN = range(5)
"""Kinds of bytes; the rest is white space, and what is too rare to count."""

_LISTED = re.compile(rb"^[ \t]*(?:\(?[A-Za-z0-9]{1,2}[.):]|[-*])[ \t]+(.*)$", re.MULTILINE)
"""A line that begins as one of a list does."""
_NUMBER = re.compile(rb"[0-9]+")
_NO_NUMBER = re.compile(rb"[A-Za-z\x80-\xff]")

_SIZES, _SHARES = 10, 5
SIZE = _SIZES + _SHARES + len(_SIGNS)
Shape = NDArray[np.float32]
"""(40,)."""
UNKNOWN: Shape = np.full(SIZE, np.nan, dtype=np.float32)
"""Of a text that is not at hand."""


def shape_of(text: str) -> Shape:
    """
    The shape of a text.

    Returns:
        (40,): logarithms of one more than each count, and shares.
    """
    half = MOST_READ // 2
    text = without_courtesy(text)
    seen = text if len(text) <= MOST_READ else f"{text[:half]}\n{text[-half:]}"
    content = seen.encode("utf-8", "replace")
    kinds = np.bincount(_KIND_OF[np.frombuffer(content, dtype=np.uint8)], minlength=_FIRST_SIGN + len(_SIGNS))
    words, lines = len(content.split()), [line for line in content.split(b"\n") if line.strip()] or [b""]
    numbers, listed = _NUMBER.findall(content), _LISTED.findall(content)
    lengths = list(map(len, listed)) or [0]
    letters, digits, foreign, rest = kinds[:_FIRST_SIGN].tolist()
    size, items = max(len(content) - rest, 1), max(len(listed), 1)
    result: Shape = np.empty(SIZE, dtype=np.float32)
    result[:_SIZES] = (
        size, words, len(lines), len(numbers), max(map(len, numbers), default=0), len(lines[0]), len(lines[-1]),
        len(listed), sum(lengths) / items, max(lengths) - min(lengths),
    )  # fmt: skip
    result[_SIZES:-_SHARES] = kinds[_FIRST_SIGN:]
    np.log1p(result[:-_SHARES], out=result[:-_SHARES])
    result[-_SHARES:] = (
        letters / max(words, 1) / 10, digits / size, foreign / size,
        sum(_NUMBER.search(each) is not None for each in listed) / items,
        sum(_NO_NUMBER.search(each) is None for each in listed) / items,
    )  # fmt: skip
    return result


def _kind_of(byte: int) -> int:
    if byte >= 128:
        return _FOREIGN
    sign = _OPENS.get(chr(byte), chr(byte))
    if sign in _SIGNS:
        return _FIRST_SIGN + _SIGNS.index(sign)
    if sign.isalpha():
        return _LETTER
    return _DIGIT if sign.isdigit() else _REST


_KIND_OF = np.array([_kind_of(byte) for byte in range(256)], dtype=np.int64)
