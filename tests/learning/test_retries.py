"""Whether the same is asked again."""

from __future__ import annotations

import pytest

from proxy.learning.retries import WITHIN_S, Retries

LONG = "write a poem about the sea"


@pytest.mark.parametrize(
    ("conversation", "text", "turns", "later_s", "is_retry"),
    [
        pytest.param(b"one", LONG, 1, 1, True, id="again"),
        pytest.param(b"one", LONG, 3, 1, True, id="again-in-a-later-turn"),
        pytest.param(b"one", LONG, 1, WITHIN_S + 1, False, id="long-after"),
        pytest.param(b"other", LONG, 1, 1, False, id="another-conversation"),
        pytest.param(b"one", LONG + "!", 1, 1, False, id="another-text"),
    ],
)
def test_retries(conversation: bytes, text: str, turns: int, later_s: float, is_retry: bool) -> None:
    now = 0.0
    retries = Retries(clock=lambda: now)
    assert retries.asked("ptm-1", b"one", LONG, 1) is None
    now += later_s
    assert retries.asked("ptm-2", conversation, text, turns) == ("ptm-1" if is_retry else None)


def test_a_short_answer_in_a_later_turn_is_none() -> None:
    retries = Retries()
    retries.asked("ptm-1", b"one", "yes", 2)
    assert retries.asked("ptm-2", b"one", "yes", 3) is None
    assert retries.asked("ptm-3", b"one", "yes", 3) == "ptm-2"


def test_the_same_words_of_another_picture_are_another_question() -> None:
    retries = Retries()
    assert retries.asked("ptm-1", b"one", LONG, 1, ("cat",)) is None
    assert retries.asked("ptm-2", b"one", LONG, 1, ("dog",)) is None
    assert retries.asked("ptm-3", b"one", LONG, 1, ("cat",)) == "ptm-1"


def test_what_was_asked_again_is_not_among_the_oldest() -> None:
    retries = Retries(most=2)
    told = [retries.asked(f"ptm-{number}", b"one", text, 1) for number, text in enumerate("abaca")]
    assert told == [None, None, "ptm-0", None, "ptm-2"]


def test_the_oldest_leave_first() -> None:
    retries = Retries(most=2)
    for number, text in enumerate("abcb"):
        told = retries.asked(f"ptm-{number}", b"one", text, 1)
    assert told == "ptm-1"
    assert retries.asked("ptm-4", b"one", "a", 1) is None
