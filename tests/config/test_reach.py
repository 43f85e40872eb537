"""Which conditions leave nothing for which."""

from typing import Any

import msgspec
import pytest

from proxy.config.reach import canonical, covers
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
    ],
)
def test_covers(wide: dict[str, Any], narrow: dict[str, Any], covered: bool) -> None:
    assert covers(when(**wide), when(**narrow)) is covered


def test_of_an_unknown_kind_only_equality_is_known() -> None:
    assert covers({"all": (1, 2)}, {"all": (1, 2), "topic": frozenset("a")})
    assert not covers({"all": (1, 2)}, {"all": (1, 2, 3)})
