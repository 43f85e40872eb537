"""What is counted of a text, whatever the text is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.shape import MOST_READ, SIZE, UNKNOWN, shape_of

QUESTION = "Which one is prime?"
NUMBERS = f"{QUESTION}\nA. 4\nB. 9\nC. 11\nD. 21"
WORDS = f"{QUESTION}\nA. four\nB. nine\nC. eleven\nD. twenty-one"


def differ(one: str, other: str) -> set[int]:
    """The places of what differs."""
    return set(np.flatnonzero(shape_of(one) != shape_of(other)).tolist())


@given(st.text())
def test_every_text_has_a_shape(text: str) -> None:
    found = shape_of(text)
    assert found.shape == UNKNOWN.shape == (SIZE,)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("text", ["", "\ud800", "\0", "é" * 5000, "\n" * 5000, "A. " * 5000], ids=repr)
def test_an_odd_text_has_one(text: str) -> None:
    assert np.isfinite(shape_of(text)).all()


def test_what_a_text_is_about_does_not_count() -> None:
    assert not differ("The cat sat on a mat. Why?", "The dog sat on a bed. Who?")


def test_neither_do_courtesies_capitals_and_empty_lines() -> None:
    assert not differ("is Paris in France", "is paris in france")
    assert not differ("fix this loop", "Hello! Could you please fix this loop? Thanks!")
    assert not differ(NUMBERS, NUMBERS.replace("\n", "\n\n"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("a b", "a b c", id="words"),
        pytest.param("a b", "a\nb", id="lines"),
        pytest.param("add 1 to", "add 11 to", id="digits"),
        pytest.param("x = y", "x - y", id="signs"),
        pytest.param("mas", "más", id="other-letters"),
        pytest.param(f"{QUESTION}\nnone", f"{QUESTION}\n- one", id="a-list"),
        pytest.param(f"{QUESTION}\n(a) x\n(b) y", f"{QUESTION}\n(a) x\n(bx y", id="letters-in-brackets"),
        pytest.param(NUMBERS, WORDS, id="what-is-listed"),
    ],
)
def test_how_it_is_put_does(one: str, other: str) -> None:
    assert differ(one, other)


def test_listed_answers_are_told_by_their_kind() -> None:
    answers = {text: shape_of(text)[-2:].tolist() for text in (NUMBERS, WORDS, QUESTION)}
    assert answers == {NUMBERS: [1, 1], WORDS: [0, 0], QUESTION: [0, 0]}


def test_of_a_long_text_both_ends_are_looked_at() -> None:
    filler = "and so on " * MOST_READ
    assert differ(f"{filler} end, ", f"{filler} end? or")
    assert differ(f"?nd {filler}", f"and {filler}")
    middle = len(filler) // 2
    assert not differ(filler, f"{filler[:middle]}?{filler[middle + 1 :]}")


def test_no_text_takes_long() -> None:
    """Not a measure, which bench.deciding has: what would go back and forth over a text takes minutes here."""
    began = time.perf_counter()
    for text in ("A. " * 10**6, "(" * 10**6, "1" * 10**6, " \t" * 10**6, "a" * 10**6 + "\n- "):
        shape_of(text)
    assert time.perf_counter() - began < 5
