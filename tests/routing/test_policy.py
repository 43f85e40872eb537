"""The policy's decision, and its file."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from proxy.errors import BadRequest
from proxy.learning.fit import fit_policy
from proxy.routing.inputs import inputs_of
from proxy.routing.live import Live
from proxy.routing.policy import ALWAYS_SINGLE, STEPS, Policy
from proxy.routing.policy_file import PolicyUnusable, check_fits, pack, unpack
from proxy.routing.router import Router
from proxy.routing.shape import SIZE, UNKNOWN
from proxy.routing.signals import Signals
from tests.learning.made import made
from tests.routing.requests import BASE, config, facts, user

ROUTES = "routes: [{name: all, use: {learned: [small, large], prefer: balanced}, when: {turns: {min: 1}}}]\n"
CODER = BASE.replace("gpt-own:", "coder:")


@cache
def policy() -> Policy:
    return unpack(pack(replace(fit_policy(made(), embedder="e"), about={"forced": False})))


def vector(kind: int) -> Any:
    found = np.full(768, 0.001, dtype=np.float32)
    found[0], found[400] = (0.9 if kind else -0.9), 0.4
    return found


def router(text: str = ROUTES, own: Policy | None = None) -> Router:
    return Router(config(text), own or policy())


def signals(kind: int) -> Signals:
    return Signals(vector=vector(kind), complexity=0.5)


def test_one_request_is_predicted_as_many_are() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(20, 768)).astype(np.float32)
    tokens = random.integers(1, 5000, 20)
    shapes = random.random((20, SIZE), dtype=np.float32)
    shapes[::2] = UNKNOWN
    many = policy().predict(inputs_of(vectors, tokens, shapes))
    for place, (row, count, shape) in enumerate(zip(vectors, tokens.tolist(), shapes, strict=True)):
        for candidate in policy().choose(policy().models, 1.0, row, count, shape=shape).candidates:
            at = policy().models.index(candidate.model)
            assert candidate.quality == pytest.approx(many.quality[place, at], abs=1e-5)
            assert candidate.cost_usd == pytest.approx(many.cost_usd[place, at], rel=1e-4)


def test_the_text_decides() -> None:
    best = router(ROUTES.replace("balanced", "quality"))
    one, other = router().decide(facts(), signals(0)), best.decide(facts(), signals(1))
    assert one is not None
    assert other is not None
    assert (one.model, one.reason, one.route) == ("small", "learned", "all")
    assert other.model == "large"
    assert {candidate.model for candidate in other.candidates} == {"small", "large"}
    assert other.candidates[0].score >= other.candidates[1].score


def test_it_is_waited_for_the_text() -> None:
    assert router().decide(facts(), Signals()) is None
    late = router().decide(facts(), Signals(missing="late", is_overload=True))
    assert late is not None
    assert (late.reason, late.route) == ("overload", "all")


@pytest.mark.parametrize(
    ("said", "model"),
    [("quality", "large"), ("1", "large"), ("0", "small"), ("0.0", "small"), ("cheap", None), ("balanced", None)],
)
def test_the_client_may_prefer(said: str, model: str | None) -> None:
    decision = router().decide(facts(headers={"x-pointsman-prefer": said}), signals(1))
    assert decision is not None
    assert model in (decision.model, None)


@pytest.mark.parametrize("said", ["", "best", "1.1", "-0.1", "nan", "1e400"])
def test_what_cannot_be_preferred_is_refused(said: str) -> None:
    with pytest.raises(BadRequest, match="x-pointsman-prefer"):
        router().decide(facts(headers={"x-pointsman-prefer": said}), signals(1))


def test_without_a_policy_the_first_model_that_can_serve_takes_all() -> None:
    empty = Router(config(ROUTES))
    decision = empty.decide(facts(), Signals())
    assert decision is not None
    assert (decision.model, decision.reason, decision.candidates) == ("small", "rule", ())
    assert empty.waits_for_policy("all")
    assert not router().waits_for_policy("all")
    assert ("all", "small", "rule") in empty.possible.decisions
    assert {("all", "large", "learned"), ("all", "small", "overload")} <= router().possible.decisions


def test_a_model_that_cannot_serve_is_no_candidate() -> None:
    small = BASE.replace("price: {input: 0.15", "context: 100, price: {input: 0.15")
    narrow = Router(config_of(small + ROUTES), policy())
    decision = narrow.decide(facts(user("x" * 4000)), signals(0))
    assert decision is not None
    assert (decision.model, [one.model for one in decision.excluded]) == ("large", ["small"])
    assert [candidate.model for candidate in decision.candidates] == ["large"]


def config_of(text: str) -> Any:
    from proxy.config import parse_config

    return parse_config(text, source="routes.yaml", environ={})


def test_a_penalty_moves_the_choice() -> None:
    first = policy().choose(("small", "large"), 1.0, vector(1), 50).candidates[0].model
    other = policy().choose(("small", "large"), 1.0, vector(1), 50, {first: 5.0}).candidates[0].model
    assert first == "large"
    assert other == "small"


EXPLORING = ROUTES.replace("prefer: balanced", "prefer: quality, explore: 0.3, latency: 0.1")


def test_exploring_takes_each_model_as_often_as_it_says() -> None:
    curious, told = router(EXPLORING), {}
    draws = np.arange(1000) / 1000
    taken = Counter[str]()
    for draw in draws.tolist():
        decision = curious.decide(facts(), signals(1), Live(draw))
        assert decision is not None
        taken[decision.model] += 1
        told[decision.model] = decision.propensity
    assert told == {"large": pytest.approx(0.85), "small": pytest.approx(0.15)}
    assert {model: count / 1000 for model, count in taken.items()} == pytest.approx(told, abs=2e-3)
    without = curious.decide(facts(), signals(1))
    assert without is not None
    assert (without.model, without.propensity) == ("large", 1.0)
    blind = curious.decide(facts(), Signals(missing="late", is_overload=True), Live(0.0))
    assert blind is not None
    assert blind.propensity == 1.0


def test_exploring_begins_before_there_is_a_policy() -> None:
    curious, told = Router(config_of(BASE + EXPLORING), None), {}
    assert curious.explores
    assert curious.decide(facts(), Signals(), Live(0.0)) is None  # it learns of texts, and so looks at them
    taken = Counter[str]()
    for draw in (np.arange(1000) / 1000).tolist():
        decision = curious.decide(facts(), signals(1), Live(draw))
        assert decision is not None
        assert (decision.reason, decision.candidates, decision.prefer) == ("rule", (), None)
        taken[decision.model] += 1
        told[decision.model] = decision.propensity
    assert told == {"small": pytest.approx(0.85), "large": pytest.approx(0.15)}
    assert {model: count / 1000 for model, count in taken.items()} == pytest.approx(told, abs=2e-3)
    assert {("all", model, "rule") for model in told} <= curious.possible.decisions
    unseen = curious.decide(facts(), Signals(missing="late", is_overload=True), Live(0.0))
    undrawn = curious.decide(facts(), Signals())
    assert unseen is not None
    assert undrawn is not None
    assert (unseen.model, unseen.propensity, undrawn.model, undrawn.propensity) == ("small", 1.0, "small", 1.0)


def test_a_slow_model_loses_what_its_seconds_are_worth() -> None:
    slow = router(EXPLORING).decide(facts(), signals(1), Live(latencies_s={"large": 30.0, "small": 0.1}))
    heedless = router(ROUTES.replace("balanced", "quality"))
    assert slow is not None
    assert slow.model == "small"
    assert heedless.decide(facts(), signals(1), Live(latencies_s={"large": 30.0})).model == "large"  # type: ignore[union-attr]


def test_corrections_are_added_in_their_region_alone() -> None:
    known = policy()
    region = known.choose(known.models, 1.0, vector(1), 50).region
    assert region is not None
    corrections = np.zeros(known.regions.quality.shape, dtype=np.float32)
    corrections[region, known.models.index("large")] = -0.9
    moved = router().decide(facts(), signals(1), Live(corrections=corrections))
    assert moved is not None
    assert (moved.model, moved.region) == ("small", region)
    (large,) = (one for one in moved.candidates if one.model == "large")
    assert large.correction == pytest.approx(-0.9)
    elsewhere = router(ROUTES.replace("balanced", "quality")).decide(facts(), signals(0), Live(corrections=corrections))
    assert elsewhere is not None
    assert elsewhere.region != region
    assert {one.correction for one in elsewhere.candidates} == {0.0}


def test_regions_tell_models_apart_where_texts_do() -> None:
    known = policy()
    at = [known.choose(known.models, 1.0, vector(kind), 50).region for kind in (0, 1)]
    small, large = (known.models.index(name) for name in ("small", "large"))
    easy, hard = (known.regions.quality[place] for place in at)
    assert hard[large] - hard[small] > easy[large] - easy[small] + 0.1
    assert known.regions_of(np.stack([vector(0), vector(1)])).tolist() == at
    assert known.regions.counts.sum(axis=0).tolist() == [len(made())] * len(known.models)


def test_the_file_holds_the_policy() -> None:
    again = unpack(pack(policy()))
    assert again.version == policy().version
    assert len(again.version) == 12
    assert again.about == {"forced": False}
    assert np.array_equal(again.predict(made().inputs).quality, policy().predict(made().inputs).quality)
    other = replace(policy(), means=policy().means + np.float32(0.001))
    assert unpack(pack(other)).version != policy().version


def test_a_policy_must_fit() -> None:
    check_fits(policy(), embedder="e", models=["large"])
    with pytest.raises(PolicyUnusable, match="vectors of 'e', and here runs 'f'"):
        check_fits(policy(), embedder="f")
    with pytest.raises(PolicyUnusable, match="does not know 'gpt-9'; it knows 'small', 'large', 'coder'"):
        check_fits(policy(), embedder="e", models=["gpt-9"])


def rezipped(change: Any) -> bytes:
    """The file with members changed."""
    with zipfile.ZipFile(io.BytesIO(pack(policy()))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def array(value: Any, **options: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, value, **options)
    return content.getvalue()


def huge(members: dict[str, bytes]) -> None:
    """A header that claims a terabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    members["centre.npy"] = header.getvalue() + b"\0" * 64


