"""When each condition holds, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.config import Range, When
from proxy.routing.conditions import HeaderIs, ModelIs, Signals, TokensBetween, TopicIs, compile_when
from proxy.routing.topics import TopicScores
from tests.routing.requests import facts, user

NOTHING = Signals()


def about(code: float, law: float, threshold: float = 0.5) -> Signals:
    scores = np.array([code, law])
    return Signals(
        topics=TopicScores(("code", "law"), int(scores.argmax()), float(scores.max()), threshold, lambda: scores)
    )


@pytest.mark.parametrize(
    ("patterns", "model", "holds"),
    [
        pytest.param(["gpt-4o"], "gpt-4o", True, id="equal"),
        pytest.param(["gpt-4o"], "gpt-4o-mini", False, id="the-whole-name"),
        pytest.param(["4o"], "gpt-4o", False, id="from-its-start"),
        pytest.param(["gpt-*"], "gpt-", True, id="star-is-also-nothing"),
        pytest.param(["gpt-*"], "gpt-4o/mini", True, id="star-crosses-slashes"),
        pytest.param(["gpt-?"], "gpt-4", True, id="question-mark"),
        pytest.param(["gpt-?"], "gpt-", False, id="question-mark-is-one"),
        pytest.param(["o[13]"], "o3", True, id="class"),
        pytest.param(["o[!13]"], "o3", False, id="negated-class"),
        pytest.param(["gpt-*"], "GPT-4", False, id="case-differs"),
        pytest.param(["a.c"], "abc", False, id="a-dot-is-a-dot"),
        pytest.param(["o1", "gpt-*"], "gpt-4", True, id="one-of-several"),
        pytest.param(["o1", "o3"], "o2", False, id="none-of-several"),
        pytest.param(["*"], "two\nlines", True, id="star-crosses-lines"),
        pytest.param(["a"], "a\n", False, id="no-trailing-newline"),
    ],
)
def test_model(patterns: list[str], model: str, holds: bool) -> None:
    asked = facts(model=model)
    condition = ModelIs(patterns)
    assert condition.holds(asked, NOTHING) is holds
    verb = "matches" if holds else "does not match"
    assert condition.why(asked, NOTHING) == f"model {model!r} {verb} {' or '.join(patterns)}"


@pytest.mark.parametrize(
    ("headers", "holds", "why"),
    [
        pytest.param({"x-p": "high"}, True, "header x-p matches high or crit*", id="equal"),
        pytest.param({"x-p": "critical"}, True, "header x-p matches high or crit*", id="glob"),
        pytest.param({"x-p": "low"}, False, "header x-p does not match high or crit*", id="other-value"),
        pytest.param({"x-p": ""}, False, "header x-p does not match high or crit*", id="empty"),
        pytest.param({"x-q": "high"}, False, "header x-p is absent", id="absent"),
    ],
)
def test_header(headers: dict[str, str], holds: bool, why: str) -> None:
    condition = HeaderIs("x-p", ["high", "crit*"])
    asked = facts(headers=headers)
    assert condition.holds(asked, NOTHING) is holds
    assert condition.why(asked, NOTHING) == why


def test_absent_header_does_not_match_everything() -> None:
    assert not HeaderIs("x-p", ["*"]).holds(facts(), NOTHING)


def test_a_headers_value_is_not_told() -> None:
    """It may carry a key."""
    asked = facts(headers={"authorization": "Bearer sk-1234"})
    assert "1234" not in HeaderIs("authorization", ["Basic *"]).why(asked, NOTHING)


@pytest.mark.parametrize(
    ("least", "most", "holds", "why"),
    [
        pytest.param(104, None, True, "about 104 tokens, within the bounds", id="least-is-inclusive"),
        pytest.param(104.5, None, False, "about 104 tokens, fewer than 104.5", id="below-least"),
        pytest.param(None, 104, True, "about 104 tokens, within the bounds", id="most-is-inclusive"),
        pytest.param(None, 103, False, "about 104 tokens, more than 103", id="above-most"),
        pytest.param(104, 104, True, "about 104 tokens, within the bounds", id="exactly"),
        pytest.param(8000, 9000, False, "about 104 tokens, fewer than 8,000", id="thousands"),
        pytest.param(0, 0, False, "about 104 tokens, more than 0", id="zero-is-a-bound"),
    ],
)
def test_tokens(least: float | None, most: float | None, holds: bool, why: str) -> None:
    asked = facts(user("x" * 400))
    condition = TokensBetween(least, most)
    assert condition.holds(asked, NOTHING) is holds
    assert condition.why(asked, NOTHING) == why


def test_large_token_bounds_are_told_in_full() -> None:
    assert TokensBetween(1_234_567, None).why(facts(), NOTHING) == "about 4 tokens, fewer than 1,234,567"


@pytest.mark.parametrize(
    ("topics", "signals", "holds", "why"),
    [
        pytest.param(["code"], about(0.9, 0.1), True, "the best topic is code with 0.90, threshold 0.50", id="best"),
        pytest.param(["law"], about(0.9, 0.8), False, "the best topic is code with 0.90, not law", id="second-best"),
        pytest.param(
            ["law", "code"], about(0.9, 0.1), True, "the best topic is code with 0.90, threshold 0.50", id="one-of-two"
        ),
        pytest.param(["code"], about(0.5, 0.1), True, "the best topic is code with 0.50, threshold 0.50", id="reaches"),
        pytest.param(
            ["code"], about(0.4, 0.1), False, "the best topic is code with 0.40, below its threshold 0.50", id="below"
        ),
        pytest.param(["code"], Signals(missing="there is no text"), False, "there is no text", id="missing"),
        pytest.param(["code"], NOTHING, False, "the text was not looked at", id="not-asked"),
    ],
)
def test_topic(topics: list[str], signals: Signals, holds: bool, why: str) -> None:
    condition = TopicIs(topics)
    assert condition.holds(facts(), signals) is holds
    assert condition.why(facts(), signals) == why


@pytest.mark.parametrize(
    ("signals", "is_final"),
    [(NOTHING, False), (about(1, 0), True), (Signals(missing="x"), True)],
    ids=["nothing", "scores", "missing"],
)
def test_signals_are_final_once_tried(signals: Signals, is_final: bool) -> None:
    assert signals.is_final is is_final


def test_every_part_of_when_becomes_a_condition_and_the_text_comes_last() -> None:
    when = When(topic="code", model=("a", "b"), header={"x": "1", "y": ("2", "3")}, tokens=Range(min=1))
    assert [type(condition) for condition in compile_when(when)] == [
        ModelIs,
        HeaderIs,
        HeaderIs,
        TokensBetween,
        TopicIs,
    ]


def test_an_empty_when_has_no_condition() -> None:
    assert compile_when(When()) == ()


def test_one_and_several_values_mean_the_same() -> None:
    for one in (When(model="gpt-4o"), When(model=("gpt-4o",))):
        (condition,) = compile_when(one)
        assert condition.holds(facts(model="gpt-4o"), NOTHING)
        assert not condition.holds(facts(model="g"), NOTHING)
