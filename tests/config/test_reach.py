"""Which conditions leave nothing for which."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.reach import Conditions, canonical, contradiction, covers, first_covers
from proxy.config.schema import When


def when(**conditions: Any) -> dict[str, object]:
    return dict(canonical(msgspec.convert(conditions, When)))


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        pytest.param({}, {"topic": "a"}, True, id="no-conditions"),
        pytest.param({"topic": "a"}, {}, False, id="to-no-conditions"),
        pytest.param({"topic": "a"}, {"topic": "a"}, True, id="equal"),
        pytest.param({"topic": ["a", "b"]}, {"topic": ["b", "a", "a"]}, True, id="order-and-repeats"),
        pytest.param({"topic": ["a", "b"]}, {"topic": "b"}, True, id="fewer-topics"),
        pytest.param({"topic": "b"}, {"topic": ["a", "b"]}, False, id="more-topics"),
        pytest.param({"topic": "a"}, {"topic": "a", "model": "x"}, True, id="one-more-condition"),
        pytest.param({"topic": "a", "model": "x"}, {"topic": "a"}, False, id="one-condition-less"),
        pytest.param({"model": "*"}, {"model": "gpt-[34]*"}, True, id="star"),
        pytest.param({"model": "gpt-*"}, {"model": "gpt-4o"}, True, id="glob-and-name"),
        pytest.param({"model": "gpt-*"}, {"model": "gpt-4*"}, False, id="two-globs-are-not-compared"),
        pytest.param({"model": "gpt-*"}, {"model": ["gpt-4o", "o3"]}, False, id="one-of-two-names"),
        pytest.param({"model": "[x]"}, {"model": "[x]"}, True, id="same-glob"),
        pytest.param({"model": "GPT-*"}, {"model": "gpt-4o"}, False, id="letter-case"),
        pytest.param({"tokens": {"max": 9}}, {"tokens": {"min": 1, "max": 9}}, True, id="range-within"),
        pytest.param({"tokens": {"max": 9}}, {"tokens": {"max": 10}}, False, id="range-beyond"),
        pytest.param({"tokens": {"min": 1}}, {"tokens": {"max": 10}}, False, id="range-beside"),
        pytest.param({"header": {"x": "a*"}}, {"header": {"X": "ab", "y": "c"}}, True, id="one-more-header"),
        pytest.param({"header": {"x": "a"}}, {"header": {"y": "a"}}, False, id="another-header"),
        pytest.param({"header": {"x": "a"}}, {"header": {"x": ["a", "b"]}}, False, id="more-values"),
        pytest.param({"topic": "*"}, {"topic": "a"}, False, id="a-topic-is-no-glob"),
        pytest.param({"metadata": {"K": "a"}}, {"metadata": {"k": "a"}}, False, id="letter-case-of-a-key"),
        pytest.param({"user": ["a?", "b"]}, {"user": ["ab", "b"]}, True, id="plain-texts-and-a-pattern"),
        pytest.param({"has": ["tools"]}, {"has": ["stream", "tools"]}, True, id="more-features"),
        pytest.param({"has": ["tools", "stream"]}, {"has": ["tools"]}, False, id="fewer-features"),
        pytest.param({"complexity": {"min": 0.5}}, {"complexity": {"min": 0.7, "max": 0.8}}, True, id="complexity"),
        pytest.param({"any": [{"user": "a"}]}, {"any": [{"user": "a"}]}, True, id="nested-equal"),
    ],
)
def test_covers(wide: dict[str, Any], narrow: dict[str, Any], covered: bool) -> None:
    assert covers(when(**wide), when(**narrow)) is covered


@pytest.mark.parametrize(
    ("conditions", "name"),
    [
        pytest.param({"all": [{"topic": "a"}, {"topic": "b"}]}, "topic", id="two-topics"),
        pytest.param({"turns": {"min": 3}, "all": [{"any": [{"turns": {"max": 2}}]}]}, "turns", id="deep"),
        pytest.param({"turns": {"min": 5}, "all": [{"turns": {"max": 5}}]}, None, id="one-number-is-left"),
        pytest.param({"tokens": {"min": 3, "max": 2}}, None, id="one-range-is-told-elsewhere"),
        pytest.param({"all": [{"model": "a"}, {"model": "b"}]}, None, id="globs-are-not-compared"),
        pytest.param({"any": [{"topic": "a"}, {"topic": "b"}]}, None, id="one-of-two"),
    ],
)
def test_contradictions(conditions: dict[str, Any], name: str | None) -> None:
    assert contradiction(msgspec.convert(conditions, When)) == name


def test_of_an_unknown_kind_only_equality_is_known() -> None:
    assert covers({"all": (1, 2)}, {"all": (1, 2), "topic": frozenset("a")})
    assert not covers({"all": (1, 2)}, {"all": (1, 2, 3)})


GLOBS = st.lists(st.sampled_from(["*", "a", "b", "ab", "a*", "?", "[ab]", "b*"]), min_size=1, max_size=3)
RANGES = st.fixed_dictionaries({}, optional={"min": st.integers(0, 3), "max": st.integers(0, 3)})
SIMPLE = {
    "topic": st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
    "model": GLOBS,
    "user": GLOBS,
    "header": st.dictionaries(st.sampled_from(["x", "X", "y"]), GLOBS, max_size=2),
    "metadata": st.dictionaries(st.sampled_from("xy"), GLOBS, max_size=2),
    "has": st.lists(st.sampled_from(["tools", "stream"]), min_size=1, max_size=2),
    "tokens": RANGES,
    "text": st.fixed_dictionaries({"contains": st.sampled_from("ab")}),
}
PARTS = st.lists(st.fixed_dictionaries({}, optional=SIMPLE), min_size=1, max_size=2)
WHENS = st.fixed_dictionaries(
    {}, optional={**SIMPLE, "all": PARTS, "any": PARTS, "not": st.fixed_dictionaries({"user": GLOBS})}
)


@settings(max_examples=100)
@given(st.lists(WHENS, max_size=12))
def test_the_marks_find_what_comparing_every_pair_finds(whens: list[dict[str, Any]]) -> None:
    # One that contradicts itself is told by itself, and compared with none.
    whole = [msgspec.convert(each, When) for each in whens]
    routes: list[Conditions] = [canonical(each) for each in whole if contradiction(each) is None]
    pairs = {
        position: next((earlier for earlier in range(position) if covers(routes[earlier], routes[position])), None)
        for position in range(len(routes))
    }
    assert first_covers(routes) == {position: earlier for position, earlier in pairs.items() if earlier is not None}
