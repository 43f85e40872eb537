"""Halves of surrogate pairs in JSON, against Python's own reader, which takes them."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.decoding import halves, read_any

PIECES = ["a", "ud83d", "\u00e9", r"\u00e9", r"\\", r"\"", r"\n", r"\ud83d", r"\uDBFF", r"\ude80", r"\uDC00"]


@given(st.lists(st.sampled_from(PIECES)))
def test_each_half_is_read_as_what_cannot_be_read(pieces: list[str]) -> None:
    written = f'"{"".join(pieces)}"'
    assert read_any(written.encode()) == re.sub("[\ud800-\udfff]", "\ufffd", json.loads(written))


@pytest.mark.parametrize(
    ("written", "places"),
    [
        (rb'{"a": "b\ud83d"}', [8]),
        (rb'{"a\uDE80": "b"}', [3]),
        (rb'["\ud83d\ud83d\ude80"]', [2]),
        (rb'["\ud83d \ude80", "\uD83D"]', [2, 9, 19]),
        (rb'["\ud83d\ude80"]', []),
        (rb'["\\ud83d", "\u00e9", "\n"]', []),
        (rb'["\\\ud83d"]', [4]),
        (b"", []),
    ],
)
def test_where_they_stand(written: bytes, places: list[int]) -> None:
    assert halves(written) == places


@pytest.mark.parametrize("filling", [rb"\n", rb"\ud83d\ude80", b"\\\\"], ids=["escapes", "pairs", "backslashes"])
def test_of_what_is_endless_only_the_beginning_is_looked_at(filling: bytes) -> None:
    """Nobody else is served meanwhile, and to look at each of a million takes a second."""
    endless = b'"' + filling * 20_000
    assert halves(rb"\ud83d" + endless + rb"\ud83d") == [0, *([] if b"u" in filling else [6 + len(endless)])]


@pytest.mark.parametrize("written", [rb'{"a": "b\ud83d"', rb'["\ud83g"]', rb'["\ud83"]', b"{", b"<html>"])
def test_what_is_no_json_besides_stays_none(written: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_any(written)
