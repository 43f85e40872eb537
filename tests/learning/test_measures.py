"""The figures, on cases small enough to reckon by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proxy.learning.held_out import HeldOut
from proxy.learning.linear import apply, fit_ridges, non_negative
from proxy.learning.measures import bootstrap, calibration_error, figures, interval, outcomes, pair
from proxy.learning.prefer import _falling
from proxy.learning.training_rows import Rows


def held(scores: list[list[float]], quality: list[list[float]]) -> HeldOut:
    count = len(scores)
    array = np.array(scores, dtype=np.float64)
    costs = np.tile([1.0, 3.0], (count, 1))
    rows = Rows(
        ("weak", "strong"), np.zeros((count, 770), np.float32), array, costs, np.ones_like(array), np.arange(count)
    )
    picks = np.zeros((101, count), dtype=np.int64)
    picks[50:, 0] = 1
    return HeldOut(rows, np.array(quality), costs, picks, np.ones(count, dtype=np.int64))


CASE = held([[0, 1], [1, 1], [0, 1], [1, 1]], [[0.1, 0.9], [0.9, 0.9], [0.2, 0.8], [0.9, 0.8]])


def test_a_pair_whose_gains_come_first_recovers_the_gap_with_half_of_the_calls() -> None:
    found = pair(CASE, 1, 0)
    assert (found.apgr, found.cpt50, found.cpt80) == (0.75, 0.25, 0.5)
    worst = pair(CASE, 1, 0, np.array([0.0, 1.0, 0.0, 1.0]))
    assert worst.apgr == 0.25
    assert np.isnan(pair(CASE, 0, 1).apgr), "the weak one has no gap to recover"


def test_a_random_mix_of_the_same_cost_is_what_there_is_to_beat() -> None:
    own = figures(outcomes(CASE))
    assert (own.quality[0], own.quality[100], float(own.single)) == (0.5, 0.75, 1.0)
    assert own.cost[100] == 1.5
    assert own.mixed[100] == 0.625
    assert own.gain == pytest.approx(0.125 * 51 / 101)
    assert np.isnan(own.saved_at(1.0))
    assert own.saved_at(0.75) == pytest.approx(0.5)


@pytest.mark.parametrize("usd", [0.1, 0.3, 1e-9])
@pytest.mark.parametrize("count", [7, 30, 60, 1000])
def test_where_all_models_cost_the_same_the_best_single_one_is_what_there_is_to_beat(usd: float, count: int) -> None:
    case = held([[0, 1]] * count, [[0.1, 0.9]] * count)
    same = replace(case, rows=replace(case.rows, costs=np.full((count, 2), usd)), picks=np.ones_like(case.picks))
    own = figures(outcomes(same))
    assert own.gain == pytest.approx(0.0)
    assert own.mixed == pytest.approx(1.0)
    drawn = figures(outcomes(same), bootstrap(same.rows.groups, 0))
    assert drawn.gain == pytest.approx(np.zeros(400))


def test_an_end_of_an_interval_among_draws_without_a_figure_has_none() -> None:
    draws = np.linspace(-3.0, 1.0, 401)
    assert interval(draws) == pytest.approx((-2.8, 0.8))
    draws[:20] = np.nan
    assert interval(draws) == pytest.approx((-2.8, 0.8)), "less than the 5th"
    draws[20] = np.nan
    low, high = interval(draws)
    assert np.isnan(low)
    assert high == pytest.approx(0.8)
    assert np.isnan(interval(np.full(400, np.nan))).all()


def test_calibration_error() -> None:
    sure = np.array([[0.8]] * 10)
    assert calibration_error(sure, np.array([[1.0]] * 8 + [[0.0]] * 2)) == pytest.approx(0.32)
    assert calibration_error(np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])) == 0.0


def test_a_model_that_was_rated_ten_times_as_often_counts_as_often_in_the_calibration() -> None:
    predicted, scores = np.full((100, 2), 0.5), np.full((100, 2), np.nan)
    scores[:, 0] = np.tile([0.0, 1.0], 50)
    scores[:10, 1] = 1.0
    assert calibration_error(predicted, scores) == pytest.approx(0.5 * 10 / 110)


def test_non_negative_least_squares_leaves_out_what_would_need_a_minus() -> None:
    random = np.random.default_rng(0)
    columns = random.normal(size=(200, 4))
    assert non_negative(columns, columns @ [0.5, 0.0, 2.0, 0.25]) == pytest.approx([0.5, 0.0, 2.0, 0.25], abs=1e-8)
    found = non_negative(columns, columns @ [1.0, -1.0, 0.0, 0.0])
    assert found[1] == 0.0
    slope = columns.T @ (columns @ [1.0, -1.0, 0.0, 0.0] - columns @ found)
    assert (slope[found == 0] <= 1e-6).all(), "Kuhn and Tucker's condition"
    assert slope[found > 0] == pytest.approx(0, abs=1e-6)


def test_a_ridge_leaves_out_rows_without_weight() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(50, 3)).astype(np.float32)
    target = inputs @ np.array([[1.0], [2.0], [0.0]]) + 5.0
    target[40:] = np.nan
    weights = np.ones((50, 1))
    weights[40:] = 0.0
    (found,) = fit_ridges(inputs, target, weights, [1e-6])
    assert apply(found, inputs[:5]) == pytest.approx(target[:5], abs=1e-4)


def test_a_few_missing_values_cost_no_decomposition_and_change_little() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(400, 5)).astype(np.float32)
    target = inputs @ random.normal(size=(5, 2)) + [3.0, -1.0]
    thin, weights = target.copy(), np.ones((400, 2))
    thin[:6, 0], weights[:6, 0] = np.nan, 0.0
    (found,) = fit_ridges(inputs, thin, weights, [1e-3])
    assert apply(found, inputs) == pytest.approx(target, abs=0.2)
    (alone,) = fit_ridges(inputs, target[:, 1:], np.ones((400, 1)), [1e-3])
    assert found[:, 1:] == pytest.approx(alone)


def test_what_may_not_rise_is_levelled() -> None:
    assert _falling(np.array([3.0, 1.0, 2.0, 0.0])).tolist() == [3.0, 1.5, 1.5, 0.0]
