"""A whole routes.yaml on many requests: where each would go, decided by the code that the server decides with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from proxy.cli.learning_data import RatedFile
from proxy.cli.prompt import PromptRouter
from proxy.config import Config
from proxy.embedding import Vector
from proxy.errors import ProxyError
from proxy.learning.logged import Logged
from proxy.learning.routed import Taken
from proxy.learning.stored_facts import NotStored, StoredFacts
from proxy.routing.apis import read_prompt
from proxy.routing.arrays import Ints
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.signals import Signals

NO_PROMPT = "no prompt, only a vector"
REFUSED = "no model can serve it"
BLOCKED = "a route blocks it"
SEEN = "the policy was trained on it"


class Deciding:
    """One routes.yaml, ready to decide."""

    def __init__(self, config: Config, cache_dir: Path | None) -> None:
        """
        Args:
            config: what routes.yaml says.
            cache_dir: a folder that keeps what is made of examples.
        """
        self._prepared = PromptRouter(config, cache_dir).prepared
        policy = self._prepared.policy
        self._seen = frozenset() if policy is None else frozenset(policy.seen.tolist())
        self.untold: Counter[str] = Counter()
        """How many requests cannot be told, by why not."""

    @property
    def lacks_policy(self) -> bool:
        """Whether the file names a policy that is not there, so that learned routes take the first of their models."""
        return self._prepared.policy is None and self._prepared.config.policy is not None

    def labelled(self, data: RatedFile) -> tuple[Ints, Taken]:
        """The places of those rated requests that could be decided, and where they go."""
        found = []
        for place, one in enumerate(data.read.rows):
            if not one.prompt:
                self.untold[NO_PROMPT] += 1
                continue
            facts = read_prompt(one.prompt, self._prepared.config)
            signals = self._signals(data.vector(place)) if facts.text(self._prepared.config.text) else _NO_TEXT
            if (decision := self._decide(facts, signals, int(data.rows.texts[place]))) is not None:
                found.append((place, decision))
        return self._taken(found)

    def stored(self, logged: Logged) -> tuple[Ints, Taken]:
        """The same of stored decisions, read with their requests."""
        found = []
        for place, one in enumerate(logged.requests):
            try:
                facts = StoredFacts(one.facts, text=one.text, conversation=one.conversation)
                decision = self._decide(facts, self._signals(one.vector), int(logged.rows.texts[place]))
            except NotStored as error:
                self.untold[f"not stored: {error}"] += 1
                continue
            if decision is not None:
                found.append((place, decision))
        return self._taken(found)

    def _signals(self, vector: Vector) -> Signals:
        return Signals.of(vector, self._prepared.topics, self._prepared.complexity)

    def _decide(self, facts: Facts, signals: Signals, group: int) -> Decision | None:
        try:
            decision = self._prepared.router.decide_finally(facts, signals)
        except ProxyError:
            self.untold[REFUSED] += 1
            return None
        if decision.block is not None:
            self.untold[BLOCKED] += 1
            return None
        if decision.candidates and group in self._seen:
            self.untold[SEEN] += 1
            return None
        return decision

    def _taken(self, found: list[tuple[int, Decision]]) -> tuple[Ints, Taken]:
        places = np.array([place for place, _ in found], dtype=np.int64)
        routes, models = (tuple(getattr(one, name) for _, one in found) for name in ("route", "model"))
        return places, Taken(routes, models, self.untold)


_NO_TEXT = Signals(missing="the prompt is empty")
