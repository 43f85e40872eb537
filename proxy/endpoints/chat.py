"""POST /v1/chat/completions: decide, then relay."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from time import perf_counter

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_error
from proxy.endpoints.running import Running, new_id, running
from proxy.errors import Blocked, Overloaded, ProxyError
from proxy.relay.answer import Answer
from proxy.relay.attempts import Attempts, Offer, Trail
from proxy.relay.body import ClientLeft, read_body, replace_model
from proxy.relay.edits import edit_body
from proxy.relay.guard import DeadlinePassed, Guard
from proxy.relay.headers import Headers
from proxy.relay.reply import Outcome, Reply, UpstreamCut, deadline_error, outcome_of
from proxy.relay.upstreams import Target
from proxy.relay.usage import Usage
from proxy.routing.decision import Decision
from proxy.routing.edits import Edits
from proxy.routing.facts import Facts, header_map, read_chat
from proxy.telemetry.record import Record

logger = logging.getLogger(__name__)


class ChatCompletions:
    """The endpoint, as a plain ASGI app: the path of a request has no layer that it does not need."""

    def __init__(self) -> None:
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, exactly one record is left."""
        held = running(scope)
        if self._in_flight >= held.config.server.max_in_flight:
            await self._turn_away(held, send)
            return
        exchange = _Exchange(held, scope, receive, send)
        in_flight = held.recorder.metrics.in_flight
        in_flight.inc()
        self._in_flight += 1
        try:
            await exchange.run()
        finally:
            self._in_flight -= 1
            in_flight.dec()
            exchange.finish()

    async def _turn_away(self, held: Running, send: Send) -> None:
        """Answer at once, before the body is read: a queue would only make everybody late."""
        held.recorder.overload()
        most = held.config.server.max_in_flight
        error = Overloaded(f"This server answers {most:,} requests at a time, and has as many. Try again soon.")
        # The body is left unread, so the connection cannot be used again.
        await send_error(send, error, [(b"x-pointsman-id", new_id().encode("ascii")), (b"connection", b"close")])


