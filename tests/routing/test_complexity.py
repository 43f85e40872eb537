"""Complexity lies between its references, whatever a user gives as such; the built-in direction is up to date."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.embedding import MiniLM, Vectors
from proxy.routing.arrays import Floats
from proxy.routing.complexity import Complexity
from proxy.routing.complexity_references import (
    FITTED,
    MAX_TOKENS,
    built_in_complexity,
    built_in_references,
    made_of,
)
from proxy.shipped import shipped

HOME = shipped("models/all-MiniLM-L6-v2")


def unit(rows: Floats) -> Vectors:
    result: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return result


def cloud(rows: int, along: float, seed: int, dimensions: int = 16) -> Vectors:
    """Vectors around a place on the first axis."""
    points = np.random.default_rng(seed).normal(size=(rows, dimensions))
    points[:, 0] += along
    return unit(points)


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(HOME, max_tokens=MAX_TOKENS)


@pytest.fixture(scope="module")
def vectors(model: MiniLM) -> tuple[Vectors, Vectors]:
    simple, complex_ = built_in_references()
    return model.embed_all(simple), model.embed_all(complex_)


@pytest.mark.parametrize(("simple", "complex_"), [(200, 200), (20, 300), (300, 20)], ids=str)
def test_the_middle_of_unseen_texts_of_each_kind_lies_well_apart(simple: int, complex_: int) -> None:
    complexity = Complexity.fit(cloud(simple, -3, 1), cloud(complex_, 3, 2))
    low = np.median([complexity.score(row) for row in cloud(200, -3, 3)])
    high = np.median([complexity.score(row) for row in cloud(200, 3, 4)])
    assert 0.1 < low < 0.3
    assert 0.7 < high < 0.9


@given(st.integers(1, 7), st.integers(1, 7), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_references_give_scores_and_the_same_ones_the_same(
    simple: int, complex_: int, alike: bool, seed: int
) -> None:
    """Also one of each, and also when all of a kind are the same text."""
    a, b = cloud(simple, -1, seed), cloud(complex_, 1, seed + 1)
    if alike:
        a, b = np.repeat(a[:1], simple, axis=0), np.repeat(b[:1], complex_, axis=0)
    first, again = Complexity.fit(a, b), Complexity.fit(a, b)
    scores = [first.score(row) for row in (*a, *b, -a[0])]
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores == [again.score(row) for row in (*a, *b, -a[0])]


def test_one_of_each_stands_on_its_own_side() -> None:
    simple, complex_ = cloud(1, -1, 1), cloud(1, 1, 2)
    complexity = Complexity.fit(simple, complex_)
    assert complexity.score(simple[0]) < 0.5 < complexity.score(complex_[0])
    assert complexity.score(simple[0]) + complexity.score(complex_[0]) == pytest.approx(1)


def test_references_that_do_not_differ_say_nothing() -> None:
    text = cloud(1, 0, 1)
    complexity = Complexity.fit(np.repeat(text, 3, axis=0), text)
    assert complexity.score(text[0]) == complexity.score(-text[0]) == 0.5


def test_what_only_length_tells_apart_weighs_less_when_lengths_are_given() -> None:
    """The first axis is length; the second is what makes a text complex."""
    draw = np.random.default_rng(0)
    kinds = np.repeat([-1.0, 1.0], 600)  # the more there are, the more of it is left out
    log_lengths = 5 + kinds + draw.normal(size=1200)
    points = draw.normal(size=(1200, 16)) * 0.3
    points[:, 0] += log_lengths - 5
    points[:, 1] += kinds
    rows, lengths = unit(points), [int(length) for length in np.exp(log_lengths) + 40]
    blind = Complexity.fit(rows[:600], rows[600:])
    told = Complexity.fit(rows[:600], rows[600:], lengths)
    assert abs(told.direction[0] / told.direction[1]) < 0.8 * abs(blind.direction[0] / blind.direction[1])


@pytest.mark.parametrize("missing", [0, 1])
def test_a_kind_without_a_text_is_refused(missing: int) -> None:
    kinds = [cloud(2, 0, 1), cloud(2, 0, 2)]
    kinds[missing] = kinds[missing][:0]
    with pytest.raises(ValueError, match="at least one"):
        Complexity.fit(kinds[0], kinds[1])


def test_the_built_in_references_are_hundreds_of_different_texts_that_are_embedded_whole(model: MiniLM) -> None:
    simple, complex_ = built_in_references()
    assert min(len(simple), len(complex_)) >= 150
    assert len({*simple, *complex_}) == len(simple) + len(complex_)
    assert all(len(model.token_ids(text)) < MAX_TOKENS for text in (*simple, *complex_))


def test_the_direction_that_comes_with_the_package_is_up_to_date(vectors: tuple[Vectors, Vectors]) -> None:
    """If not: python -m bench.complexity --write"""
    assert json.loads(FITTED.read_bytes())["made_of"] == made_of(HOME / "model.onnx")
    lengths = [len(text) for kind in built_in_references() for text in kind]
    fitted, read = Complexity.fit(*vectors, lengths), built_in_complexity()
    differences = [fitted.score(row) - read.score(row) for row in np.concatenate(vectors)]
    assert np.abs(differences).max() < 1e-3


@pytest.mark.parametrize(
    ("simple", "complex_"),
    [
        pytest.param("What is the capital of Norway?", "Assess why Norway stayed outside the EU", id="short"),
        pytest.param("Write a haiku about rain", "Write a raft implementation with log compaction", id="writing"),
        pytest.param(
            "Make this list of guests alphabetical: " + "Eva, Otto, Ina, Paul, " * 20,
            "Prove that the halting problem is undecidable",
            id="long-and-simple",
        ),
    ],
)
def test_what_is_plainly_harder_scores_higher(model: MiniLM, simple: str, complex_: str) -> None:
    complexity = built_in_complexity()
    assert complexity.score(model.embed(simple)) < 0.5 < complexity.score(model.embed(complex_))
