"""Texts that are one to the embedding model's tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.texts import folded, nothing_in
from proxy.embedding import MiniLM
from proxy.shipped import shipped


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Fix  this\tloop\n", "fix this loop", id="letter-case-and-white-space"),
        pytest.param("caf\u00e9", "cafe\u0301", id="composed-or-not"),
        pytest.param("caf\u00e9", "cafe", id="accents"),
        pytest.param("pass\u00adword\u200b", "password", id="soft-hyphen-and-zero-width-space"),
        pytest.param("\u001b[1mbold\u0000", "[1mbold", id="control-characters"),
    ],
)
def test_one_text(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a b", "ab"), ("你好", "您好"), ("\N{ROCKET}", "\N{GRINNING FACE}"), ("C++", "C"), ("1", "2")],
)
def test_two_texts(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" \t\u00a0\u3000", "nothing but white space"),
        ("\u200b \u2060\ufeff", "nothing but white space and characters that cannot be seen"),
        ("\u0301", "nothing but white space and characters that cannot be seen"),
    ],
)
def test_nothing(text: str, told: str) -> None:
    assert folded(text) == ""
    assert nothing_in(text) == told


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(shipped("models/all-MiniLM-L6-v2"))


# Signs that are no younger than the tokenizer's own tables: Latin, accents, Greek, Cyrillic, punctuation, currencies.
OLD = st.characters(max_codepoint=0x20B5, exclude_categories=["Cs", "Cn", "Co"])


@settings(max_examples=150)
@given(st.text(OLD.filter(lambda sign: not 0x0500 <= ord(sign) < 0x2000), max_size=20))
def test_the_tokenizer_reads_a_folded_text_as_the_text_itself(model: MiniLM, text: str) -> None:
    between = f"x {text} x"  # marks and courtesies at either end are left out before the tokenizer
    assert model.token_ids(folded(between)) == model.token_ids(between)
