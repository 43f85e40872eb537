"""What requests run on: all that one routes.yaml makes, and the shell around the pure decision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter, time
from typing import Protocol, cast

from starlette.types import Scope

from proxy.config import DEFAULT_ROUTE, LEARNED_ARM, Config, WireProtocol
from proxy.embedding import EmbeddingFailed, Vector
from proxy.embedding.minilm import head_and_tail
from proxy.endpoints.afterwards import Afterwards
from proxy.endpoints.conversations import Conversations
from proxy.endpoints.shadow import Shadow
from proxy.errors import NobodyCanServe
from proxy.learning.corrector import Corrector
from proxy.learning.writer import Writer
from proxy.relay.upstreams import Target, Upstreams
from proxy.routing.complexity import Complexity
from proxy.routing.conversation import Held
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.live import NOTHING_LIVE, Live
from proxy.routing.passthrough import Passthrough
from proxy.routing.policy import Policy, policy_version
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.routing.topics import Topics
from proxy.telemetry.record import Record
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.trace import NO_TRACER, Tracer

_PATIENCE_S = 0.5
"""A decision is kept later by so much; whoever rates it at once is heard for a second."""


class Embeds(Protocol):
    """Who has the vectors of texts."""

    async def vector(self, text: str) -> Vector:
        """As `Embedder.vector`."""

    async def spare(self, text: str, patience_s: float = 0.0) -> Vector:
        """As `Embedder.spare`."""


@dataclass(frozen=True, slots=True)
class Running:
    """
    What a request holds from its first byte to its last.

    A reload puts another one in its place for the requests that come after; see `proxy/endpoints/current.py`.
    """

    config: Config
    router: Router
    passthrough: Passthrough
    topics: Topics | None
    """None when routes.yaml has no topics."""
    complexity: Complexity
    embedder: Embeds
    upstreams: Upstreams
    recorder: Recorder
    conversations: Conversations
    writer: Writer | None
    """Keeps decisions; None when routes.yaml has no store."""
    sha256: str
    """Of the file's meaning; see `fingerprint`."""
    afterwards: Afterwards
    policy: Policy | None = None
    """None where there is none yet, or routes.yaml names none."""
    corrector: Corrector | None = None
    """What feedback adds to the policy; None where there is no policy or no store, or routes.yaml says off."""
    shadow: Shadow | None = None
    """Decides beside it; None when routes.yaml has none."""
    tracer: Tracer = NO_TRACER

    @property
    def policy_version(self) -> str:
        """Of the policy's content; `none` where there is none."""
        return policy_version(self.policy)

    def unnamed(self, protocol: WireProtocol) -> Target:
        """
        The target that gets what is passed on and names no model.

        Raises:
            UnknownPath: no model speaks this protocol.
        """
        return self.upstreams.targets(self.passthrough.default(protocol))[0]

    def keeper(self, answer_id: str, headers: Mapping[str, str]) -> tuple[Target, bytes | None] | None:
        """
        The target that keeps an answer or a conversation, and a hash of its key for that; None when it is not known.

        Args:
            answer_id: what the upstream has called it.
            headers: the request's, of the caller whose it is.
        """
        return self._keeping(self.conversations.find_answer(headers, answer_id, self.config.conversation.keep))

    def keeper_before(self, facts: Facts) -> tuple[Target, bytes | None] | None:
        """The same of what a request goes on from, or refers to parts of."""
        return self._keeping(self.conversations.find_before(facts, self.config.conversation.keep))

    def _keeping(self, held: Held | None) -> tuple[Target, bytes | None] | None:
        target = None if held is None else self.upstreams.named(held.target)
        return None if held is None or target is None else (target, held.key_hash)

    async def decide(self, facts: Facts, record: Record, *, remember: bool = True) -> tuple[Decision, Signals]:
        """
        The decision for a request, and the signals that led to it.

        Embeds the text only if a rule asks for it. An embedder that is late, full or broken leaves the decision
        to the rules that need no text, and never fails a request.

        Args:
            facts: of the request.
            record: gets what was decided, and how long that took.
            remember: whether the conversation's next turn is to know of it; if not, nothing is explored either.

        Raises:
            UnknownModel: the client asked for a model that is not served here.
            NobodyCanServe: no model that the route allows can serve the request.
        """
        began = perf_counter()
        signals, live = Signals(), self._live(record.id if remember else None)
        decision, kept = self._decide(facts, signals, live)
        if decision is None:
            signals = await self.signals(facts, record)
            decision, kept = self._decide(facts, signals, live)
            assert decision is not None, "final signals always lead to a decision"
        if kept is not None:
            decision = self._in_conversation(facts, kept, decision, signals)
        if decision.target is None and decision.block is None and facts.is_tied:
            decision = self._where_kept(decision, facts)
        # What was decided without its text is that turn's alone: a busy moment must not be what the others go by.
        is_known = not signals.is_overload or decision.reason == "conversation"
        if remember and not is_known:
            self.conversations.renew(facts, self.config.conversation.keep)
        elif remember and not decision.is_firm:
            held = Held(decision.route, decision.model, arm=decision.arm, chances=decision.chances or None)
            self.conversations.keep(facts, held, most=self.config.conversation.cache)
        record.stages_s["decide"] = perf_counter() - began - record.stages_s.get("embed", 0.0)
        record.route, record.reason, record.arm = decision.route, decision.reason, decision.arm
        record.model = record.decided = decision.model
        record.policy = self.policy_version if decision.candidates else ""
        return decision, signals

    def keep_answer(self, facts: Facts, record: Record, key_hash: bytes | None, answer_id: str) -> None:
        """
        Remember who keeps this answer: only that one can be asked to go on from it.

        Args:
            facts: of the request.
            record: of the request, which is being answered.
            key_hash: of the key that the target is asked with; None where nobody was asked.
            answer_id: as the upstream named its answer.
        """
        held = Held(record.route, record.model, record.target, key_hash, record.arm)
        self.conversations.keep_answer(facts, held, answer_id, most=self.config.conversation.cache)

    def _live(self, drawn_by: str | None) -> Live:
        """What learned routes weigh at this moment, as far as any does."""
        router = self.router
        corrections = None if self.corrector is None else self.corrector.applied
        if corrections is None and not (router.explores or router.weighs_latency):
            return NOTHING_LIVE
        return Live(
            draw=None if drawn_by is None or not router.explores else draw_of(drawn_by),
            latencies_s=self.upstreams.latencies_s() if router.weighs_latency else {},
            corrections=corrections,
        )

    def _decide(self, facts: Facts, signals: Signals, live: Live) -> tuple[Decision | None, Decision | None]:
        """
        What the rules say, None if they need the text; and, where it may have a say, the decision to go on where the
        conversation is.
        """
        try:
            decision = self.router.decide(facts, signals, live)
        except NobodyCanServe:
            kept = self._kept(facts)
            if kept is None:
                raise
            return kept, None
        if decision is not None and decision.is_firm:
            return decision, None
        kept = self._kept(facts)
        if kept is not None and (self.config.conversation.switch == "never" or facts.is_bound(self.config.text)):
            # Only what is firm counts, so the text is looked at only where that may depend on it.
            is_open = decision is None and self.router.may_be_firm(facts)
            return (None if is_open else kept), None
        return decision, kept

    def _kept(self, facts: Facts) -> Decision | None:
        """The decision to go on where the conversation is, if it is anywhere and can."""
        held = self.conversations.find(facts, self.config.conversation.keep)
        return None if held is None else self.router.resume(held, facts)

    def _where_kept(self, decision: Decision, facts: Facts) -> Decision:
        """
        The same at the upstream that keeps what the request names: no other knows of it.

        A conversation that nobody has answered in, and a file, are where all are created. There another model may
        answer, unless this one is insisted on.
        """
        held = self.conversations.find(facts, self.config.conversation.keep)
        keeper, key_hash = (None, None) if held is None else (held.target, held.key_hash)
        is_new = keeper is None and facts.names_created
        if is_new:
            unnamed = self.unnamed(facts.protocol)
            keeper, key_hash = unnamed.label, unnamed.keys.first().hash
        target = self.upstreams.named(keeper)
        there = None if target is None else self.upstreams.beside(target, decision.model)
        if there is not None:
            return replace(decision, target=there.label, key_hash=key_hash, fallbacks=())
        if decision.is_firm or not is_new:
            return decision
        created = Held(DEFAULT_ROUTE, self.passthrough.default(facts.protocol), keeper, key_hash)
        return self.router.resume(created, facts) or decision

    def _in_conversation(self, facts: Facts, kept: Decision, decision: Decision, signals: Signals) -> Decision:
        """The one of the two that stands, and how likely its model was once the conversation has had its say."""
        stands = kept if self._goes_on(kept.model, decision.model, signals) else decision
        return replace(stands, chances=self._chances(facts, kept, decision, signals)) if decision.chances else stands

    def _chances(self, facts: Facts, kept: Decision, decision: Decision, signals: Signals) -> Mapping[str, float]:
        """
        What was drawn for this turn, gone through what the conversation makes of it; empty where nothing is left of it.

        A model that the conversation's would have stood against counts to that one. Else the draw would have a part in
        whose rating is known to have been drawn: of a dear model that is kept, those where exploring hit it, and of the
        cheap one, all turns that were easy enough to come to it.
        """
        drawn, is_same = decision.chances, decision.arm is not None and kept.route == decision.route
        if is_same and LEARNED_ARM not in self.router.arms_of(decision.route):
            # By the same draw the conversation is where it is, unless its model could not serve an earlier turn.
            held = self.conversations.find(facts, self.config.conversation.keep)
            before = None if held is None else held.chances
            return before if before is not None and len(before) > 1 and kept.model in before else {}
        if is_same and self.config.conversation.switch == "upgrade":
            return {}  # where the other arms would have led it by now nobody knows
        found: dict[str, float] = {}
        for model, chance in drawn.items():
            name = kept.model if self._goes_on(kept.model, model, signals) else model
            found[name] = found.get(name, 0.0) + chance
        return found if len(found) > 1 else {}

    def _goes_on(self, kept: str, model: str, signals: Signals) -> bool:
        """Whether the conversation goes on with the model it has rather than with what this turn would get."""
        if kept == model:
            return False
        if signals.is_overload:  # nothing is known of this turn, and something of those before
            return True
        return self.config.conversation.switch == "upgrade" and not self.router.is_stronger(model, than=kept)

    async def signals(self, facts: Facts, record: Record) -> Signals:
        """What the text says; final, even where that is that there is none."""
        text = facts.text(self.config.text)
        if not text:
            return Signals(missing="the request has no text by a user")
        began = perf_counter()
        try:
            vector = await self.embedder.vector(head_and_tail(text, self.config.text.max_tokens))
        except EmbeddingFailed as failed:
            record.fail_open = failed.cause
            return Signals(missing=f"the text could not be looked at: the embedder is {failed.cause}", is_overload=True)
        finally:
            record.stages_s["embed"] = perf_counter() - began
        signals = Signals.of(vector, self.topics, self.complexity)
        if signals.topics is not None:
            record.topic, record.score = signals.topics.best, signals.topics.score
        record.complexity = signals.complexity
        return signals

    async def vector_afterwards(self, facts: Facts) -> Vector | None:
        """That of the text of a request whose decision did not look at it; None where it cannot be had now."""
        text = facts.text(self.config.text)
        if not text:
            return None
        try:
            return await self.embedder.spare(head_and_tail(text, self.config.text.max_tokens), _PATIENCE_S)
        except EmbeddingFailed:
            return None


def running_of(scope: Scope) -> Running:
    """What this request began with."""
    return cast("Running", scope["state"]["running"])


_random: list[str] = []


def new_id() -> str:
    """
    The id of a decision: short enough for a header, too long to guess.

    The second it is made in, and 64 random bits. Ids of one time so stand side by side in a store's index: at random
    places nearly each new row would have a page of its own written.
    """
    try:
        digits = _random.pop()
    except IndexError:
        # The system's randomness by the hundred: asking for each id takes longer than most decisions.
        many = os.urandom(8 * 128).hex()
        _random.extend(many[start : start + 16] for start in range(0, len(many), 16))
        digits = _random.pop()
    return f"ptm-{int(time()) & 0xFFFFFFFF:08x}{digits}"


def draw_of(decision_id: str) -> float:
    """From 0 up to 1, evenly: of the random digits of an id that `new_id` gave."""
    return int(decision_id[-13:], 16) / 16**13
