"""How likely a model is said to have been, against how often it comes: in conversations, which have a say in it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from typing import Any, cast

import numpy as np
import pytest

from proxy.config import parse_config
from proxy.endpoints.conversations import Conversations
from proxy.endpoints.running import Running, new_id
from proxy.routing.chat import read_chat
from proxy.routing.conversation import Held
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.policy import Candidate, Choice, Policy
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.telemetry.record import Record

CONFIG = """\
version: 1
upstreams: {{one: {{base_url: "http://127.0.0.1:9/v1"}}}}
models:
  small: {{target: {{upstream: one, name: s}}, price: {{input: 1, output: 1}}, {small}}}
  middle: {{target: {{upstream: one, name: m}}, price: {{input: 3, output: 3}}, {middle}}}
  large: {{target: {{upstream: one, name: l}}, price: {{input: 5, output: 5}}}}
default: small
conversation: {{switch: {switch}}}
routes:
  - {{name: begun, when: {{model: begun}}, use: small}}
  - {{name: all, use: {use}}}
"""
LEARNED = "{learned: [small, middle, large], explore: 0.4}"
SPLIT = "{split: {small: 1, middle: 1, large: 2}}"
TRIAL = "{split: {large: 1, learned: 1}, learned: [small, middle], explore: 0.4}"


class _ByHardness(Policy):
    """A policy that takes the model whose place is the vector's first number."""

    def __init__(self) -> None: ...

    def choose(self, models: Any, prefer: float, vector: Any, *_: Any) -> Choice:
        best = ("small", "middle", "large")[int(vector[0])]
        ranked = sorted(models, key=lambda name: name != best)
        return Choice(tuple(Candidate(name, 0.5, 0.0, 1.0, 0.0) for name in ranked), 0)


class _Running(Running):
    """One whose texts say how hard they are."""

    async def signals(self, facts: Facts, record: Record) -> Signals:
        vector = np.zeros(768, dtype=np.float32)
        vector[0] = float(facts.text(self.config.text).split()[-1])
        return Signals(vector=vector)


class World:
    """One routes.yaml, and conversations in it."""

    def __init__(
        self, use: str, *, switch: str = "upgrade", small: str = "context: 100000", middle: str = "context: 100000"
    ) -> None:
        config = parse_config(CONFIG.format(use=use, switch=switch, small=small, middle=middle), source="x", environ={})
        nothing = cast(Any, None)
        self._running = _Running(
            config, Router(config, _ByHardness()), nothing, None, nothing, nothing, nothing, nothing, Conversations(),
            None, "", nothing, policy=_ByHardness(),
        )  # fmt: skip
        self._draw = np.random.default_rng(0)

    def talk(
        self, number: int, turns: int = 1, *, on: str | None = None, first: str = ""
    ) -> list[tuple[int, Decision]]:
        """
        One conversation, which may be on a model before; how hard each turn is, and what was decided.

        With `first` its client sends that before the first turn's words, and later turns without what went before.
        """
        messages: list[dict[str, str]] = []
        found: list[tuple[int, Decision]] = []
        for _ in range(turns):
            hardness = int(self._draw.integers(3))
            said = [{"role": "user", "content": f"{first * (not found)}conversation {number} {hardness}"}]
            messages = said if first else [*messages, *said]
            body = json.dumps({"model": "auto", "messages": messages}).encode()
            facts = read_chat(body, {"x-pointsman-conversation": f"{number}"})
            if on is not None and not found:
                self._running.conversations.keep(facts, Held("begun", on), most=10_000)
            found.append((hardness, asyncio.run(self._decide(facts))))
            messages.append({"role": "assistant", "content": "so"})
        return found

    async def _decide(self, facts: Facts) -> Decision:
        decision, _ = await self._running.decide(facts, Record(new_id(), "r", "/p"))
        return decision


@pytest.mark.parametrize("switch", ["upgrade", "always"])
@pytest.mark.parametrize("begun", ["small", "middle", "large"])
def test_a_model_comes_as_often_as_is_said(begun: str, switch: str) -> None:
    """One over the propensity, summed up over the turns that a model got, is the number of all turns like them."""
    world = World(LEARNED, switch=switch)
    counts: Counter[int] = Counter()
    weights: defaultdict[int, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for number in range(5000):  # 30% of the rarest are nearly five standard errors
        hardness, decision = world.talk(number, on=begun)[0]
        counts[hardness] += 1
        weights[hardness][decision.model] += 1 / decision.propensity
    left = {"small": 3, "middle": 2, "large": 1}[begun] if switch == "upgrade" else 3
    for hardness, count in counts.items():
        assert len(weights[hardness]) == left
        for model, weight in weights[hardness].items():
            assert weight == pytest.approx(count, rel=0.3), (hardness, model)
        assert sum(weights[hardness].values()) == pytest.approx(left * count, rel=0.15)


def test_where_the_conversation_leaves_nothing_to_chance_nothing_was_drawn() -> None:
    world = World(LEARNED)
    decisions = [world.talk(number, on="large")[0][1] for number in range(200)]
    assert {decision.model for decision in decisions} == {"large"}
    assert {decision.propensity for decision in decisions} == {1.0}
    assert {decision.reason for decision in decisions} == {"conversation", "learned"}, "one kept, or drawn and the same"


def test_turns_of_one_split_have_the_chance_of_its_one_draw() -> None:
    world = World(SPLIT)
    for number in range(100):
        (_, first), (_, second) = world.talk(number, 2)
        assert first.model == second.model == first.arm
        assert first.propensity == second.propensity == {"small": 0.25, "middle": 0.25, "large": 0.5}[first.model]


def test_a_split_that_a_conversation_comes_to_goes_through_what_it_was_on() -> None:
    world = World(SPLIT)
    told = {(one.model, one.propensity) for n in range(200) for _, one in world.talk(n, on="middle")}
    assert told == {("middle", 0.5), ("large", 0.5)}


def test_where_other_arms_would_have_led_a_conversation_nobody_knows() -> None:
    world = World(TRIAL)
    first: set[float] = set()
    for number in range(200):
        (_, one), (_, two) = world.talk(number, 2)
        first.add(one.propensity)
        assert (two.propensity, two.arm) == (1.0, one.arm)
    assert max(first) < 1.0


@pytest.mark.parametrize("use", ["{split: {small: 1, middle: 1}}", "{split: {small: 1, large: 1}}"])
def test_where_a_split_began_with_a_model_that_stood_in_nothing_was_drawn(use: str) -> None:
    """The first turn is too long for the arms' models, and `large` answers in either arm; so it does the second."""
    world = World(f"{use}, fallbacks: [large]", small="context: 2000", middle="context: 2000")
    for number in range(100):
        (_, one), (_, two) = world.talk(number, 2, first="word " * 6000)
        assert (one.model, one.propensity) == (two.model, two.propensity) == ("large", 1.0)
        assert not two.chances