class _Exchange:
    """One request from its head to its record."""

    def __init__(self, held: Running, scope: Scope, receive: Receive, send: Send) -> None:
        self.running = held
        self._began = perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = header_map(scope["headers"])
        decision_id = new_id()
        self._record = Record(
            id=decision_id, request_id=self._headers.get("x-request-id", decision_id), path=scope["path"]
        )
        self._trail = Trail()
        self._answer: Answer | None = None

    async def run(self) -> None:
        record = self._record
        try:
            await self._decide_and_relay()
        except ClientLeft:
            record.phase = self._phase()
            if record.phase and self._trail.target is not None:
                self._trail.outcome = "client_left"
        except DeadlinePassed as passed:
            await self._late(passed)
        except UpstreamCut as error:
            self._broken("cut")
            await self._fail(error)
        except ProxyError as error:
            await self._fail(error)
        except Exception as error:
            # Where it came from, but not its text, which may quote a prompt or a key.
            where = "".join(traceback.format_tb(error.__traceback__))
            record.error = type(error).__name__
            logger.error("unforeseen error", extra={"id": record.id, "error": record.error, "where": where})
            await self._fail(ProxyError("Internal error; the log has it under the id in x-pointsman-id."))

    async def _decide_and_relay(self) -> None:
        record, held = self._record, self.running
        limits = held.config.server
        body = await read_body(self._scope, self._receive, max_bytes=limits.max_body, timeout_s=limits.body_timeout)
        async with Guard(self._receive) as guard:
            began = perf_counter()
            facts = read_chat(body, self._headers)
            record.requested, record.is_stream = facts.model, facts.is_stream
            record.stages_s["read"] = perf_counter() - began
            decision, _ = await held.decide(facts, record)
            if decision.block is not None:
                record.decision_s = perf_counter() - began
                raise Blocked(decision.block.message, status=decision.block.status)
            record.decision_s = perf_counter() - began
            offers = self._offers(body, decision, facts)
            attempts = Attempts(held.upstreams, guard, self._scope["headers"], self._trail)
            sent = perf_counter()
            await self._relay(await attempts.open(offers), sent)

    def _offers(self, body: bytes, decision: Decision, facts: Facts) -> Iterator[Offer]:
        """The model that was decided on, then those that may stand in for it."""
        yield self._offer(body, decision.model, decision.edits)
        for model, edits in self.running.router.fallbacks(decision, facts):
            yield self._offer(body, model, edits)

    def _offer(self, body: bytes, model: str, all_edits: tuple[Edits, ...]) -> Offer:
        def body_for(target: Target) -> bytes:
            edited = body
            for edits in all_edits:
                edited = edit_body(edited, edits)
            return replace_model(edited, target.name)

        return Offer(model, self.running.config.models[model].context, body_for)

    async def _relay(self, reply: Reply, sent: float) -> None:
        record = self._record
        try:
            self._trail.outcome = outcome_of(reply)
            if self._trail.outcome == "ok":
                record.first_token_s = perf_counter() - sent
            record.status = reply.status
            record.model = self._trail.model
            self._answer = Answer(reply, self._send)
            if "x-request-id" in self._headers:  # the caller's own name for this request goes before the upstream's
                reply.headers = [(name, value) for name, value in reply.headers if name != b"x-request-id"]
            await self._answer.copy(self._own_headers(reply.headers))
        finally:
            await reply.close()  # frees the connection before it first awaits, so a cancellation cannot prevent it

    async def _late(self, passed: DeadlinePassed) -> None:
        """A deadline ended all: that of an answer that has begun, or the one for all attempts."""
        assert self._trail.target is not None, "deadlines are set once there is a target"
        self._broken(passed.deadline)
        await self._fail(deadline_error(self._trail.target, passed))

    def _broken(self, outcome: Outcome) -> None:
        assert self._trail.target is not None
        self._trail.outcome = outcome
        self._trail.target.health.failed(outcome)

    async def _fail(self, error: ProxyError) -> None:
        """Tell the client, in the way that is still open."""
        self._record.error = self._record.error or error.code or error.type
        if self._answer is not None and self._answer.is_begun:
            await self._answer.end_with(error)
        else:
            self._record.status = error.status
            await send_error(self._send, error, self._own_headers(()))

    def _phase(self) -> str:
        """Where the client left; empty when it had its whole answer by then."""
        if self._answer is not None:
            return "" if self._answer.is_done else "answer"
        if self._trail.target is not None:
            return "upstream"
        return "decision" if self._record.stages_s else "body"

    def _own_headers(self, upstream: Headers | tuple[()]) -> Headers:
        record = self._record
        headers: Headers = [(b"x-pointsman-id", record.id.encode("ascii"))]
        if record.reason:
            headers += [
                (b"x-pointsman-route", record.route.encode("ascii")),
                (b"x-pointsman-model", record.model.encode("ascii")),
                (b"x-pointsman-reason", record.reason.encode("ascii")),
            ]
        if (target := self._trail.target) is not None:
            headers += [
                (b"x-pointsman-target", target.header_label),
                (b"x-pointsman-attempts", b"%d" % self._trail.count),
            ]
        if record.score is not None:
            headers.append((b"x-pointsman-score", b"%.3f" % record.score))
        if record.decision_s is not None:
            headers.append((b"x-pointsman-decision-ms", b"%.3f" % (record.decision_s * 1e3)))
        if not any(name == b"x-request-id" for name, _ in upstream):
            headers.append((b"x-request-id", record.request_id.encode("latin-1")))
        return headers

    def finish(self) -> None:
        """Leave the record."""
        record = self._record
        record.seconds = perf_counter() - self._began
        if (target := self._trail.target) is not None:
            record.target = target.label
            record.model = self._trail.model
            record.outcome = self._trail.outcome or ""
            record.attempts_before = self._trail.ended
            record.fallbacks = self._trail.fallbacks
        if self._answer is not None and (usage := self._answer.usage()) is not None:
            record.tokens = {
                "prompt": usage.prompt,
                "cached": usage.cached,
                "completion": usage.completion,
                "reasoning": usage.reasoning,
            }
            record.cost_usd = self._cost(usage)
        self.running.recorder.request(record)

    def _cost(self, usage: Usage) -> float | None:
        price = self.running.config.models[self._record.model].price
        if price is None:
            return None
        cached_price = price.input if price.cached_input is None else price.cached_input
        fresh = max(0, usage.prompt - usage.cached)
        return (fresh * price.input + usage.cached * cached_price + usage.completion * price.output) / 1e6
