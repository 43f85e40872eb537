"""The requests that are routed: decide, then relay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from functools import partial
from time import perf_counter, time

from starlette.types import Receive, Scope, Send

from proxy.embedding import Vector
from proxy.endpoints.exchange import Admission, Exchange
from proxy.endpoints.keeping import keep
from proxy.endpoints.running import Running, running_of
from proxy.endpoints.shadow import Decided, Would
from proxy.errors import Blocked
from proxy.learning.stored_rows import CERTAIN
from proxy.relay.answer import Answer
from proxy.relay.attempts import Attempts, Offer
from proxy.relay.body import read_body
from proxy.relay.edits import edit_body
from proxy.relay.finish import Finish
from proxy.relay.guard import Guard
from proxy.relay.json_bytes import add_model, replace_model
from proxy.relay.reply import Call, Reply
from proxy.relay.upstreams import Target
from proxy.relay.usage_chunk import ask_for_usage
from proxy.routing.apis import CHAT, COMPLETIONS, MESSAGES, Api
from proxy.routing.decision import Decision
from proxy.routing.edits import Edits
from proxy.routing.facts import Facts
from proxy.telemetry.record import LONGEST_NAME

# Responses and Anthropic's messages tell the usage of a stream without being asked.
_ASKED_FOR_USAGE = (CHAT, COMPLETIONS)


class Routed:
    """One API's endpoint, as a plain ASGI app: the path of a request has no layer that it does not need."""

    def __init__(self, api: Api, admission: Admission) -> None:
        """
        Args:
            api: what comes here.
            admission: bounds the requests of all endpoints together.
        """
        self._api = api
        self._admission = admission

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        return self._admission.run(RoutedExchange(self._api, running_of(scope), scope, receive, send))


class RoutedExchange(Exchange):
    """One request that a decision is made for."""

    def __init__(self, api: Api, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
        """Arguments as of `Exchange`, and what is asked."""
        super().__init__(running, scope, receive, send, route=scope["path"], operation=api.operation)
        self._api = api
        self._facts: Facts | None = None
        self._decision: Decision | None = None
        self._vector: Vector | None = None
        self._ended = 0.0
        self._hides_usage_of: set[Target] = set()
        if api is MESSAGES:
            self.protocol = "anthropic"

    async def _answer_it(self) -> None:
        record, running, scope = self._record, self.running, self._scope
        body = await self._read_body()
        async with Guard(self._receive) as guard:
            self._trace.deciding()
            began = perf_counter()
            facts = self._facts = self._api.read(body, self._headers)
            if facts.lacks_model:
                body = add_model(body, facts.model)
            record.requested, record.is_stream = facts.model[:LONGEST_NAME], facts.is_stream
            record.stages_s["read"] = perf_counter() - began
            decision, signals = await running.decide(facts, record)
            self._decision, self._vector = decision, signals.vector
            record.decision_s = perf_counter() - began
            self._trace.decided(record)
            if decision.block is not None:
                raise Blocked(decision.block.message, status=decision.block.status)
            call = Call(
                "POST",
                self._api.path,
                scope["query_string"],
                scope["headers"],
                facts.is_stream,
                is_background=facts.is_background,
                is_of_an_account=decision.key_hash is None and facts.names_created,
            )
            attempts = Attempts(running.upstreams, guard, call, self._trail)
            reply = await attempts.open(self._offers(body, decision, facts))
            await self._relay(reply)

    async def _read_body(self) -> bytes:
        """What is routed."""
        limits = self.running.config.server
        return await read_body(self._scope, self._receive, max_bytes=limits.max_body, timeout_s=limits.body_timeout)

    def _answer_of(self, reply: Reply) -> Answer:
        running, facts, trail = self.running, self._facts, self._trail
        assert facts is not None, "what is answered was read"
        is_kept = facts.is_kept and trail.outcome == "ok"
        return Answer(
            reply,
            self._send,
            self.protocol,
            hides_usage=reply.target in self._hides_usage_of,
            reads_finish_of=self._api if running.writer is not None or self._trace.is_recorded else None,
            # At once: the next turn may come before the stream of this one has ended.
            tell_id=partial(running.keep_answer, facts, self._record, trail.key_hash) if is_kept else None,
        )

    def _offers(self, body: bytes, decision: Decision, facts: Facts) -> Iterator[Offer]:
        """The model that was decided on, then those that may stand in for it."""
        first = self._offer(body, decision.model, decision.edits, facts)
        if decision.target is not None:
            only = tuple(target for target in first.targets if target.label == decision.target)
            first = first._replace(targets=only or first.targets, key_hash=decision.key_hash)
        yield first
        for model, edits in self.running.router.fallbacks(decision, facts):
            yield self._offer(body, model, edits, facts)

    def _offer(self, body: bytes, model: str, all_edits: tuple[Edits, ...], facts: Facts) -> Offer:
        def body_for(target: Target) -> bytes:
            edited = body
            for edits in all_edits:
                edited = edit_body(edited, edits)
            if target.is_asked_for_usage and self._record.is_stream and self._api in _ASKED_FOR_USAGE:
                asking = ask_for_usage(edited)
                if asking is not None:
                    edited = asking
                    self._hides_usage_of.add(target)
            return replace_model(edited, target.name)

        running = self.running
        targets = running.upstreams.targets(model)
        goes_on = len(targets) > 1 and not facts.starts_conversation
        conversation = facts.conversation_hash if goes_on else None
        return Offer(model, targets, running.config.models[model].context, body_for, conversation=conversation)

    def finish(self) -> None:
        """Leave the record, and keep the decision."""
        super().finish()
        running, facts, decision = self.running, self._facts, self._decision
        if facts is None or decision is None:
            return
        if running.writer is not None or running.shadow is not None:
            # The last bytes of the answer go out when this turn of the loop is over: they need not wait for it.
            asyncio.get_running_loop().call_soon(self._after, facts, decision)

    def _after(self, facts: Facts, decision: Decision) -> None:
        """With the answer out: look at the text where that is wanted, ask the shadow, and keep the decision."""
        running, record = self.running, self._record
        self._ended = time()
        # One that was cut is not gone on from, and tells no end; its client knows its id, and may rate it by that.
        answer = self._answer if record.outcome == "ok" else None
        # Drawn, it tells of the other models too, to those who know what it was asked. What was late is not begun anew.
        is_drawn = decision.propensity < CERTAIN and running.writer is not None
        lacks_vector = is_drawn and self._vector is None and not record.fail_open
        if lacks_vector or running.shadow is not None:
            running.afterwards.start(self._look_and_keep(facts, decision, answer, lacks_vector=lacks_vector))
        else:
            self._keep(facts, decision, answer, None)

    async def _look_and_keep(
        self, facts: Facts, decision: Decision, answer: Answer | None, *, lacks_vector: bool
    ) -> None:
        would: Would | None = None
        try:
            if lacks_vector:
                self._vector = await self.running.vector_afterwards(facts)
            if (shadow := self.running.shadow) is not None:
                answer_id = answer.id() if facts.is_kept and answer is not None else None
                would = await shadow.look(Decided(facts, self._record, decision, self._vector, answer_id))
        finally:  # also where the end does not wait for it
            self._keep(facts, decision, answer, would)

    def _keep(self, facts: Facts, decision: Decision, answer: Answer | None, would: Would | None) -> None:
        if self.running.writer is None:
            return
        keep(
            self.running,
            facts,
            self._record,
            decision,
            self._vector,
            ended=self._ended,
            answer_id=None if self._answer is None else self._answer.id(),
            finish=Finish() if answer is None else answer.finish(),
            would=would,
        )
