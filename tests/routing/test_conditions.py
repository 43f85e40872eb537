"""When each condition holds, and what it says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from proxy.config import Feature, Level, Range, Regex, Text, TextMatch, When
from proxy.routing.conditions import Condition, ModelIs, TopicIs, compile_when, may_hold_without_text, text_signals
from proxy.routing.signals import Signals
from proxy.routing.topics import TopicScores
from tests.routing.requests import facts, user

NOTHING = Signals()


def only(when: When) -> Condition:
    return compile_when(when, Text())


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
    condition = only(When(header={"x-p": ("high", "crit*")}))
    asked = facts(headers=headers)
    assert condition.holds(asked, NOTHING) is holds
    assert condition.why(asked, NOTHING) == why


def test_absent_header_does_not_match_everything() -> None:
    assert not only(When(header={"x-p": "*"})).holds(facts(), NOTHING)


def test_a_headers_value_is_not_told() -> None:
    """It may carry a key."""
    asked = facts(headers={"authorization": "Bearer sk-1234"})
    assert "1234" not in only(When(header={"authorization": "Basic *"})).why(asked, NOTHING)


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
    condition = only(When(tokens=Range(min=least, max=most)))
    assert condition.holds(asked, NOTHING) is holds
    assert condition.why(asked, NOTHING) == why


def test_large_token_bounds_are_told_in_full() -> None:
    assert only(When(tokens=Range(min=1_234_567))).why(facts(), NOTHING) == "about 4 tokens, fewer than 1,234,567"


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
        pytest.param(["code"], Signals(missing="there is no text"), None, "there is no text", id="missing"),
        pytest.param(["code"], NOTHING, None, "the text was not looked at", id="not-asked"),
    ],
)
def test_topic(topics: list[str], signals: Signals, holds: bool | None, why: str) -> None:
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


def test_an_empty_when_holds_for_every_request() -> None:
    assert only(When()).holds(facts(), NOTHING) is True
    assert only(When()).why(facts(), NOTHING) == "it applies to every request"


def test_one_and_several_values_mean_the_same() -> None:
    for one in (When(model="gpt-4o"), When(model=("gpt-4o",))):
        assert only(one).holds(facts(model="gpt-4o"), NOTHING)
        assert not only(one).holds(facts(model="g"), NOTHING)


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        pytest.param({}, set(), id="plain"),
        pytest.param({"stream": True}, {"stream"}, id="stream"),
        pytest.param({"tools": [TOOL]}, {"tools"}, id="tools"),
        pytest.param({"functions": [{"name": "f"}]}, {"tools"}, id="functions-of-old"),
        pytest.param({"tools": []}, set(), id="no-tool-in-the-list"),
        pytest.param({"tools": None, "metadata": 7, "response_format": "x"}, set(), id="odd-values"),
        pytest.param({"response_format": {"type": "json_schema"}}, {"json_schema"}, id="json-schema"),
        pytest.param({"response_format": {"type": "json_object"}}, set(), id="json-object-is-no-schema"),
        pytest.param({"modalities": ["text", "audio"]}, {"audio"}, id="audio-out"),
        pytest.param({"messages": [{"role": "user", "content": [IMAGE]}]}, {"images"}, id="image"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}, {"type": "file"}, {"type": "new"}]}]},
            {"audio", "files"},
            id="audio-and-file-in",
        ),
    ],
)
def test_has(fields: dict[str, Any], features: set[Feature]) -> None:
    asked = facts(**fields) if "messages" not in fields else facts(*fields["messages"])
    assert asked.features == features
    every: tuple[Feature, ...] = ("tools", "images", "audio", "files", "json_schema", "stream")
    for feature in every:
        condition = only(When(has=(feature,)))
        assert condition.holds(asked, NOTHING) is (feature in features)
        verb = "has" if feature in features else "has no"
        assert condition.why(asked, NOTHING) == f"the request {verb} {feature}"
    assert only(When(has=("tools", "stream"))).holds(facts(tools=[TOOL]), NOTHING) is False


@pytest.mark.parametrize(
    ("match", "text", "holds"),
    [
        pytest.param(TextMatch(contains="REFUND"), "I want a refund!", True, id="any-letter-case"),
        pytest.param(TextMatch(contains=("a b", "c")), "a  b", False, id="as-written"),
        pytest.param(TextMatch(contains=("x", "straße")), "in der STRASSE", True, id="folded"),
        pytest.param(TextMatch(matches=Regex(r"\border #\d+")), "my order #42", True, id="regex"),
        pytest.param(TextMatch(matches=Regex("(?i)^hi$")), "HI there", False, id="anchors"),
        pytest.param(TextMatch(contains="a", matches=Regex("b")), "a", False, id="both"),
        pytest.param(TextMatch(matches=Regex("(a+)+$")), "a" * 50_000 + "!", False, id="no-backtracking"),
    ],
)
def test_text(match: TextMatch, text: str, holds: bool) -> None:
    asked = facts(user(text))
    assert only(When(text=match)).holds(asked, NOTHING) is holds
    verbs = ("contains", "matches") if holds else ("does not contain", "does not match")
    assert any(verb in only(When(text=match)).why(asked, NOTHING) for verb in verbs)


def test_metadata_user_and_turns() -> None:
    asked = facts(user("a"), user("b"), metadata={"team": "core-7", "n": 3}, user="ada")
    assert only(When(metadata={"team": "core-*"})).holds(asked, NOTHING)
    assert not only(When(metadata={"n": "*"})).holds(asked, NOTHING)  # OpenAI's metadata are texts
    assert only(When(metadata={"x": "*"})).why(asked, NOTHING) == "metadata x is absent"
    assert only(When(user=("bob", "ad?"))).holds(asked, NOTHING)
    assert not only(When(user="*")).holds(facts(), NOTHING)
    assert only(When(turns=Range(min=2, max=2))).holds(asked, NOTHING)
    assert only(When(turns=Range(min=3))).why(asked, NOTHING) == "2 turns, fewer than 3"


YES, NO, LATER = When(model="*"), When(model="nope"), When(topic="code")


@pytest.mark.parametrize(
    ("when", "before", "after"),
    [
        pytest.param(When(all=(YES, YES)), True, True, id="all"),
        pytest.param(When(all=(LATER, NO)), False, False, id="all-says-no-without-the-text"),
        pytest.param(When(all=(YES, LATER)), None, True, id="all-waits"),
        pytest.param(When(any=(LATER, YES)), True, True, id="any-says-yes-without-the-text"),
        pytest.param(When(any=(NO, LATER)), None, True, id="any-waits"),
        pytest.param(When(any=(NO, NO)), False, False, id="any"),
        pytest.param(When(not_=NO), True, True, id="not"),
        pytest.param(When(not_=LATER), None, False, id="not-waits"),
        pytest.param(When(model="*", any=(When(not_=YES), When(all=(YES, When(not_=NO))))), True, True, id="deep"),
    ],
)
def test_all_any_not(when: When, before: bool | None, after: bool) -> None:
    condition = only(when)
    assert condition.holds(facts(), NOTHING) is before
    assert condition.holds(facts(), about(0.9, 0.1)) is after
    assert condition.why(facts(), about(0.9, 0.1))
    assert (text_signals(when) != frozenset()) is ("topic=" in repr(when) and "'code'" in repr(when))


@pytest.mark.parametrize(
    ("when", "holds", "why"),
    [
        pytest.param(LATER, None, "late", id="topic"),
        pytest.param(When(not_=LATER), None, "late", id="not"),
        pytest.param(When(not_=When(not_=LATER)), None, "late", id="not-not"),
        pytest.param(When(all=(YES, LATER)), None, "late", id="all"),
        pytest.param(When(not_=When(all=(LATER, NO))), True, "not: model 'auto' does not match nope", id="not-all"),
        pytest.param(When(any=(YES, LATER)), True, "model 'auto' matches *", id="any"),
        pytest.param(When(any=(NO, LATER)), None, "none of: model 'auto' does not match nope; late", id="none"),
        pytest.param(When(not_=When(any=(LATER, YES))), False, "but: model 'auto' matches *", id="not-any"),
    ],
)
def test_what_nobody_will_know_stays_unknown(when: When, holds: bool | None, why: str) -> None:
    condition, late = only(when), Signals(missing="late")
    assert condition.holds(facts(), late) is holds
    assert condition.why(facts(), late) == why


def test_why_any_and_not_fail() -> None:
    asked = facts(model="m")
    assert (
        only(When(any=(When(model="a"), When(user="b")))).why(asked, NOTHING)
        == "none of: model 'm' does not match a; user is absent"
    )
    assert only(When(not_=When(model="m"))).why(asked, NOTHING) == "but: model 'm' matches m"


@pytest.mark.parametrize(
    ("limits", "found", "holds", "why"),
    [
        pytest.param(Level(min=0.7), 0.7, True, "complexity 0.70, within the bounds", id="least-is-inclusive"),
        pytest.param(Level(min=0.7), 0.69, False, "complexity 0.69, below 0.7", id="below"),
        pytest.param(Level(min=0.2, max=0.5), 0.6, False, "complexity 0.60, above 0.5", id="above"),
    ],
)
def test_complexity(limits: Level, found: float, holds: bool, why: str) -> None:
    condition = only(When(complexity=limits))
    assert condition.holds(facts(), NOTHING) is None
    assert condition.holds(facts(), Signals(complexity=found)) is holds
    assert condition.why(facts(), Signals(complexity=found)) == why
    assert condition.holds(facts(), Signals(missing="the embedder is late")) is None
    assert condition.why(facts(), Signals(missing="the embedder is late")) == "the embedder is late"


@pytest.mark.parametrize(
    ("when", "signals", "may_hold"),
    [
        pytest.param(YES, set(), True, id="none"),
        pytest.param(LATER, {"topic"}, False, id="topic"),
        pytest.param(When(any=(LATER, NO)), {"topic"}, True, id="or-something-else"),
        pytest.param(When(all=(YES, When(complexity=Level(min=0.5)))), {"complexity"}, False, id="and"),
        pytest.param(When(not_=LATER), {"topic"}, False, id="not"),
        pytest.param(When(not_=When(topic="a", model="b")), {"topic"}, True, id="not-both"),
        pytest.param(When(topic="a", not_=When(complexity=Level(min=0.5))), {"topic", "complexity"}, False, id="both"),
    ],
)
def test_which_routes_look_at_the_text(when: When, signals: set[str], may_hold: bool) -> None:
    assert text_signals(when) == signals
    assert may_hold_without_text(when) is may_hold
