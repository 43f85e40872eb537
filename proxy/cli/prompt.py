"""A routes.yaml made ready to decide outside a server: for `check`, `explain`, `tune` and `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from proxy.cli.progress import loading_bar
from proxy.config import AUTO, Config, WireProtocol, load_shadow
from proxy.embedding.shipped_model import minilm
from proxy.reload.loading import loaders
from proxy.reload.policies import policy_of
from proxy.reload.prepare import prepare, texts_of
from proxy.reload.shadowing import Shadowing
from proxy.routing.apis import read_prompt
from proxy.routing.explain import explain


class PromptRouter:
    """One routes.yaml, whose prompts are decided with the code that the server decides with."""

    def __init__(self, config: Config, cache_dir: Path | None = None, *, tests: bool = False) -> None:
        """
        Args:
            config: what routes.yaml says.
            cache_dir: a folder that keeps what is made of examples; None keeps nothing.
            tests: whether the prompts of its tests will be asked for.
        """
        model = minilm(config.text.max_tokens)
        with loading_bar() as bar:
            bulk, self.fitter = loaders(model, cache_dir, bar)
            # The shadow decides nothing here, but a folder for vectors that is filled here is to have its texts too.
            routes = load_shadow(config, os.environ) if tests else None
            shadow = None if routes is None else Shadowing(routes, None)
            found = bulk.vectors(texts_of(config, tests=tests, shadow=shadow), threads=config.embedding.threads)
            self.prepared = prepare(config, model.embed, found.vectors, self.fitter, policy_of(config, model.name))

    def explain(
        self,
        prompt: str,
        protocol: WireProtocol | None = None,
        *,
        model: str = AUTO,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """
        The decision for a request with this one user message, explained; the arguments are those of `read_prompt`.

        Raises:
            ProxyError: it would be refused.
        """
        prepared = self.prepared
        facts = read_prompt(prompt, prepared.config, protocol, model=model, headers=headers)
        began = perf_counter()
        signals = prepared.signals(facts)
        embedded = perf_counter()
        decision = prepared.router.decide_finally(facts, signals)
        decided = perf_counter()
        explained = explain(prepared.router, prepared.config, facts, signals, decision, decision_id="")
        explained["timings_ms"] = {
            "embed": round((embedded - began) * 1e3, 3),
            "decide": round((decided - embedded) * 1e3, 3),
        }
        return explained
