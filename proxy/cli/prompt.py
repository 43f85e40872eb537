"""Decisions outside a server: for `check` and `explain`."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import msgspec

from proxy.app import fit_topics, load_minilm
from proxy.config import Config
from proxy.routing.conditions import Signals
from proxy.routing.explain import explain
from proxy.routing.facts import Facts, read_chat
from proxy.routing.router import AUTO, Router


class PromptRouter:
    """Decides single prompts with the code that the server decides with."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._router = Router(config)
        self._model = load_minilm(config)
        self._topics = fit_topics(config, self._model)

    def explain(self, prompt: str, *, model: str = AUTO, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """
        The decision for a chat request with this one user message, explained.

        Raises:
            UnknownModel: the requested model is not served.
        """
        body = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": prompt}]})
        facts = read_chat(body, headers or {})
        began = perf_counter()
        signals = self._signals(facts)
        embedded = perf_counter()
        decision = self._router.decide(facts, signals)
        assert decision is not None, "final signals always lead to a decision"
        decided = perf_counter()
        explained = explain(self._router, self._config, facts, signals, decision, decision_id="")
        explained["timings_ms"] = {
            "embed": round((embedded - began) * 1e3, 3),
            "decide": round((decided - embedded) * 1e3, 3),
        }
        return explained

    def _signals(self, facts: Facts) -> Signals:
        text = facts.text(self._config.text)
        if self._topics is None:
            return Signals(missing="routes.yaml has no topics")
        if not text:
            return Signals(missing="the prompt is empty")
        return Signals(topics=self._topics.scores(self._model.embed(text)))
