"""Off-policy estimates, on logs of which the truth is known."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from proxy.learning.gain import Gain, Moments
from proxy.learning.offpolicy import FEWEST, Estimate, doubly_robust, inverse_propensity, known_by
from proxy.routing.arrays import Floats

ROWS, MODELS, SHARE = 2000, 3, 0.1


class Log:
    """Requests decided by one policy that explores in a tenth of them, and the mean rating of another."""

    def __init__(
        self,
        seed: int,
        *,
        right: float = 0.8,
        share: float = SHARE,
        other_from: float = 0.5,
        turns: int = 1,
        is_split: bool = False,
    ) -> None:
        """
        Args:
            seed: of all chance.
            right: how far the predictions are right; 1 for the true chances.
            share: of requests that explore.
            other_from: the hardness from which the other policy decides otherwise.
            turns: of a conversation, which are as hard as each other, and mostly liked alike.
            is_split: whether a conversation is drawn for as a whole.
        """
        draw = np.random.default_rng(seed)
        self.groups = np.arange(ROWS) // turns

        def drawn(*, together: bool) -> Floats:
            return draw.random(ROWS)[self.groups * turns] if together else draw.random(ROWS)

        hardness = drawn(together=True)
        chances = np.clip(np.linspace(0.9, 0.95, MODELS) - np.outer(hardness, (0.7, 0.4, 0.2)), 0.02, 0.98)
        in_use = np.zeros(ROWS, dtype=int)
        other = np.where(hardness > other_from, 2, 0)
        explores = drawn(together=is_split) < share
        chosen = np.where(explores, (MODELS * drawn(together=is_split)).astype(int), in_use)
        self.propensities = np.where(chosen == in_use, 1 - share, 0.0) + share / MODELS
        rows = np.arange(ROWS)
        mood = np.where(draw.random(ROWS) < 0.8, drawn(together=True), drawn(together=False))
        self.ratings = (mood < chances[rows, chosen]).astype(float)
        self.target = (chosen == other).astype(float)
        guessed = chances * right + 0.3 * (1 - right)
        self.predicted, self.predicted_of_target = guessed[rows, chosen], guessed[rows, other]
        self.truth, self.usual = _truth(other_from), _truth(1.0)
        self.chosen = chosen
        self.own = float((chances[:, 0] * (1 - share) + chances.mean(axis=1) * share).mean())

    @property
    def known_by(self) -> float:
        return known_by(self.target / self.propensities, self.propensities, np.full(ROWS, MODELS - 1.0), self.groups)

    @property
    def gain(self) -> Gain:
        weights = self.target / self.propensities
        return Moments.of(self.ratings, weights, np.ones(ROWS), self.propensities, groups=self.groups).gain

    def doubly_robust(self) -> Estimate:
        return doubly_robust(
            self.ratings, self.propensities, self.target, self.predicted, self.predicted_of_target, self.groups
        )

    def inverse_propensity(self) -> Estimate:
        return inverse_propensity(self.ratings, self.propensities, self.target, self.groups)


@cache
def _truth(other_from: float) -> float:
    """Over all hardness, 0 to 1, evenly."""
    hardness = (np.arange(1_000_000) + 0.5) / 1_000_000
    easy = np.clip(0.9 - 0.7 * hardness, 0.02, 0.98)
    hard = np.clip(0.95 - 0.2 * hardness, 0.02, 0.98)
    return float(np.where(hardness > other_from, hard, easy).mean())


@pytest.mark.parametrize("how", ["doubly_robust", "inverse_propensity"])
def test_the_interval_holds_the_truth(how: str) -> None:
    estimates = [(log := Log(seed), getattr(log, how)()) for seed in range(200)]
    held = sum(estimate.low <= log.truth <= estimate.high for log, estimate in estimates)
    assert 180 <= held <= 200
    assert all(estimate.is_enough for _, estimate in estimates)


@pytest.mark.parametrize("is_split", [True, False], ids=["a draw for all turns", "a draw each"])
@pytest.mark.parametrize("how", ["doubly_robust", "inverse_propensity", "gain"])
def test_turns_of_one_conversation_are_no_independent_witnesses(how: str, is_split: bool) -> None:
    """The interval holds the truth all the same; it would not if each turn counted."""

    def holds(log: Log) -> bool:
        if how == "gain":
            return _holds(log.gain, log.truth - log.own)
        estimate: Estimate = getattr(log, how)()
        return estimate.low <= log.truth <= estimate.high

    logs = [Log(seed, share=0.5, turns=10, is_split=is_split) for seed in range(200)]
    assert 180 <= sum(map(holds, logs)) <= 200
    if is_split:
        assert max(log.known_by for log in logs) < ROWS / 10, "as many as there are conversations"
    for log in logs:
        log.groups = np.arange(ROWS)
    assert sum(map(holds, logs)) < 170


def _holds(gain: Gain, truth: float) -> bool:
    return gain.low is not None and gain.high is not None and gain.low <= truth <= gain.high


@pytest.mark.parametrize("other_from", [0.5, 0.9])
def test_where_a_difference_was_hardly_drawn_nothing_is_known_of_it(other_from: float) -> None:
    """Two in a thousand tell of each other choice. Where none of them came up, all others agree, and say nothing."""
    logs = [Log(seed, share=0.006, other_from=other_from) for seed in range(200)]
    assert sum(_holds(log.gain, log.truth - log.own) for log in logs) < 170, "the interval alone is not to be believed"
    assert not any(log.gain.is_enough for log in logs)
    assert max(log.known_by for log in logs) < FEWEST


def test_of_four_models_a_rare_one_is_one_of_three() -> None:
    """One of 401 that another way would all give to it was drawn: by chance four are, and nothing is known by one."""
    weights = np.array([100.0] + [0.0] * 400)
    propensities = np.where(weights > 0.0, 0.01, 0.97)
    found = known_by(weights, propensities, np.full(401, 3.0), np.arange(401))
    assert found == pytest.approx(1 / 4.01)


def test_where_it_was_drawn_often_enough_the_difference_is_told() -> None:
    logs = [Log(seed, share=0.3) for seed in range(200)]
    assert sum(_holds(log.gain, log.truth - log.own) for log in logs) >= 180
    assert all(log.gain.is_enough for log in logs)
    assert min(log.known_by for log in logs) > FEWEST


def test_against_another_way_that_is_sure_the_difference_is_told_as_well() -> None:
    """Both were tried by chance alone: the difference of the two, and nothing of what exploring cost."""
    held, told = 0, []
    for seed in range(200):
        log = Log(seed, share=0.3)
        usual = (log.chosen == 0) / log.propensities
        weights = log.target / log.propensities
        gain = Moments.of(log.ratings, weights, usual, log.propensities, groups=log.groups).gain
        same = Moments.of(log.ratings, usual, usual, log.propensities, groups=log.groups).gain
        assert (same.value, same.low, same.high, same.effective) == pytest.approx((0.0, 0.0, 0.0, 0.0))
        assert gain.is_enough
        held += _holds(gain, log.truth - log.usual)
        told.append(gain.value)
    assert held >= 180
    assert np.mean(np.array(told, dtype=float)) == pytest.approx(log.truth - log.usual, abs=0.005)


def test_a_way_that_explores_as_the_one_in_use_does_is_worth_the_same() -> None:
    log = Log(0, share=0.3)
    gain = Moments.of(log.ratings, np.ones(ROWS), np.ones(ROWS), log.propensities, groups=log.groups).gain
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.0, 0.0, 0.0))
    assert not gain.is_enough


def test_right_predictions_bring_it_nearer_to_the_truth() -> None:
    logs = [Log(seed, right=1.0) for seed in range(200)]
    misses = [
        [getattr(log, how)().value - log.truth for log in logs] for how in ("doubly_robust", "inverse_propensity")
    ]
    assert np.std(misses[0]) < np.std(misses[1])


def test_the_policy_in_use_is_worth_its_mean() -> None:
    ratings = np.array([0.0, 1.0, 1.0, 0.5])
    ones, each = np.ones(4), np.arange(4)
    for estimate in (
        inverse_propensity(ratings, ones, ones, each),
        doubly_robust(ratings, ones, ones, ones * 0.3, ones * 0.3, each),
    ):
        assert estimate.value == pytest.approx(0.625)
        assert estimate.effective == 4
        assert not estimate.is_enough


def test_where_the_two_never_agree_nothing_is_known() -> None:
    ratings, chance, never, each = np.ones(50), np.full(50, 0.5), np.zeros(50), np.arange(50)
    estimate = inverse_propensity(ratings, chance, never, each)
    assert math.isnan(estimate.value)
    assert not estimate.is_enough
    assert not doubly_robust(ratings, chance, never, ratings, ratings, each).is_enough


def test_a_choice_without_a_chance_is_refused() -> None:
    wrong: Floats = np.array([0.5, 0.0])
    with pytest.raises(ValueError, match="above 0"):
        inverse_propensity(np.ones(2), wrong, np.ones(2), np.arange(2))


@pytest.mark.parametrize("rows", [1, 50])
def test_one_conversation_tells_nothing_of_others(rows: int) -> None:
    ones, alone = np.ones(rows), np.zeros(rows, dtype=np.int64)
    for estimate in (
        doubly_robust(ones, ones, ones, ones, ones, alone),
        inverse_propensity(ones, ones, ones, alone),
    ):
        assert (estimate.value, estimate.effective, estimate.is_enough) == (1.0, 1.0, False)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
    gain = Moments.of(ones, 2 * ones, ones, 0.5 * ones, groups=alone).gain
    assert (gain.value, gain.low, gain.high, gain.is_enough) == (0.0, None, None, False)
