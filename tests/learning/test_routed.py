"""What a whole routes.yaml is worth on rated requests, on cases small enough to reckon by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from proxy.learning.routed import Taken, on_rated
from proxy.learning.training_rows import Rows
from proxy.routing.inputs import INPUTS
from tests.learning.made import MODELS, made

NAMES = ("cheap", "best", "dear", "rare")
NONE = np.nan
SCORES = np.array(
    [
        [0, 1, 0, 1],
        [1, 1, 0, NONE],
        [0, 1, 1, NONE],
        [0, 0, 1, NONE],
        [0, 1, 0, NONE],
        [0, NONE, 1, NONE],  # what it went to is rated, and the best single model is not
        [NONE, 1, 0, NONE],
    ]
)
TAKEN = Taken(("short",) * 2 + ("long",) * 4 + ("rest",), ("cheap",) * 2 + ("dear",) * 4 + ("best",), Counter())


def rated(usd: tuple[float, ...]) -> Rows:
    weights = np.isfinite(SCORES).astype(np.float64)
    costs, count = np.tile(usd, (len(SCORES), 1)), len(SCORES)
    return Rows(NAMES, np.zeros((count, INPUTS), np.float32), SCORES, costs, weights, np.arange(count))


def test_compared_is_where_all_that_is_compared_was_rated() -> None:
    """A model that was rated on one request is neither the best single one nor the cheapest, whatever it got there."""
    found = on_rated(rated((0.001, 0.01, 0.05, 0.0001)), TAKEN)
    assert (found["single"], found["rows"], found["not_rated"]) == ("best", 5, 2)
    assert (found["quality"], found["single_quality"], found["above_single"]) == (0.6, 0.8, -0.2)
    assert (found["cost"], found["single_cost"]) == (30.4, 10.0)
    assert found["above_random_mix"] == -0.2, "a mix that costs more than the best model alone is that one, no better"
    assert found["routes"] == [
        {"route": "short", "rows": 2, "models": {"cheap": 2}, "quality": 0.5, "cost": 1.0, "single_quality": 1.0},
        {"route": "long", "rows": 3, "models": {"dear": 3}, "quality": 0.6667, "cost": 50.0, "single_quality": 0.6667},
    ]


def test_without_costs_no_model_is_the_cheapest_and_needs_no_rating() -> None:
    found = on_rated(rated((NONE,) * 4), TAKEN)
    assert (found["rows"], found["not_rated"], found["cost"], found["above_random_mix"]) == (6, 1, None, None)
    assert [each["route"] for each in found["routes"]] == ["short", "long", "rest"]


def test_the_seed_draws_the_intervals() -> None:
    rows = made(60)
    taken = Taken(("all",) * 60, (MODELS[0],) * 60, Counter())
    one, same, other = (on_rated(rows, taken, seed=seed)["interval"] for seed in (1, 1, 2))
    assert one == same != other


def test_a_request_that_costs_nothing_known_spoils_no_figure_but_the_money() -> None:
    rows = rated((0.001, 0.01, 0.05, 0.0001))
    costs = rows.costs.copy()
    costs[0] = NONE
    found = on_rated(replace(rows, costs=costs), TAKEN)
    assert (found["quality"], found["cost"], found["above_random_mix"]) == (0.6, None, None)
    assert found["routes"][1]["cost"] == pytest.approx(50.0)
