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
        pytest.param("Hello! Could you please help me with this? Fix this loop.", "Fix this loop", id="an-appeal"),
        pytest.param("Help me with that, please: fix this loop", "fix this loop", id="an-appeal-with-a-colon"),
        pytest.param("Can you help me with the following.\n\nPlease fix this loop", "fix this loop", id="an-appeal-and-a-wish"),
        pytest.param("fix this loop. Thanks in advance, I appreciate your help!", "fix this loop", id="appreciation"),
        pytest.param("fix this loop Thanks in advance, I appreciate the help", "fix this loop", id="appreciation-without-marks"),
        pytest.param("fix this loop?\n\nI'd really appreciate it.", "fix this loop", id="appreciation-on-its-own-line"),
        pytest.param("fix this loop, please. Any help is appreciated!", "fix this loop", id="any-help"),
        pytest.param("help me with this function", "help me with this function", id="the-help-is-the-request"),
        pytest.param("help me with this function: it loops", "help me with this function: it loops", id="the-help-is-the-request-too"),
        pytest.param("help me with this.loop() in JavaScript", "help me with this.loop() in JavaScript", id="a-mark-in-a-word"),
        pytest.param("Could you please help me with this?", "help me with this", id="only-an-appeal"),
        pytest.param("Please help me with this? Thank you so much!", "help me with this", id="only-an-appeal-and-thanks"),
        pytest.param("Thanks, I appreciate it!", "Thanks, I appreciate it", id="only-appreciation"),
        pytest.param("Translate into French: I appreciate your help", "Translate into French: I appreciate your help", id="appreciation-behind-a-colon"),
        pytest.param("Translate into French:\n\nthanks, I appreciate your help", "Translate into French:\n\nthanks, I appreciate your help", id="thanks-behind-a-colon"),
        pytest.param("How do I say I appreciate your help", "How do I say I appreciate your help", id="appreciation-as-the-request"),
        pytest.param("How do I say thanks, I appreciate your help", "How do I say thanks, I appreciate your help", id="thanks-as-the-request"),
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


@pytest.mark.parametrize("piece", ["hi ", "please, ", " ", "thanks ", "?", "so so ", "I appreciate it, ", "? \n"])
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
    said = "Hello! Could you please help me with this? fix this loop. Thanks in advance, I appreciate your help!"
    np.testing.assert_array_equal(model.embed(said), plain)
    assert model.embed("fix this hoop") @ plain < 0.999
