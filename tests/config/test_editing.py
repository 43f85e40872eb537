"""Thresholds written into a file that stays as it is."""

from __future__ import annotations

import pytest

from proxy.config import CannotEdit, edit_thresholds, parse_config
from proxy.shipped import shipped
from tests.routing.requests import BASE


def edited(topics: str, **thresholds: float) -> str:
    """What becomes of these topics."""
    content = edit_thresholds((BASE + topics).encode(), thresholds or {"a": 0.25}, source="r", environ={"T": "0.5"})
    text = content.decode()
    assert text.startswith(BASE)
    return text.removeprefix(BASE)


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        pytest.param(
            "topics:\n  a:  # letters\n    examples:\n      - b\n  c: {examples: [d]}\n",
            "topics:\n  a:  # letters\n    threshold: 0.25\n    examples:\n      - b\n  c: {examples: [d]}\n",
            id="block",
        ),
        pytest.param(
            "topics:\n  a:\n    examples: [b]\n    threshold: 0.5  # why\n",
            "topics:\n  a:\n    examples: [b]\n    threshold: 0.25  # why\n",
            id="block-with-one",
        ),
        pytest.param("topics: {a: {examples: [b]}}", "topics: {a: {threshold: 0.25, examples: [b]}}", id="flow"),
        pytest.param("topics: {a: { examples: [b] }}", "topics: {a: { threshold: 0.25, examples: [b] }}", id="spaced"),
        pytest.param(
            "topics: {a: {\n  examples: [b]}}", "topics: {a: {threshold: 0.25,\n  examples: [b]}}", id="flow-over-lines"
        ),
        pytest.param(
            "topics: {a: {threshold: .5, examples: [b]}}",
            "topics: {a: {threshold: 0.25, examples: [b]}}",
            id="flow-with-one",
        ),
        pytest.param(
            'topics: {"a": {"examples": ["b"]}}', 'topics: {"a": {"threshold": 0.25, "examples": ["b"]}}', id="json"
        ),
        pytest.param(
            "topics: {a: {examples: [b], threshold: ~}}",
            "topics: {a: {examples: [b], threshold: 0.25}}",
            id="null",
        ),
        pytest.param(
            "topics: {b: {examples: [ü😀]}, a: {examples: [ü]}}",
            "topics: {b: {examples: [ü😀]}, a: {threshold: 0.25, examples: [ü]}}",
            id="behind-wide-characters",
        ),
    ],
)
def test_a_threshold_comes_to_its_place(topics: str, expected: str) -> None:
    assert edited(topics) == expected


def test_a_file_with_a_pattern_and_a_secret_is_still_the_same_file() -> None:
    topics = "topics: {a: {examples: [b]}}\nroutes: [{name: r, when: {text: {matches: '(?i)key'}}, use: small}]\n"
    assert edited(topics) == topics.replace("{examples", "{threshold: 0.25, examples")


def test_several_at_once() -> None:
    topics = "topics:\n  a: {examples: [b]}\n  c:\n    threshold: 0.5\n    examples: [d]\n"
    assert edited(topics, a=0.25, c=0.75) == topics.replace("{examples", "{threshold: 0.25, examples").replace(
        "0.5", "0.75"
    )


@pytest.mark.parametrize(
    ("topics", "why"),
    [
        pytest.param("topics: {a: {examples: [b], threshold: &t 0.5}}", "is not a plain number", id="anchor"),
        pytest.param("topics: {a: {examples: [b], threshold: !!float 0.5}}", "is not a plain number", id="tag"),
        pytest.param('topics: {a: {examples: [b], threshold: "${T}"}}', "is not a plain number", id="variable"),
        pytest.param("topics:\n  a: &t\n    examples: [b]\n", "no line of its own", id="anchored-topic"),
        pytest.param(
            "topics:\n  c: {<<: &t {threshold: 0.5}, examples: [b]}\n  a: {<<: *t, examples: [d]}\n",
            "behind anchors",
            id="merged",
        ),
    ],
)
def test_what_is_not_safe_is_said(topics: str, why: str) -> None:
    with pytest.raises(CannotEdit, match=why):
        edited(topics)


@pytest.mark.parametrize("encode", [lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r\n")])
def test_marks_and_line_ends_stay(encode) -> None:  # type: ignore[no-untyped-def]
    content = encode((BASE + "topics:\n  a:\n    examples: [b]\n").encode())
    found = edit_thresholds(content, {"a": 0.25}, source="r", environ={})
    assert found == encode((BASE + "topics:\n  a:\n    threshold: 0.25\n    examples: [b]\n").encode())


def test_the_starter_keeps_its_comments() -> None:
    content = shipped("routes.yaml").read_bytes()
    names = parse_config(content, source="r", environ={}).topics
    found = edit_thresholds(content, dict.fromkeys(names, 0.25), source="r", environ={}).splitlines()
    assert [line for line in found if line.strip() != b"threshold: 0.25"] == content.splitlines()
    assert len(found) == len(content.splitlines()) + len(names)
