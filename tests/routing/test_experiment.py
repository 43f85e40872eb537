"""A split with an arm for the policy: who is in which arm, what that arm says, and how likely each model was."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from msgspec.structs import replace

from proxy.routing.conversation import Held
from proxy.routing.decision import Decision
from proxy.routing.live import Live
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from tests.routing.requests import config, facts, user
from tests.routing.test_policy import router, signals

TRIAL = """\
routes:
  - {name: trial, use: {split: {large: 60, learned: 40}, learned: [small, large], prefer: quality, explore: 0.1}}
"""
OVERLOAD = Signals(missing="late", is_overload=True)
DRAWS = [number / 200 for number in range(200)]


def decide(over: Router, text: str, known: Signals, draw: float | None = None) -> Decision:
    decision = over.decide(facts(user(text)), known, Live(draw))
    assert decision is not None
    return decision


def in_arm(arm: str, over: Router) -> str:
    """The first words of a conversation in this arm."""
    return next(text for text in map(str, range(99)) if decide(over, text, signals(0)).arm == arm)


def test_each_arm_says_what_it_is() -> None:
    trial = router(TRIAL)
    fixed, learned = in_arm("large", trial), in_arm("learned", trial)
    told = decide(trial, fixed, signals(0))
    assert (told.route, told.model, told.reason, told.candidates) == ("trial", "large", "split", ())
    told = decide(trial, learned, signals(0))
    assert (told.model, told.reason, told.candidates[0].model) == ("small", "learned", "small")
    assert decide(trial, learned, signals(1)).model == "large"
    assert (decide(trial, learned, OVERLOAD).reason, decide(trial, fixed, OVERLOAD).reason) == ("overload", "split")
    for text in (fixed, learned):
        assert trial.decide(facts(user(text)), Signals()) is None, "both arms look at the text"


def test_arms_follow_their_shares() -> None:
    trial = router(TRIAL)
    arms = Counter(decide(trial, str(number), signals(0)).arm for number in range(300))
    assert arms == pytest.approx({"large": 180, "learned": 120}, abs=25)


@pytest.mark.parametrize(("kind", "best"), [(0, "small"), (1, "large")])
def test_how_likely_a_model_was_is_counted_over_all_arms(kind: int, best: str) -> None:
    """As often as requests of this kind are sent to it in fact, whatever the arm that sends them."""
    trial = router(TRIAL)
    taken: dict[str, float] = defaultdict(float)
    told: dict[str, set[float]] = defaultdict(set)
    shares = {"large": 0.6, "learned": 0.4}
    for arm, share in shares.items():
        text = in_arm(arm, trial)
        for draw in DRAWS:
            decision = decide(trial, text, signals(kind), draw)
            taken[decision.model] += share / len(DRAWS)
            told[decision.model].add(round(decision.propensity, 9))
    assert {model: len(chances) for model, chances in told.items()} == {"small": 1, "large": 1}
    assert {model: chances.pop() for model, chances in told.items()} == pytest.approx(taken, abs=3e-3)
    assert taken[best] == pytest.approx(0.4 * 0.95 + (0.6 if best == "large" else 0.0), abs=3e-3)


def test_without_a_policy_its_arm_takes_the_first_model() -> None:
    trial = Router(config(TRIAL))
    learned = next(text for text in map(str, range(99)) if decide(trial, text, Signals()).arm == "learned")
    told = decide(trial, learned, Signals())
    assert (told.model, told.reason, told.propensity) == ("small", "split", 0.4)
    assert trial.waits_for_policy("trial")
    assert {("trial", "small", "split"), ("trial", "large", "split")} <= trial.possible.decisions
    assert not {reason for _, _, reason in trial.possible.decisions} & {"learned"}


def test_two_arms_that_come_to_the_same_model_make_it_as_likely_as_both() -> None:
    text = "routes: [{name: trial, use: {split: {small: 30, large: 70}}, fallbacks: [large]}]\n"
    small = Router(config(text.replace("fallbacks: [large]", "fallbacks: [gpt-own]")))
    fixed = in_arm("small", small)
    assert decide(small, fixed, Signals()).propensity == pytest.approx(0.3)
    narrow = config(text)
    models = narrow.models | {"small": replace(narrow.models["small"], supports=())}
    over = Router(replace(narrow, models=models))
    asked = facts(user(fixed), tools=[{"type": "function"}])
    decision = over.decide(asked, Signals())
    assert decision is not None
    assert (decision.arm, decision.model, decision.propensity) == ("small", "large", 1.0)


def test_a_conversation_goes_on_in_its_arm_as_long_as_there_is_one() -> None:
    trial = router(TRIAL)
    resumed = trial.resume(Held("trial", "small", arm="learned"), facts())
    assert resumed is not None
    assert (resumed.arm, resumed.reason) == ("learned", "conversation")
    gone = trial.resume(Held("trial", "small", arm="coder"), facts())
    assert gone is not None
    assert gone.arm is None


def test_all_that_can_come_out_is_known_in_advance() -> None:
    trial = router(TRIAL)
    assert trial.possible.arms == [("trial", "large"), ("trial", "learned")]
    assert {("trial", "large", "split"), ("trial", "small", "learned"), ("trial", "large", "overload"),
            ("trial", "small", "conversation")} <= trial.possible.decisions  # fmt: skip
    assert ("trial", "small", "split") not in trial.possible.decisions
    held = router(TRIAL.replace("explore: 0.1}", "explore: 0.1}, fallbacks: [gpt-own]"))
    assert {("small", "gpt-own"), ("large", "gpt-own")} <= held.possible.fallbacks
    assert trial.explores
    assert not router(TRIAL.replace(", explore: 0.1", "")).explores


def test_shares_of_one_policy_are_of_one_request() -> None:
    """The arm's draw and the exploring one have nothing to do with each other."""
    trial = router(TRIAL)
    learned = in_arm("learned", trial)
    models = [decide(trial, learned, signals(0), draw).model for draw in DRAWS]
    assert models.count("large") / len(models) == pytest.approx(0.05, abs=0.01)
    assert sum(one != other for one, other in pairwise(models)) <= 2


def test_two_who_say_the_same_are_two_conversations() -> None:
    split, arms = Router(config("routes: [{name: trial, use: {split: {small: 50, large: 50}}}]\n")), Counter[str]()
    for number in range(400):
        asked = facts(user("good morning"), headers={"authorization": f"Bearer sk-{number}"})
        decision = split.decide(asked, Signals())
        assert decision is not None
        arms[str(decision.arm)] += 1
        again = split.decide(facts(user("good morning"), headers={"authorization": f"Bearer sk-{number}"}), Signals())
        assert again == decision
    assert (len(arms), min(arms.values()) > 150) == (2, True)


def test_what_is_certain_is_one_and_not_next_to_it() -> None:
    text = "routes: [{name: trial, use: {split: {small: 1, large: 4, gpt-own: 1}}, fallbacks: [large]}]\n"
    wide = config(text)
    none = {name: replace(wide.models[name], supports=()) for name in ("small", "gpt-own")}
    over = Router(replace(wide, models=wide.models | none))
    decision = over.decide(facts(user("hi"), tools=[{"type": "function"}]), Signals())
    assert decision is not None
    assert (decision.model, decision.propensity) == ("large", 1.0)
