"""A forest that is grown finds what there is to find, and walks the same way for one request as for many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proxy.learning.grow import DEPTH, MOST_VALUES, TREES, grow
from proxy.routing.arrays import Floats, Floats32
from proxy.routing.forest import BEYOND, Forest, bare


def numbers(count: int = 1500, width: int = 6, seed: int = 0) -> Floats32:
    return np.random.default_rng(seed).random((count, width), dtype=np.float32)


def above(asked: Floats32) -> Floats:
    """Of two models, each ahead in two opposite quarters: nothing that a linear map could see."""
    ahead = np.where((asked[:, 0] > 0.5) == (asked[:, 1] > 0.5), 0.3, -0.3)
    return np.stack([ahead, -ahead], axis=1)


def error(forest: Forest, asked: Floats32) -> float:
    return float(np.abs(forest.excess(asked) - above(asked)).mean())


def test_it_finds_what_no_line_tells_apart() -> None:
    asked = numbers()
    forest = grow(asked, above(asked), np.ones((len(asked), 2)), 0)
    assert error(forest, numbers(seed=1)) < 0.12
    assert forest.depth <= DEPTH
    assert len(forest.roots) == TREES


def test_noise_is_shrunk_to_the_mean() -> None:
    asked, random = numbers(), np.random.default_rng(2)
    forest = grow(asked, random.choice([-0.5, 0.5], (len(asked), 2)), np.ones((len(asked), 2)), 0)
    assert np.abs(forest.excess(numbers(seed=1))).mean() < 0.06


def test_the_seed_decides() -> None:
    asked = numbers(300)
    one, same, other = (grow(asked, above(asked), np.ones((300, 2)), seed) for seed in (0, 0, 1))
    assert np.array_equal(one.limits, same.limits)
    assert not np.array_equal(one.limits[:100], other.limits[:100])


def test_one_request_goes_as_many_do() -> None:
    asked = numbers(400)
    forest = grow(asked, above(asked), np.ones((400, 2)), 0)
    each = [forest.excess_at(row) for row in asked]
    assert np.allclose(forest.excess(asked), each, atol=1e-6)


def test_one_rating_a_request_is_enough() -> None:
    """As stored decisions have them: of the model that was drawn, weighing one over its chance."""
    asked, random = numbers(6000), np.random.default_rng(3)
    drawn = random.random(len(asked)) < 0.25
    weights = np.stack([drawn / 0.25, ~drawn / 0.75], axis=1)
    assert error(grow(asked, above(asked) * weights, weights, 0), numbers(seed=1)) < 0.15


def test_an_unknown_number_says_nothing() -> None:
    asked = numbers()
    odd = asked.copy()
    odd[::3, 2] = np.nan
    forest = grow(odd, np.where(np.isnan(odd[:, 2:3]), 5.0, above(asked)), np.ones((len(asked), 2)), 0)
    found = forest.excess(odd)
    assert not found[::3].any()
    assert np.abs(found).max() < 0.5, "the rows that were not known are in no leaf"


@pytest.mark.parametrize("count", [0, 1, 19])
def test_of_too_few_there_is_no_tree(count: int) -> None:
    asked = numbers(count)
    forest = grow(asked, above(asked), np.ones((count, 2)), 0)
    assert (len(forest.roots), forest.depth) == (0, 0)
    assert not forest.excess(numbers(5)).any()
    assert forest.excess_at(numbers(1)[0]).tolist() == [0.0, 0.0]


def test_equal_numbers_are_not_split() -> None:
    asked = np.ones((200, 4), dtype=np.float32)
    forest = grow(asked, np.tile([0.2, -0.2], (200, 1)), np.ones((200, 2)), 0)
    assert forest.depth == 0
    assert forest.excess_at(asked[0]) == pytest.approx([0.2, -0.2], abs=0.01)


def test_hundreds_of_models_do_not_fill_the_memory() -> None:
    asked, models = numbers(3000), 800
    forest = grow(asked, np.zeros((3000, models)), np.ones((3000, models)), 0)
    assert forest.values.size <= MOST_VALUES


def test_what_leads_nowhere_is_not_sound() -> None:
    asked = numbers(200)
    forest = grow(asked, above(asked), np.ones((200, 2)), 0)
    assert forest.is_sound(6)
    assert bare(2).is_sound(6)
    assert not forest.is_sound(int(forest.asks.max())), "asks for a number that there is not"
    last = len(forest.asks) - 1
    for name, place, value in (
        ("firsts", 0, last),  # whose right child there is not
        ("firsts", last, 0),  # back to the root: no end
        ("roots", 0, last + 1),
        ("roots", 0, -1),
        ("asks", 0, -1),
        ("limits", last, 0.0),  # a leaf's, beyond which is another one
    ):
        changed = getattr(forest, name).copy()
        changed[place] = value
        assert not replace(forest, **{name: changed}).is_sound(6), (name, place, value)
    nodes = 2 * 70 + 1  # a staircase of seventy steps
    firsts = np.arange(nodes)
    firsts[: nodes - 2 : 2] = np.arange(1, nodes - 1, 2)
    steps = np.where(firsts == np.arange(nodes), BEYOND, 0.0).astype(np.float32)
    stairs = Forest(np.array([0]), np.zeros(nodes, np.int64), steps, firsts, np.zeros((nodes, 2), np.float32))
    assert not stairs.is_sound(6)
