"""What is left out of a text before it is embedded, and what is not."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.embedding import MiniLM
from proxy.embedding.courtesy import without_courtesy
from proxy.shipped import shipped


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("fix this loop", "fix this loop", id="nothing-to-leave-out"),
        pytest.param("Could you please fix this loop? Thanks!", "fix this loop", id="both-sides"),
        pytest.param("Hi there, I would like you to fix this loop.", "fix this loop", id="greeting-and-wish"),
        pytest.param("fix this loop, please, thank you very much in advance!!", "fix this loop", id="thanks-upon-thanks"),
        pytest.param("fix this loop thanks", "fix this loop", id="without-marks"),
        pytest.param("FIX THIS LOOP PLEASE", "FIX THIS LOOP", id="capitals"),
        pytest.param("What does 404 mean?", "What does 404 mean", id="question-mark"),
        pytest.param("これは何ですか？", "これは何ですか", id="other-scripts-marks"),
        pytest.param("fix this loop \n\n", "fix this loop", id="white-space"),
        pytest.param("thanks!", "thanks", id="only-thanks"),
        pytest.param("thank you so much!", "thank you so much", id="only-more-thanks"),
        pytest.param("hi there", "hi there", id="only-a-greeting"),
        pytest.param("please help", "please help", id="too-little-left"),
        pytest.param("?!", "?!", id="only-marks"),
        pytest.param("", "", id="empty"),
        pytest.param("sort the words hi and please in it", "sort the words hi and please in it", id="in-the-middle"),
        pytest.param("Pleased to meet your team", "Pleased to meet your team", id="only-whole-words"),
        pytest.param("history of Rome", "history of Rome", id="only-whole-words-at-the-start"),
    ],
)  # fmt: skip
def test_without_courtesy(text: str, left: str) -> None:
    assert without_courtesy(text) == left


@given(st.text(max_size=300))
def test_something_is_always_left(text: str) -> None:
    left = without_courtesy(text)
    assert left in text
    assert bool(left) is bool(text)


@pytest.mark.parametrize("piece", ["hi ", "please, ", " ", "thanks ", "?", "so so "])
def test_a_long_text_takes_no_longer_than_its_copy(piece: str) -> None:
    """A hundred thousand times the same: what reads it again for each of them takes minutes."""
    began = time.perf_counter()
    without_courtesy(piece * 100_000)
    without_courtesy("x" + piece * 100_000 + "x")
    assert time.perf_counter() - began < 1.0


def test_courtesies_do_not_reach_the_network() -> None:
    model = MiniLM(shipped("models/all-MiniLM-L6-v2"))
    plain = model.embed("fix this loop")
    np.testing.assert_array_equal(model.embed("Hello! Can you please fix this loop?\nThank you!"), plain)
    assert model.embed("fix this hoop") @ plain < 0.999
