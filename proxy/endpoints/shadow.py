"""
What would have been decided otherwise: a second policy, or a whole routes.yaml, decides each request once more.

It does so when the answer is out, on what was read and embedded for the request already, and nothing waits for it.
It follows conversations of its own: as it would have decided their first turns, so it goes on with them.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.config import Config
from proxy.embedding import EmbeddingFailed, Vector
from proxy.embedding.minilm import head_and_tail
from proxy.endpoints.conversations import Conversations
from proxy.errors import ProxyError
from proxy.relay.usage import Usage, cost_usd
from proxy.routing.decision import NO_MODEL, Decision
from proxy.routing.facts import Facts
from proxy.routing.policy import Policy
from proxy.telemetry.metrics import UNROUTED
from proxy.telemetry.record import Record
from proxy.telemetry.shadow_metrics import Chooser, ShadowMetrics

if TYPE_CHECKING:
    from proxy.endpoints.running import Embeds, Running

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """A request that is over, and what was decided for it."""

    facts: Facts
    record: Record
    decision: Decision
    vector: Vector | None
    """Of its text; None where that was not looked at."""
    answer_id: str | None


class Would(NamedTuple):
    """What the shadow would have done."""

    route: str
    model: str
    vector: Vector | None
    chance: float | None
    """
    Of the model that was decided on: the shadow draws by the same lot, so what it drew is no sign of its own. None in
    a split where other arms would have led the conversation elsewhere by now.
    """


_REFUSED = Would(UNROUTED, NO_MODEL, None, 0.0)
"""The client would have got an error in place of an answer."""


class _CannotTell(Exception):
    """The text would have to be embedded, and this is not the time for it."""


class _Known:
    """The embedder of one decision: what is known of its request's text, else what can be spared for another."""

    def __init__(self, embedder: Embeds, live: Config, decided: Decided) -> None:
        self._embedder, self._live, self._decided = embedder, live, decided

    async def vector(self, text: str) -> Vector:
        """The vector of the text that the shadow looks at."""
        known = self._decided.vector
        if known is not None and text == self._text():
            return known
        if self._decided.record.fail_open:
            raise _CannotTell  # it would have been as late, or as full
        return await self.spare(text)

    async def spare(self, text: str, patience_s: float = 0.0) -> Vector:
        """The vector of a text that no request waits for."""
        try:
            return await self._embedder.spare(text, patience_s)
        except EmbeddingFailed:
            raise _CannotTell from None

    def _text(self) -> str:
        return head_and_tail(self._decided.facts.text(self._live.text), self._live.text.max_tokens)


class Shadow:
    """Decides beside one configuration. Whatever happens in it, requests know nothing of it."""

    def __init__(
        self, running: Running, live: Config, policies: Mapping[Chooser, Policy], metrics: ShadowMetrics
    ) -> None:
        """
        Args:
            running: what the shadow's decisions run on.
            live: the config in whose shadow it is.
            policies: the live one and the shadow's own, as far as there are.
            metrics: counts what it would have done.
        """
        self._running = running
        self._live = live
        self._policies = policies
        self._metrics = metrics
        self._has_failed = False

    async def look(self, decided: Decided) -> Would | None:
        """
        Decide a request once more: what would have been; None where that cannot be told.

        Args:
            decided: what was decided for it.
        """
        would: Would | None = None
        try:
            would = await self._decide(decided)
            self._count(decided, would)
        except asyncio.CancelledError:
            self._count(decided, None)
            raise
        except Exception as error:
            self._failed(error)
        return would

    async def _decide(self, decided: Decided) -> Would | None:
        facts, record = decided.facts, decided.record
        running = replace(self._running, embedder=_Known(self._running.embedder, self._live, decided))
        own = Record(id=record.id, request_id=record.request_id, path=record.path)
        try:
            decision, signals = await running.decide(facts, own)
        except ProxyError:
            return _REFUSED
        except _CannotTell:
            return None
        if facts.is_kept and decided.answer_id is not None:
            running.keep_answer(facts, own, None, decided.answer_id)
        is_known = decision.arm is None or decision.chances
        chance = decision.chance_of(decided.decision.model) if is_known else None
        return Would(decision.route, decision.model, signals.vector, chance)

    def _count(self, decided: Decided, would: Would | None) -> None:
        facts, record, metrics = decided.facts, decided.record, self._metrics
        if would is None:
            metrics.decided("unknown")
            return
        metrics.decided("same" if would.model == decided.decision.model else "other")
        cost = self._cost(would.model, record)
        if record.cost_usd is not None and cost is not None:
            metrics.cost(record.cost_usd, cost)
        vector = would.vector if decided.vector is None else decided.vector
        both = tuple(dict.fromkeys((decided.decision.model, would.model)))
        for judge, policy in self._policies.items():
            if vector is not None and all(name in policy.models for name in both):
                tokens, shape = facts.text_tokens(self._live.text), facts.shape(self._live.text)
                seen = policy.choose(both, 1.0, vector, tokens, shape=shape).candidates
                quality = {one.model: one.quality for one in seen}
                metrics.quality(judge, quality[decided.decision.model], quality[would.model])

    def _cost(self, model: str, record: Record) -> float | None:
        """What the answer's tokens would have cost, in USD; None where they, or the price, are not known."""
        if model == NO_MODEL:
            return 0.0
        return cost_usd(self._running.config.models[model].price, Usage(**record.tokens)) if record.tokens else None

    def _failed(self, error: Exception) -> None:
        self._metrics.failed()
        self._metrics.decided("unknown")
        if not self._has_failed:
            # Where it came from, but not its text, which may quote a prompt.
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("the shadow failed", extra={"error": type(error).__name__, "where": where})
        self._has_failed = True


class Shadows:
    """Those of one app, one after another; the conversations that they follow outlive a reload."""

    def __init__(self, registry: Any) -> None:
        """
        Args:
            registry: of the app's metrics; has those of shadows from the first one on.
        """
        self._registry = registry
        self._metrics: ShadowMetrics | None = None
        self._conversations = Conversations()

    def of(self, own: Running | None, live: Config, policies: Mapping[Chooser, Policy | None]) -> Shadow | None:
        """
        The shadow of a configuration; None where it has none.

        Args:
            own: what the shadow decides by.
            live: the config in whose shadow it is.
            policies: the live one and the shadow's own.
        """
        if own is None:
            return None
        self._metrics = self._metrics or ShadowMetrics(self._registry)
        own = replace(own, conversations=self._conversations, writer=None, shadow=None)
        known = {name: policy for name, policy in policies.items() if policy is not None}
        return Shadow(own, live, known, self._metrics)
