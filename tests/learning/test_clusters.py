"""Means of conversations, against the same computed row by row; and what another way to choose would gain."""

from __future__ import annotations

import numpy as np
import pytest

from proxy.learning.clusters import NOTHING, Mean, Sums
from proxy.learning.gain import Moments


def sums(values: list[list[float]]) -> Sums:
    totals, sizes = np.array([sum(each) for each in values]), np.array([len(each) for each in values], dtype=float)
    return Sums(
        len(values), float(sizes.sum()), float(totals.sum()), float(totals @ totals), float(totals @ sizes),
        float(sizes @ sizes),
    )  # fmt: skip


def test_turns_of_one_conversation_are_no_independent_witnesses() -> None:
    random = np.random.default_rng(0)
    own = [[float(random.random() < 0.6)] for _ in range(400)]
    alone, repeated = sums(own).mean, sums([each * 5 for each in own]).mean
    assert repeated.value == alone.value
    assert repeated.error == pytest.approx(alone.error)
    assert (repeated.rows, repeated.clusters) == (2000, 400)
    each = np.array(own)[:, 0]
    assert alone.error == pytest.approx(each.std(ddof=1) / 20)


def test_intervals_hold_what_they_promise() -> None:
    random, held = np.random.default_rng(1), 0
    for _ in range(300):
        moods, sizes = random.normal(0.5, 0.2, 60), random.integers(1, 6, 60)
        interval = sums([list(random.normal(m, 0.1, n)) for m, n in zip(moods, sizes, strict=True)]).mean.interval
        assert interval is not None
        held += interval[0] <= 0.5 <= interval[1]
    assert 0.9 * 300 <= held <= 300 * 0.99


@pytest.mark.parametrize(("truth", "count"), [(0.01, 60), (0.99, 60), (0.004, 391)])
def test_all_alike_is_no_certainty(truth: float, count: int) -> None:
    random, held, alike = np.random.default_rng(4), 0, 0
    for _ in range(400):
        share = sums([[float(random.random() < truth)] for _ in range(count)]).share
        assert share.interval is not None
        if share.value in (0.0, 1.0):
            alike += 1
            held += share.interval[0] <= truth <= share.interval[1]
    assert held == alike
    assert sums([[0.0]] * 391).share.interval == pytest.approx((-0.007, 0.007), abs=1e-3)
    some = sums([[0.0], [1.0], [0.0]])
    assert some.share == some.mean


def test_too_little_has_no_interval() -> None:
    assert NOTHING.interval is None
    one = sums([[1.0, 0.0]]).mean
    assert (one.value, one.interval, one.is_enough) == (0.5, None, False)
    assert one.less(NOTHING).value is None


def test_a_difference_is_as_sure_as_both_and_as_known_as_the_fewer() -> None:
    many, few = Mean(0.7, 0.03, 400, 900), Mean(0.5, 0.04, 10, 1_000)
    for found in (many.less(few), few.less(many)):
        assert found.error == pytest.approx(0.05)
        assert (found.clusters, found.rows, found.is_enough) == (10, 900, False)


def test_how_many_more_are_needed() -> None:
    few = sums([[float(n % 2)] for n in range(40)]).mean
    needed = few.more_needed(few)
    # the textbook's number for two shares of a half, a difference of 0.05, 80% power: 1,567 of each
    assert 1567 - 40 <= needed <= 1567 * 40 / 39 - 30
    assert Mean(0.5, 1e-6, 10_000, 10_000).more_needed(Mean(0.5, 1e-6, 10_000, 10_000)) == 0


def test_a_gain_is_found_where_there_is_one() -> None:
    random, gains = np.random.default_rng(2), []
    for _ in range(200):
        chosen = random.random(500) < 0.3  # the better one, worth 0.8 against 0.5, is drawn by a chance of 0.3
        earned = (random.random(500) < np.where(chosen, 0.8, 0.5)).astype(float)
        gains.append(
            Moments.of(earned, chosen / 0.3, np.ones(500), np.where(chosen, 0.3, 0.7), groups=np.arange(500)).gain
        )
    truth = 0.8 - (0.3 * 0.8 + 0.7 * 0.5)
    held = sum(gain.low is not None and gain.high is not None and gain.low <= truth <= gain.high for gain in gains)
    assert np.mean([gain.value or 0.0 for gain in gains]) == pytest.approx(truth, abs=0.01)
    assert 0.9 * 200 <= held < 200
    assert gains[0].effective == pytest.approx(150, abs=30)


@pytest.mark.parametrize(
    ("other", "usual"), [pytest.param(1_000, 1_000, id="of-both"), pytest.param(1_000, 30, id="of-the-other-way"),
                         pytest.param(100, 1_000, id="of-the-usual-way")],
)  # fmt: skip
def test_what_one_conversation_makes_up_is_not_known(other: float, usual: float) -> None:
    """Sixty others tell of the difference, but nobody what the whole is worth."""
    earned, groups = np.tile([0.0, 1.0], 31)[:61], np.arange(61)
    w, v = np.r_[other, np.full(60, 5.0)], np.r_[usual, np.ones(60)]
    gain = Moments.of(earned, w, v, np.full(61, 0.5), groups=groups).gain
    assert gain.value is not None
    assert (gain.low, gain.high, gain.is_enough) == (None, None, False)


def test_a_gain_that_nothing_tells_of() -> None:
    half = np.full(2, 0.5)
    gain = Moments.of(np.array([1.0, 0.0]), np.zeros(2), np.ones(2), half, groups=np.arange(2)).gain
    assert (gain.value, gain.is_enough, gain.rows) == (None, False, 2)
    gain = Moments.of(np.ones(1), np.ones(1), np.ones(1), half[:1], groups=np.arange(1)).gain
    assert (gain.value, gain.low, gain.is_enough) == (0.0, None, False)
    assert Moments.of(*4 * (np.empty(0),), groups=np.arange(0)).gain.rows == 0
