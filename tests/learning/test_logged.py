"""Stored decisions as arrays, and what another policy would have earned on them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proxy.config import Text
from proxy.learning import judging
from proxy.learning.archive import Archive
from proxy.learning.asking import FAILURES
from proxy.learning.fit import fit_policy
from proxy.learning.incumbent import in_order
from proxy.learning.logged import DAMAGED, LEAST_RATINGS, OTHER_MODELS, UNDRAWN, Logged, read_logged
from proxy.learning.stored_facts import kept
from proxy.relay.reply import OUTCOMES
from proxy.routing.asks import Asks
from proxy.routing.policy import STEPS, Policy
from proxy.routing.shape import SIZE, shape_of
from tests.learning.logs import changed, in_conversations, log, write
from tests.learning.made import MODELS, made
from tests.learning.rows import settings
from tests.routing.requests import facts


def read(folder: Path, decisions: Any, **options: Any) -> Logged:
    with Archive(settings(write(folder / "store.db", decisions))) as archive:
        return read_logged(archive, **options)


@pytest.fixture(scope="module")
def policy() -> Policy:
    """One that has learned what there is to learn, of other requests."""
    return fit_policy(made(240, seed=50), embedder="test")


def test_a_decision_is_read_as_it_was(tmp_path: Path) -> None:
    decisions = log(60)
    damaged = [
        *changed(log(1, seed=7), vector=np.full(768, np.nan, dtype=np.float32)),
        *changed(log(1, seed=8), vector=np.ones(5, dtype=np.float32)),
    ]
    found = read(tmp_path, [*decisions, *damaged], models=MODELS)
    assert (len(found), found.routes, found.rows.models) == (60, ("everyday",), MODELS)
    assert found.left_out == {DAMAGED: 2}
    assert found.able.all()
    for place, (one, rating) in enumerate(decisions):
        at = MODELS.index(one.model)
        assert found.chosen[place] == at
        assert (found.ratings[place], found.costs[place]) == (rating, one.cost_usd)
        assert found.propensities[place] == one.propensity
        assert found.rows.weights[place, at] == pytest.approx(1 / one.propensity)
        assert np.isfinite(found.rows.scores[place]).sum() == 1
        assert np.isfinite(found.rows.costs[place]).sum() == 1
    np.testing.assert_allclose(found.rows.inputs[:, :768], made(60).inputs[:, :768], atol=2e-3)


def test_how_the_text_was_put_is_read_where_that_is_stored(tmp_path: Path) -> None:
    shape = shape_of("Which?\nA. 1\nB. 2")
    told = kept(facts(), Asks(), Text(), shape)
    decisions = [(changed([one], facts=told if at % 2 else None)[0]) for at, one in enumerate(log(60))]
    found = read(tmp_path, decisions, models=MODELS).rows.inputs[:, -SIZE:]
    assert np.isnan(found[::2]).all()
    np.testing.assert_allclose(found[1::2], np.tile(shape, (30, 1)), rtol=1e-3)


def test_a_sample_is_even_and_the_same_again(tmp_path: Path) -> None:
    decisions = log(200)
    with Archive(settings(write(tmp_path / "store.db", decisions))) as archive:
        found = [read_logged(archive, limit=50, seed=seed) for seed in (1, 1, 2)]
        whole = read_logged(archive).rows.texts.tolist()
    assert [(len(each), each.found) for each in found] == [(50, 200)] * 3
    assert found[0].rows.texts.tolist() == found[1].rows.texts.tolist() != found[2].rows.texts.tolist()
    for each in found:
        early = sum(whole.index(text) < 100 for text in each.rows.texts.tolist())
        assert 15 <= early <= 35, "as many of the first as of the last"


def test_so_many_ratings_make_a_model_one_to_look_at(tmp_path: Path) -> None:
    counts = {"small": LEAST_RATINGS, "large": LEAST_RATINGS, "coder": LEAST_RATINGS - 1}
    decisions = [
        one
        for seed, (model, count) in enumerate(counts.items())
        for one in changed(log(count, seed=seed), model=model, answered=model, propensity=0.5)
    ]
    found = read(tmp_path, decisions)
    assert (found.rows.models, found.left_out) == (("large", "small"), {OTHER_MODELS: LEAST_RATINGS - 1})


def test_every_route_chooses_among_its_own_models(tmp_path: Path, policy: Policy) -> None:
    """A choice that a route never had cannot be judged, so no policy makes it there."""
    narrow = [(one, rating) for one, rating in changed(log(200, seed=1), route="narrow") if one.model != "small"]
    found = read(tmp_path, [*log(100), *narrow], models=MODELS)
    judged = judging.judge(policy, found)
    is_narrow = found.route_of == found.routes.index("narrow")
    assert MODELS.index("small") in judged.picks[:, ~is_narrow]
    assert MODELS.index("small") not in judged.picks[:, is_narrow]
    assert MODELS.index("coder") in judged.picks[:, is_narrow]


def test_outcomes_stand_in_for_feedback(tmp_path: Path) -> None:
    """A cut answer, a failed one and one that is asked for again are bad; who rates is believed."""
    told: list[dict[str, Any]] = [{"is_cut": True}, {"outcome": "cut"}, {"bad_tool_calls": 1}, {}, {}]
    decisions: list[Any] = []
    for at, (one, _) in enumerate(log(50)):
        decisions.append((changed([(one, 0.0)], **told[at % 5])[0][0], 0.25 if at < 5 else None))
        if at % 5 == 3:
            fields = {"id": f"again-{at}", "retry_of": one.id, "outcome": "client_left", "time": one.time + 0.5}
            decisions.append((changed([(one, 0.0)], **fields)[0][0], None))
    busy_or_barred = ("rate_limited", "unauthorized", "forbidden", "rejected", "client_left")
    for seed, outcome in enumerate(busy_or_barred, start=1):  # of which the model knows nothing
        decisions += [(one, None) for one, _ in changed(log(2, seed=seed), outcome=outcome)]
    found = read(tmp_path, decisions, models=MODELS, implicit=True)
    assert found.ratings.tolist() == [0.25] * 5 + [0.0, 0.0, 0.0, 0.0, 1.0] * 9


def test_each_outcome_is_a_failure_or_known_to_be_none() -> None:
    assert set(OUTCOMES) - set(FAILURES) == {"ok", "rejected", "client_left"}
    assert set(FAILURES) < set(OUTCOMES)


def test_estimates_hold_the_truth(tmp_path: Path, policy: Policy) -> None:
    """Of 20 logs; the one model that suits a text earns 0.9, and `large` alone 0.85."""
    whole = read(tmp_path, log(2000, seed=0), models=MODELS)
    held = dict.fromkeys(("quality", "inverse_propensity"), 0)
    for part in np.array_split(np.arange(2000), 20):
        found = judging.report(judging.judge(policy, whole.take(part)))["settings"]["balanced"]
        for how in held:
            held[how] += found[how]["low"] <= 0.9 <= found[how]["high"]
    assert min(held.values()) >= 17
    found = judging.report(judging.judge(policy, whole))["settings"]["balanced"]
    assert found["quality"]["value"] == pytest.approx(0.9, abs=0.03)


def test_too_little_chance_is_told_in_numbers(tmp_path: Path, policy: Policy) -> None:
    usual = changed(log(240, explore=0.0), propensity=0.98)
    tried = [one for one in changed(log(60, seed=1, explore=1.0), propensity=0.01) if one[0].model != "large"][:12]
    found = judging.report(judging.judge(policy, read(tmp_path, [*usual, *tried], models=MODELS)))
    assert not found["at_logged_cost"]["enough"]
    why = judging.why_not_better(found)
    assert why is not None
    assert "explore more, or wait" in why
    assert f"{found['at_logged_cost']['effective']:.0f} evenly drawn ones, and 30 are needed" in why


def test_what_is_worse_or_hardly_known_to_be_better_is_not_taken(tmp_path: Path, policy: Policy) -> None:
    always_wrong = replace(policy, linear=-policy.linear, blends=-policy.blends)
    found = judging.report(judging.judge(always_wrong, read(tmp_path, log(300), models=MODELS)))
    assert "and what was decided" in str(judging.why_not_better(found))
    unsure = found | {
        "at_logged_cost": found["at_logged_cost"] | {"over_logged": {"value": 0.01, "low": -0.09, "high": 0.11}}
    }
    assert "known as -9.0 to +11.0 only" in str(judging.why_not_better(unsure))
    unsure["at_logged_cost"] |= {"over_logged": {"value": 0.03, "low": -0.01, "high": 0.07}}
    assert judging.why_not_better(unsure) is None, "it may be a point worse, which is not too much"


def test_the_better_of_two_policies_is_kept(tmp_path: Path, policy: Policy) -> None:
    logged = read(tmp_path, log(300), models=MODELS)
    always_wrong = replace(policy, linear=-policy.linear, blends=-policy.blends)
    good, bad = judging.judge(policy, logged), judging.judge(always_wrong, logged)
    # Its columns in another order, as another training may have them.
    turned = in_order(policy, MODELS[::-1])
    assert "the incumbent would have earned" in str(judging.why_keep(turned, bad))
    assert judging.why_keep(always_wrong, good) is None


@pytest.mark.parametrize(
    ("weight", "right", "dear"),
    [
        # The old one is good at `balanced` and takes the cheapest at 0; the new one is something between all along.
        pytest.param(None, 0.7, False, id="the-old-one-as-it-is-used"),
        # The old one takes the cheapest all along; the new one is worse, but for where it takes `large` for everything.
        pytest.param(1e9, 0.1, True, id="the-new-one-at-no-more-cost"),
    ],
)
def test_two_policies_are_compared_at_the_same_cost(
    weight: float | None, right: float, dear: bool, tmp_path: Path, policy: Policy
) -> None:
    logged = read(tmp_path, log(600), models=MODELS)
    prefer = policy.prefer.copy()
    if weight is not None:
        prefer[:] = weight, 0.0
    old = replace(policy, prefer=prefer)
    is_kind_one, is_right = logged.rows.inputs[:, 0] > 0, np.random.default_rng(0).random(600) < right
    picks = np.tile(np.where(is_kind_one == is_right, MODELS.index("coder"), MODELS.index("small")), (101, 1))
    if dear:
        picks[-1] = MODELS.index("large")
    new = replace(judging.judge(policy, logged), picks=picks)
    assert "the incumbent would have earned" in str(judging.why_keep(old, new))


def test_where_nothing_is_as_cheap_as_asked_the_cheap_end_is_taken(tmp_path: Path, policy: Policy) -> None:
    judged = judging.judge(policy, read(tmp_path, log(100), models=MODELS))
    assert [judged.step_at(most) for most in (1e-9, 1.0, math.nan)] == [0, STEPS - 1, STEPS - 1]


@pytest.mark.parametrize(
    ("conversations", "drawn"),
    [
        pytest.param(1, ("large", "large", "small", "coder"), id="the-usual-choice-in-one-long-conversation"),
        pytest.param(400, ("small", "coder"), id="hardly-any-other-choice"),
    ],
)
def test_what_is_known_of_the_whole_or_of_the_difference_alone_is_not_enough(
    conversations: int, drawn: tuple[str, ...], tmp_path: Path, policy: Policy
) -> None:
    usual = in_conversations(changed(log(400, explore=0.0), propensity=0.98), conversations)
    tried = [
        one
        for seed, model in enumerate(drawn, start=1)
        for one in changed(log(30, seed=seed), model=model, answered=model, propensity=0.2)
    ]
    logged = read(tmp_path, [*usual, *tried], models=MODELS)
    judged = judging.judge(policy, logged)
    always = np.full(len(logged), MODELS.index("large"))
    whole, over = judged.doubly_robust(always), judged.over_logged(always)
    assert (whole.is_enough, over.is_enough) == (conversations == 400, conversations == 1), "the subject of this test"
    found = judging.figures_of(judged, always)
    assert (found["enough"], found["effective"] < 5) == (False, True)
    told = {each["model"]: each["enough"] for each in judging.report(judged)["models"]}
    assert told["large"] is False


def test_a_model_that_is_rarely_drawn_is_known_by_all_texts_and_not_by_those_it_gets(tmp_path: Path) -> None:
    """Easy texts go to `small` and hard ones to `large`; explored is in two of a hundred. On all, `large` is better."""
    draw, decisions = np.random.default_rng(1), []
    for at, (one, _) in enumerate(log(15_000)):
        is_hard = bool(draw.random() < 0.5)
        usual, other = ("large", "small") if is_hard else ("small", "large")
        explored = bool(draw.random() < 0.01)
        model = other if explored else usual
        truth = {("small", False): 0.95, ("small", True): 0.2, ("large", False): 0.7, ("large", True): 0.6}
        fields = {"model": model, "answered": model, "propensity": 0.01 if explored else 0.99, "id": f"ptm-{at}"}
        decisions.append((changed([(one, 0.0)], **fields)[0][0], float(draw.random() < truth[model, is_hard])))
    rows = read(tmp_path, decisions, models=("small", "large")).rows
    assert rows.means == pytest.approx([0.575, 0.65], abs=0.07)
    assert rows.models[rows.single] == "large"
    assert rows.bounded_weights.max() == 50


def test_a_models_mean_cost_is_that_of_all_texts_and_not_of_those_it_gets(tmp_path: Path) -> None:
    """Long texts cost ten times as much at both, and go to `small`, which costs less than `large` on each."""
    draw, decisions = np.random.default_rng(1), []
    for at, (one, rating) in enumerate(log(1_500)):
        is_long, explored = bool(draw.random() < 0.5), bool(draw.random() < 0.1)
        model = "small" if is_long != explored else "large"
        usd = (0.010 if is_long else 0.001) * (1.0 if model == "small" else 2.0)
        fields = {"model": model, "answered": model, "propensity": 0.1 if explored else 0.9, "id": f"ptm-{at}"}
        decisions.append((changed([(one, 0.0)], **fields, cost_usd=usd)[0][0], rating))
    rows = read(tmp_path, decisions, models=("small", "large")).rows
    assert rows.mean_costs == pytest.approx([0.0055, 0.011], rel=0.15)
    assert rows.models[rows.cheapest] == "small"
    assert fit_policy(rows, embedder="e").mean_costs == pytest.approx(rows.mean_costs)
    by_prices = replace(rows, costs=np.tile([[0.001, 0.003], [0.003, 0.005]], (len(rows) // 2, 1)))
    assert by_prices.mean_costs == pytest.approx([0.002, 0.004]), "what all models cost on each hangs on no draw"


def test_what_is_next_to_certain_was_not_drawn(tmp_path: Path) -> None:
    odd = changed(log(5, seed=3), propensity=1.0 - 2**-53)
    found = read(tmp_path, [*log(60), *odd], models=MODELS)
    assert (len(found), found.left_out) == (60, {UNDRAWN: 5})


def test_no_text_is_known_before_it_is_held_out(tmp_path: Path) -> None:
    said = [(changed([each], vector=log(1, seed=at // 4)[0][0].vector))[0] for at, each in enumerate(log(120))]
    rows = read(tmp_path, said, models=MODELS).rows
    assert len(set(rows.groups.tolist())) == 120
    assert len(set(rows.texts.tolist())) == len(set(rows.held_together.tolist())) == 30
