"""A model that gets worse without a word: how soon feedback takes its traffic away. docs/learning.md states the number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from proxy.config import Config, parse_config
from proxy.learning.corrections import corrections_of
from proxy.learning.fit import fit_policy
from proxy.learning.stored_rows import LiveRating
from proxy.routing.arrays import Floats32
from proxy.routing.live import Live
from proxy.routing.policy import Policy
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from tests.learning.made import MODELS, made
from tests.routing.requests import BASE, facts

LEARNING = (Path(__file__).parent.parent.parent / "docs" / "learning.md").read_text(encoding="utf-8")
(STATED,) = map(int, re.findall(r"lost its traffic after at most (\d+) ratings", LEARNING))

CODER = MODELS.index("coder")
CHANCES = {False: [0.9, 0.85, 0.2], True: [0.2, 0.85, 0.9]}
"""That small, large and coder answer well, by kind of request: what `made` is made of, and the policy has learned."""
WORSE = 0.3
REQUESTS = 800
A_DAY = 1000.0
REFRESH = 10
"""Requests between two looks at the store."""
DAY_S = 86_400.0


@cache
def policy() -> Policy:
    return fit_policy(made(), embedder="e")


def config() -> Config:
    text = BASE.replace("gpt-own:", "coder:")
    text += "routes: [{name: all, use: {learned: [small, large, coder], prefer: quality}}]\n"
    return parse_config(text, source="routes.yaml", environ={})


@dataclass(frozen=True)
class Course:
    """What became of some requests, in their order."""

    kinds: Sequence[bool]
    models: Sequence[int]
    regrets: Sequence[float]
    """What the best model would have been better, by its true chance."""


def course(*, applied: bool, seed: int) -> Course:
    """From the moment that `coder` is worse. Each request is rated by a user of its own, as its answer was."""
    router, asked = Router(config(), policy()), facts()
    random, vectors = np.random.default_rng(seed), made(REQUESTS, seed=1000 + seed).inputs[:, :768]
    ratings: list[LiveRating] = []
    kinds, models, regrets = [], [], []
    corrections: Floats32 | None = None
    for number, vector in enumerate(vectors):
        now = number * DAY_S / A_DAY
        if applied and number % REFRESH == 0:
            corrections = corrections_of(
                ratings, models=policy().models, regions=len(policy().regions.quality), now=now,
                half_life_s=7 * DAY_S, most=0.2,
            ).added  # fmt: skip
        decision = router.decide(asked, Signals(vector=vector, complexity=0.5), Live(corrections=corrections))
        assert decision is not None
        assert decision.region is not None
        kind = bool(vector[0] > 0)
        chances = [*CHANCES[kind]]
        chances[CODER] = min(chances[CODER], WORSE)
        model = MODELS.index(decision.model)
        (predicted,) = (one.quality for one in decision.candidates if one.model == decision.model)
        rated = float(random.random() < chances[model])
        ratings.append(
            LiveRating(
                decision.region,
                decision.model,
                predicted,
                rated,
                now,
                "user",
                number.to_bytes(4, "big"),
                f"ptm-{number}",
            )
        )
        kinds.append(kind)
        models.append(model)
        regrets.append(max(chances) - chances[model])
    return Course(kinds, models, regrets)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_gets_worse_loses_its_traffic(seed: int) -> None:
    after = course(applied=True, seed=seed)
    its = [place for place, model in enumerate(after.models) if model == CODER]
    assert 0 < len(its) <= STATED, "all that it ever gets again"
    assert not any(np.array(after.models)[np.array(after.kinds)] == MODELS.index("small")), "nor does the weak one"


def test_regret_falls_with_traffic() -> None:
    regrets = np.mean([course(applied=True, seed=seed).regrets for seed in range(3)], axis=0)
    assert np.mean(regrets[-REQUESTS // 4 :]) < np.mean(regrets[: REQUESTS // 4]) / 1.5


def test_who_only_observes_goes_on_as_before() -> None:
    after = course(applied=False, seed=0)
    of_kind = np.array(after.models)[np.array(after.kinds)]
    assert (of_kind == CODER).mean() > 0.5
    early, late = np.mean(after.regrets[: REQUESTS // 4]), np.mean(after.regrets[-REQUESTS // 4 :])
    assert late == pytest.approx(early, abs=0.1)
    assert late > 10 * np.mean(course(applied=True, seed=0).regrets[-REQUESTS // 4 :])
