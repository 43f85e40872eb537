"""The figures of a policy on rated requests, and how sure they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proxy.learning.held_out import HeldOut
from proxy.learning.report import report
from proxy.learning.training_rows import Rows
from proxy.routing.inputs import INPUTS


def held(count: int = 60) -> HeldOut:
    """Every policy takes `weak` below the middle of `prefer`, and `strong` from there on."""
    random = np.random.default_rng(0)
    scores = (random.random((count, 2)) < [0.4, 0.8]).astype(np.float64)
    costs, ones = np.tile([0.001, 0.01], (count, 1)), np.ones((count, 2))
    rows = Rows(("weak", "strong"), np.zeros((count, INPUTS), np.float32), scores, costs, ones, np.arange(count))
    picks = np.tile(np.arange(101)[:, np.newaxis] >= 50, count).astype(np.int64)
    return HeldOut(rows, np.tile([0.4, 0.8], (count, 1)), costs, picks, np.ones(count, dtype=np.int64))


def width(found: dict[str, list[float]]) -> float:
    low, high = found["above_single_interval"]
    return high - low


def test_of_the_same_choices_as_the_best_single_models_nothing_is_unsure() -> None:
    """Its luck is theirs: both are drawn together."""
    found = report(held())["settings"]
    assert found["quality"]["above_single_interval"] == [0.0, 0.0]
    assert width(found["cheap"]) > 0.1


def test_the_turns_of_a_conversation_make_no_figure_surer() -> None:
    alone = held()
    six = replace(alone, rows=replace(alone.rows, conversations=np.arange(60) // 10))
    six.rows.scores[:] = np.repeat([[1, 0], [0, 1], [0, 1], [1, 1], [0, 1], [0, 1]], 10, axis=0)
    told = [report(each)["settings"]["cheap"] for each in (alone, six)]
    assert told[0]["above_single"] == told[1]["above_single"]
    assert width(told[1]) > 2 * width(told[0])


def test_the_seed_draws_the_intervals() -> None:
    one, same, other = (report(held(), seed=seed) for seed in (1, 1, 2))
    assert one == same != other
