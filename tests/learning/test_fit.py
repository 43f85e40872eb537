"""A policy finds what there is to find, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from proxy.embedding import DIMENSIONS
from proxy.learning.fit import fit_policy
from proxy.learning.held_out import HeldOut, cross_fit, decide_all
from proxy.learning.incumbent import in_order, why_keep
from proxy.learning.measures import calibration_error, figures, outcomes
from proxy.learning.report import report, why_not_better
from proxy.learning.training_rows import Rows, blocks_of, folds_of
from proxy.routing.inputs import INPUTS, LINEAR, inputs_of
from proxy.routing.policy import ALWAYS_SINGLE
from proxy.routing.shape import SIZE, UNKNOWN, shape_of
from tests.learning.made import MODELS, made


def test_what_can_be_learned_is_learned() -> None:
    held = cross_fit(made(), embedder="e", folds=3)
    found = report(held)
    assert why_not_better(found) is None
    assert found["single"] == "large"
    assert found["settings"]["quality"]["above_single_interval"][1] >= 0
    assert found["saved"][0]["saved"] > 0.7, "the cheap specialists are as good, each at its own"
    assert found["gain"] > 0.05
    assert found["pair"]["weak"] == found["cheapest"]
    assert calibration_error(held.quality, held.rows.scores) < 0.12


def put(seed: int = 0, count: int = 600, *, known: bool = True) -> Rows:
    """Requests whose vectors say nothing: `maths` answers those with numbers to choose from, `talk` those with words."""
    random = np.random.default_rng(seed)
    is_numbers = random.random(count) < 0.5
    answers = [("A. 12\nB. 7" if each else "A. twelve\nB. seven") for each in is_numbers.tolist()]
    shapes = np.stack([shape_of(f"{'so ' * int(random.integers(20))}Which?\n{each}") for each in answers])
    vectors = random.normal(size=(count, 768)).astype(np.float32)
    scores = (random.random((count, 2)) < np.where(is_numbers[:, np.newaxis], [0.9, 0.2], [0.2, 0.8])).astype(float)
    inputs = inputs_of(vectors, np.full(count, 30), shapes if known else UNKNOWN)
    return Rows(("maths", "talk"), inputs, scores, np.full_like(scores, np.nan), np.ones_like(scores), np.arange(count))


def test_what_only_the_way_that_a_text_is_put_tells_is_learned() -> None:
    policy = fit_policy(put(), embedder="e")
    found = figures(outcomes(decide_all(policy, put(1))))
    assert found.quality[-1] > found.single + 0.2
    blind = figures(outcomes(decide_all(policy, put(1, known=False))))
    assert blind.quality[-1] == pytest.approx(found.single, abs=0.05), "where it is not known nothing is made of it"
    assert not len(fit_policy(put(known=False), embedder="e").forest.roots)


def test_the_shape_of_some_of_the_texts_is_enough() -> None:
    """Of decisions that were stored before it was."""
    mixed = put()
    mixed.inputs[::2, -SIZE:] = UNKNOWN
    found = figures(outcomes(decide_all(fit_policy(mixed, embedder="e"), put(1))))
    assert found.quality[-1] > found.single + 0.2


def test_where_there_is_nothing_to_learn_the_policy_is_refused_and_never_worse() -> None:
    held = cross_fit(made(learnable=False, costs=False), embedder="e", folds=3)
    own = figures(outcomes(held))
    assert own.quality[-1] >= own.single - 0.03
    found = report(held)
    assert found["single_cost"] is None
    assert found["gain"] <= 0
    assert "that of 'large' alone; nothing is known of costs" in str(why_not_better(found))


def decided(seed: int, share_right: float) -> HeldOut:
    """The strong or the weak model by chance, or, for a share of the requests, the one that is needed."""
    random = np.random.default_rng(seed)
    scores = np.stack([random.random(300) < 0.5, random.random(300) < 0.9], axis=1).astype(np.float64)
    costs = np.tile([0.001, 0.01], (300, 1))
    needed = np.where(scores[:, 0] == 1, 0, 1)
    picks = np.stack([random.random(300) < step / 100 for step in range(101)]).astype(np.int64)
    picks[1:100] = np.where(random.random((99, 300)) < share_right, needed, picks[1:100])
    rows = Rows(
        ("weak", "strong"), np.zeros((300, INPUTS), np.float32), scores, costs, np.ones_like(scores), np.arange(300)
    )
    return HeldOut(rows, np.full_like(scores, 0.7), costs, picks, np.ones(300, dtype=np.int64))


def test_what_chance_decided_is_rarely_promoted_and_what_is_better_always() -> None:
    reasons = [why_not_better(report(decided(seed, 0.0))) for seed in range(20)]
    assert sum(reason is None for reason in reasons) <= 4
    assert any("may be chance" in str(reason) for reason in reasons)
    assert [why_not_better(report(decided(seed, 0.3))) for seed in range(5)] == [None] * 5


@pytest.mark.parametrize("costs", [True, False], ids=["with-costs", "without"])
def test_where_nothing_can_be_learned_the_best_single_model_loses_nothing(costs: bool) -> None:
    lost = []
    for seed in range(8):
        policy = fit_policy(made(seed=seed, learnable=False, costs=costs), embedder="e")
        own = figures(outcomes(decide_all(policy, made(1000, seed=100 + seed, learnable=False, costs=costs))))
        lost.append(float(own.single - own.quality[-1]))
    assert sum(each == 0 for each in lost) >= 5, "it takes all"
    assert max(lost) < 0.01


@pytest.mark.parametrize("costs", [True, False], ids=["with-costs", "without"])
def test_where_much_can_be_learned_it_does_not_take_all(costs: bool) -> None:
    proven = made(600, costs=costs)
    proven.scores[:, 1] = np.random.default_rng(3).random(600) < 0.7
    assert fit_policy(proven, embedder="e").prefer[-1, 1] < ALWAYS_SINGLE


@pytest.mark.parametrize("seed", range(6))
def test_more_is_never_promised_below_the_top_of_the_scale_than_at_it(seed: int) -> None:
    """Of a gain that chance may have made, too: else nobody could say what quality first is."""
    rows = made(120, seed=seed)
    rows.scores[:, 1] = np.random.default_rng(seed).random(120) < 0.82
    policy = fit_policy(rows, embedder="e")
    is_single = policy.prefer[50:, 1] >= ALWAYS_SINGLE
    assert is_single.all() == is_single[-1]


def test_of_models_that_are_all_next_to_sure_to_be_right_it_is_not_the_first_named_that_is_taken() -> None:
    rows, fitted = made(), fit_policy(made(), embedder="e")
    policy = replace(fitted, means=fitted.means + np.float32(0.5), prefer=np.zeros_like(fitted.prefer))
    alike = 0
    for one in rows.inputs:
        ways = [
            policy.choose(names, 1.0, one[:DIMENSIONS], 8.0, shape=one[LINEAR:]).candidates
            for names in permutations(policy.models)
        ]
        alike += ways[0][0].quality == ways[0][1].quality == 1.0
        assert len({way[0].model for way in ways}) == 1
    assert alike > 10, "the subject of this test"


def test_the_scale_of_prefer_runs_from_the_cheapest_to_the_best() -> None:
    rows = made()
    policy = fit_policy(rows, embedder="e")
    picks = decide_all(policy, rows).picks
    assert set(picks[0]) == {rows.cheapest}
    own = figures(outcomes(decide_all(policy, rows)))
    assert own.cost[0] <= own.cost[25] <= own.cost[50] <= own.cost[100] * 1.0001
    assert own.quality[100] >= own.quality[0]


def test_the_same_rows_and_seed_make_the_same_policy() -> None:
    one, other = (fit_policy(made(), embedder="e", seed=3) for _ in range(2))
    assert np.array_equal(one.linear, other.linear)
    assert np.array_equal(one.prefer, other.prefer)


def test_rows_with_one_rated_model_and_a_propensity_are_taken() -> None:
    rows = made(600)
    random = np.random.default_rng(1)
    drawn = random.integers(0, 3, len(rows))
    is_drawn = np.arange(3) == drawn[:, np.newaxis]
    thin = replace(rows, scores=np.where(is_drawn, rows.scores, np.nan), weights=np.where(is_drawn, 3.0, 0.0))
    quality = fit_policy(thin, embedder="e").predict(rows.inputs).quality
    kind = rows.inputs[:, 0] > 0
    assert quality[kind, 2].mean() > quality[kind, 0].mean() + 0.2
    assert quality[~kind, 0].mean() > quality[~kind, 2].mean() + 0.2


def test_a_weight_counts_like_copies() -> None:
    rows = made(60)
    heavy = replace(rows, weights=np.where(np.arange(60)[:, np.newaxis] < 20, 3.0, 1.0))
    copies = rows.take(np.concatenate([np.arange(60), np.arange(20), np.arange(20)]))
    assert heavy.means == pytest.approx(copies.means)


def test_what_says_the_same_is_in_the_same_fold() -> None:
    groups = np.random.default_rng(0).integers(0, 30, 200)
    folds = folds_of(groups, 5, 1)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    assert set(folds) == {0, 1, 2, 3, 4}


def test_a_worse_policy_does_not_replace_the_incumbent() -> None:
    good = fit_policy(made(seed=5), embedder="e")
    better = cross_fit(made(200, seed=7), embedder="e", folds=3)
    strangers = replace(better, rows=replace(better.rows, texts=better.rows.texts + 10_000))
    poor = fit_policy(made(200, seed=8, learnable=False), embedder="e")
    assert why_keep(poor, strangers) is None
    lost = replace(strangers, picks=np.zeros_like(strangers.picks))
    assert "neither has seen" in str(why_keep(good, lost))
    known = replace(good, about={"gain": 0.5})
    seen = replace(better, rows=replace(better.rows, texts=good.seen[:200]))
    assert "held out" in str(why_keep(known, seen))
    assert good.models == MODELS


def test_whose_models_are_named_in_another_order_is_the_same_policy() -> None:
    rows = made(60)
    policy = fit_policy(rows, embedder="e")
    turned = in_order(policy, MODELS[::-1])
    assert turned.best_single(MODELS) == policy.best_single(MODELS) == "large"
    for one, other in zip(policy.predict(rows.inputs), turned.predict(rows.inputs), strict=True):
        assert np.allclose(one, other[:, ::-1], atol=1e-6)
    assert turned.mean_costs.tolist() == policy.mean_costs[::-1].tolist()
    assert np.ptp(policy.regions.quality, axis=1).any(), "the subject of the next lines"
    assert np.array_equal(turned.regions.quality, policy.regions.quality[:, ::-1])
    assert np.array_equal(turned.regions.counts, policy.regions.counts[:, ::-1])


@pytest.mark.parametrize("count", [60, 100])
def test_a_neighbourhood_of_all_texts_is_not_believed(count: int) -> None:
    """Of few rows the wider neighbourhoods are everybody: what those tell beyond the mean is rounding."""
    rows = made(count, seed=2)
    policy = fit_policy(rows, embedder="e")
    assert policy.blends.max(initial=0.0) < 10
    own = figures(outcomes(decide_all(policy, made(400, seed=9))))
    assert own.quality[-1] > own.single


def test_a_model_that_was_not_rated_is_not_paid_what_was_hoped_of_it() -> None:
    """Of three models that are alike one was rated on each row; who chooses the highest prediction earns nothing."""
    gains, hoped, mixed = [], [], list[float]()
    for seed in range(80):
        random = np.random.default_rng(seed)
        scores = (random.random((400, 3)) < 0.5).astype(np.float64)
        quality = np.clip(0.5 + random.normal(0, 0.1, scores.shape), 0, 1)
        is_left_out = np.arange(3) != random.integers(0, 3, 400)[:, np.newaxis]
        if seed % 4 == 2:
            is_left_out[::2] = False  # every second row is complete
            quality += 0.2  # and all are thought too much of
        scores[is_left_out] = np.nan
        weights = np.isfinite(scores).astype(np.float64) * (3.0 if seed % 2 else 1.0)  # with propensities, or without
        costs = np.full_like(scores, np.nan)
        rows = Rows(("a", "b", "c"), np.zeros((400, INPUTS), np.float32), scores, costs, weights, np.arange(400))
        picks = np.tile(quality.argmax(axis=1), (101, 1))
        found = outcomes(HeldOut(rows, quality, costs, picks, np.zeros(400, dtype=np.int64)))
        gains.append(float((found.scores[-1] - found.single_scores).mean()))
        mixed += [float(found.scores[-1].mean())] * (seed % 4 == 2)
        hoped.append(float((quality.max(axis=1) - quality[:, 0]).mean()))
    assert np.mean(hoped) > 0.07
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(80) < 0.05
    assert np.mean(mixed) == pytest.approx(0.5, abs=0.025)


def test_a_text_that_is_said_in_several_conversations_is_held_out_as_one() -> None:
    random = np.random.default_rng(0)
    conversations, texts = random.permutation(600) // 2, np.arange(600) // 3
    blocks = blocks_of(conversations, texts)
    assert all(len(set(blocks[conversations == one])) == 1 for one in conversations)
    alone = blocks_of(np.arange(600), texts)
    assert all(len(set(alone[texts == text])) == 1 for text in texts)
    assert len(set(alone)) == 200


def test_what_everybody_says_makes_no_single_block_of_all() -> None:
    random = np.random.default_rng(1)
    conversations = np.repeat(np.arange(300), 2)
    texts = np.where(np.arange(600) % 2 == 0, 0, 1 + np.arange(600) // 4)  # "hi", then one that two conversations share
    blocks = blocks_of(conversations, texts)
    assert np.bincount(np.unique(blocks, return_inverse=True)[1]).max() == 4
    assert all(len(set(blocks[texts == text])) == 1 for text in set(texts.tolist()) - {0})
    folds = folds_of(blocks, 5, int(random.integers(9)))
    assert all(100 < count < 140 for count in np.bincount(folds))
    assert blocks_of(np.arange(0), np.arange(0)).tolist() == []
