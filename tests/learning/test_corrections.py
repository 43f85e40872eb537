"""What ratings add to predictions, as arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.learning.corrections import HALF_LIVES, PRIOR, SHARE, Corrections, bounded, corrections_of
from proxy.learning.stored_rows import LiveRating

NOW, HALF_LIFE_S = 1_000_000.0, 1000.0
MODELS = ("small", "large")


def rating(number: int = 0, **fields: Any) -> LiveRating:
    """A bad one, of a user that nobody else is."""
    plain = LiveRating(1, "large", 0.75, 0.25, NOW, "user", number.to_bytes(4, "big"), f"ptm-{number}")
    return msgspec.structs.replace(plain, **fields)


def computed(ratings: Sequence[LiveRating], *, most: float = 1.0) -> Corrections:
    return corrections_of(ratings, models=MODELS, regions=3, now=NOW, half_life_s=HALF_LIFE_S, most=most)


def cell(ratings: Sequence[LiveRating], *, most: float = 1.0) -> float:
    return float(computed(ratings, most=most).added[1, 1])


def test_a_cell_is_the_mean_difference_after_ten_ratings_of_none() -> None:
    found = computed([rating(number) for number in range(30)])
    assert found.added[1, 1] == pytest.approx(-0.5 * 30 / (30 + PRIOR))
    assert (found.ratings[1, 1], found.weight[1, 1]) == (30, 30.0)
    rest = found.added.copy()
    rest[1, 1] = 0
    assert not rest.any(), "no other region and no other model"


def test_few_ratings_move_little_and_many_nearly_all_the_way() -> None:
    moved = [-cell([rating(number) for number in range(count)]) for count in (0, 5, 50, 5000)]
    assert moved == sorted(moved)
    assert moved[0] == 0
    assert moved[1] < 0.2
    assert moved[-1] == pytest.approx(0.5, abs=0.002)


def test_it_stays_within_bounds_either_way() -> None:
    bad = [rating(number) for number in range(100)]
    assert cell(bad, most=0.2) == pytest.approx(-0.2)
    good = [msgspec.structs.replace(each, rating=1.0, predicted=0.1) for each in bad]
    assert cell(good, most=0.2) == pytest.approx(0.2)
    assert cell(bad, most=0.0) == 0


def test_a_rating_counts_half_after_a_half_life() -> None:
    old = [rating(number, time=NOW - HALF_LIFE_S) for number in range(30)]
    assert cell(old) == pytest.approx(-0.5 * 15 / (15 + PRIOR))
    fresh = [rating(number, rating=1.0) for number in range(100, 130)]
    assert cell([*old, *fresh]) == pytest.approx((0.25 * 30 - 0.5 * 15) / (45 + PRIOR))
    assert cell([rating(time=NOW - HALF_LIFE_S * (HALF_LIVES + 0.01))]) == 0
    assert cell([rating(time=NOW + 5.0)]) == cell([rating()]), "another machine's clock may be ahead"


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param([rating(0, decision=f"ptm-{n}") for n in range(10_000)], id="one conversation"),
        pytest.param(
            [rating(0, decision=f"ptm-{n}", source=f"name-{n}") for n in range(10_000)],
            id="one conversation, many names",
        ),
        pytest.param([rating(n, source="judge") for n in range(10_000)], id="one source, every conversation"),
    ],
)
def test_a_flood_by_one_source_moves_its_share_and_no_more(flood: list[LiveRating]) -> None:
    alone = computed(flood)
    assert alone.weight[1, 1] / (alone.weight[1, 1] + PRIOR) == pytest.approx(SHARE)
    assert alone.added[1, 1] == pytest.approx(-0.5 * SHARE)
    good = [rating(number, rating=1.0) for number in range(20_000, 20_030)]
    both = computed([*flood, *good])
    assert both.added[1, 1] == pytest.approx(-0.5 * SHARE + (1 - SHARE) * 0.25 * 30 / (30 + PRIOR))
    assert both.added[1, 1] > 0, "thirty users outvote it"
    assert both.ratings[1, 1] == 10_030


@pytest.mark.parametrize(("sources", "conversations"), [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_floods_at_once_move_a_share_each_and_no_more(sources: int, conversations: int) -> None:
    """Some by a source in every conversation, and some in a conversation under every name."""
    count = 20_000 // (sources + conversations)
    floods = [rating(n, source=f"judge-{n % sources}") for n in range(sources * count)]
    floods += [
        rating(n % conversations, decision=f"other-{n}", source=f"name-{n}", conversation=b"%d" % (n % conversations))
        for n in range(conversations * count)
    ]
    weight = computed(floods).weight[1, 1]
    assert weight / (weight + PRIOR) == pytest.approx((sources + conversations) * SHARE, rel=1e-5)


def test_a_decision_counts_once_under_however_many_names() -> None:
    names = [rating(0, source=f"judge-{n}", conversation=b"%d" % n) for n in range(20)]
    assert cell(names) == pytest.approx(cell([rating(0)]))
    mixed = [rating(0, source="user", rating=1.0), rating(0, source="judge", rating=0.0)]
    assert cell(mixed) == pytest.approx((0.5 - 0.75) / (1 + PRIOR)), "at their mean"


def test_what_the_policy_does_not_know_is_left_out() -> None:
    odd = [rating(model="gone"), rating(region=3), rating(region=-1)]
    assert not computed(odd).added.any()
    assert not computed(odd).ratings.any()


@given(st.lists(st.floats(1e-6, 1e6), max_size=30), st.floats(0.05, 1.0), st.floats(0.1, 100))
def test_no_source_has_more_than_its_share(weights: list[float], share: float, prior: float) -> None:
    before = np.array(weights, dtype=np.float64)
    after = bounded(before, share=share, prior=prior)
    whole = prior + after.sum()
    assert (after <= share * whole * (1 + 1e-6)).all()
    cut = after < before
    assert np.allclose(after[cut], share * whole, rtol=1e-6), "what is cut has its whole share"
    assert np.array_equal(after[~cut], before[~cut]), "what has less is left alone"