def headed(text: str) -> Any:
    """The file with a header that says this, in place of one."""
    head = text.encode() + b"\n"
    return lambda: rezipped(
        lambda members: members.update(
            {"means.npy": b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 12}
        )
    )


def squeezed() -> bytes:
    """By a way that `pack` does not use, and damaged."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("about.npy", b"x" * 1000)
    return content.getvalue().replace(content.getvalue()[45:60], b"\xff" * 15)


def nested(members: dict[str, bytes]) -> None:
    members["about.npy"] = members["about.npy"].partition(b"\n")[0] + b"\n" + b"[" * 100_000


def trees(**changes: Any) -> bytes:
    """The file with arrays of its trees changed."""
    forest = policy().forest
    changed = {name: change(getattr(forest, name)) for name, change in changes.items()}
    return pack(replace(policy(), forest=replace(forest, **changed)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(headed("(" * 9000), "damaged, or no policy", id="a-header-of-brackets"),
        pytest.param(headed("-" * 9000 + "1"), "damaged, or no policy", id="a-header-of-signs"),
        pytest.param(headed("{'descr': '''"), "damaged, or no policy", id="a-header-without-an-end"),
        pytest.param(squeezed, "damaged, or no policy", id="damaged-lzma"),
        pytest.param(lambda: rezipped(nested), "damaged, or no policy", id="nested"),
        pytest.param(
            lambda: pack(replace(policy(), cost=np.full_like(policy().cost, 3e38))), "no numbers", id="beyond-numbers"
        ),
        pytest.param(
            lambda: pack(
                replace(policy(), neighbours=replace(policy().neighbours, counts=-policy().neighbours.counts))
            ),
            "no numbers",
            id="counts-below-none",
        ),
        *(
            pytest.param(
                lambda name=name, by=by: pack(replace(policy(), **{name: getattr(policy(), name) * np.float32(by)})),
                f"its {name} are no numbers",
                id=f"{name}-times-{by}",
            )
            for name, by in (("means", "-1"), ("mean_costs", "-1"), ("mean_costs", "nan"), ("cost", "nan"))
        ),
        pytest.param(b"", "damaged, or no policy", id="empty"),
        pytest.param(b"version: 1\n", "damaged, or no policy", id="another-file"),
        pytest.param(pickle.dumps([1, 2]), "damaged, or no policy", id="pickle"),
        pytest.param(lambda: pack(policy())[:5000], "damaged, or no policy", id="cut"),
        pytest.param(lambda: rezipped(lambda m: m.pop("sums.npy")), "damaged, or no policy", id="a-part-missing"),
        pytest.param(lambda: rezipped(huge), "other sizes", id="a-header-that-lies"),
        pytest.param(
            lambda: rezipped(lambda m: m.update({"means.npy": array(np.array([{}, 1, 2]), allow_pickle=True)})),
            "other sizes",
            id="pickled-objects",
        ),
        pytest.param(
            lambda: rezipped(lambda m: m.update({"means.npy": array(np.array([0.5, 0.5, 0.5], np.float32))})),
            "its hash differs",
            id="changed",
        ),
        pytest.param(
            lambda: rezipped(lambda m: m.update({"about.npy": m["about.npy"].replace(b'"format":3', b'"format":9')})),
            "format 9, and this Pointsman reads format 3; it takes a newer Pointsman",
            id="a-newer-version",
        ),
        pytest.param(
            lambda: rezipped(lambda m: m.update({"about.npy": m["about.npy"].replace(b'"format":3', b'"format":2')})),
            "format 2, and this Pointsman reads format 3; train it again",
            id="an-older-version",
        ),
        pytest.param(
            lambda: pack(replace(policy(), means=policy().means * np.float32("nan"))), "no numbers", id="not-a-number"
        ),
        pytest.param(lambda: trees(firsts=np.zeros_like), "trees lead nowhere", id="trees-that-go-round"),
        pytest.param(lambda: trees(asks=lambda asks: asks + 10**6), "trees lead nowhere", id="trees-that-ask-beyond"),
        pytest.param(lambda: trees(values=lambda values: values[1:]), "other sizes", id="trees-without-an-end"),
        pytest.param(lambda: trees(roots=lambda _: np.zeros(1001)), "other sizes", id="a-thousand-trees"),
    ],
)
def test_what_is_no_policy_is_told(content: Any, said: str) -> None:
    with pytest.raises(PolicyUnusable, match=said):
        unpack(content() if callable(content) else content)


def test_a_policy_may_know_no_costs_at_all() -> None:
    unknown = {name: getattr(policy(), name) * np.float32("nan") for name in ("mean_costs", "cost")}
    assert not unpack(pack(replace(policy(), **unknown))).knows_costs


def test_whatever_a_file_says_of_costs_there_is_a_choice() -> None:
    """No request may fail for it."""
    absurd = unpack(pack(replace(policy(), cost=np.full_like(policy().cost, 1000.0))))
    chosen = absurd.choose(absurd.models, 0.5, np.ones(768, dtype=np.float32), 100)
    assert {each.model for each in chosen.candidates} == set(absurd.models)
    assert np.isfinite([each.score for each in chosen.candidates]).all()


def test_where_only_means_are_proven_feedback_and_delays_are_weighed_with_them() -> None:
    proven = policy()
    careful = replace(proven, prefer=np.tile(np.array([0.0, ALWAYS_SINGLE], dtype=np.float32), (STEPS, 1)))
    names, asked = careful.models, (1.0, vector(1), 50)
    single = careful.best_single(names)
    assert careful.choose(names, *asked).candidates[0].model == single
    region = careful.choose(names, *asked).region
    assert region is not None
    worse = np.zeros(careful.regions.quality.shape, dtype=np.float32)
    worse[region, names.index(single)] = -0.9
    assert careful.choose(names, *asked, None, worse).candidates[0].model != single
    assert careful.choose(names, *asked, {single: 0.9}).candidates[0].model != single
