"""Prompts rated for every model, without a server: what an evaluation of all models on all prompts would give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.config import Config, Target
from proxy.relay.usage import Usage, cost_usd
from proxy.simulator.answer import answer_chat
from proxy.simulator.chat_request import read_chat
from proxy.simulator.knobs import NONE
from proxy.simulator.personas import persona_of
from proxy.simulator.prompts import draw_prompts
from proxy.simulator.qualities import Qualities


def rate_offline(config: Config, requests: int, seed: int) -> Iterator[dict[str, Any]]:
    """
    What `pointsman train` reads, line by line: scores by the draws that answers would have, costs of those answers.

    Args:
        config: whose models are rated, each by its first target; one without a price has no cost.
        requests: how many prompts; of the same seed others than traffic has, as far as there are.
        seed: of their choice.
    """
    qualities = Qualities()
    for prompt in draw_prompts(requests, seed, backwards=True):
        scores: dict[str, int] = {}
        costs: dict[str, float] = {}
        for name, model in config.models.items():
            target = model.all_targets[0]
            scores[name] = int(qualities.is_right(target.name, prompt.text))
            cost = cost_usd(model.price, _usage(target, prompt.text))
            if cost is not None:
                costs[name] = cost
        yield {"prompt": prompt.text, "scores": scores, "costs": costs}


def _usage(target: Target, prompt: str) -> Usage:
    """The tokens of the very answer that the simulated upstream would give."""
    request = read_chat({"model": target.name, "messages": [{"role": "user", "content": prompt}]})
    answer = answer_chat(request, target.upstream, persona_of(target.name), NONE)
    return Usage(
        prompt=answer.prompt_tokens,
        cached=answer.cached_tokens,
        completion=answer.completion_tokens,
        reasoning=answer.reasoning_tokens,
    )
