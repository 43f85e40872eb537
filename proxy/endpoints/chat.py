"""POST /v1/chat/completions: decide, then relay."""

from __future__ import annotations

import logging
import traceback
from time import perf_counter

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_error
from proxy.endpoints.running import Running, new_id, running
from proxy.errors import Blocked, ProxyError
from proxy.relay.body import ClientLeft, read_body, replace_model
from proxy.relay.edits import edit_body
from proxy.relay.guard import DeadlinePassed, Guard
from proxy.relay.headers import Headers
from proxy.relay.relay import Answer, UpstreamCut, deadline_error, open_reply, outcome_of
from proxy.relay.upstreams import Target
from proxy.relay.usage import Usage
from proxy.routing.facts import header_map, read_chat
from proxy.telemetry.record import Record

logger = logging.getLogger(__name__)


class ChatCompletions:
    """The endpoint, as a plain ASGI app: the path of a request has no layer that it does not need."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, exactly one record is left."""
        exchange = _Exchange(running(scope), scope, receive, send)
        in_flight = exchange.running.recorder.metrics.in_flight
        in_flight.inc()
        try:
            await exchange.run()
        finally:
            in_flight.dec()
            exchange.finish()


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
        self._target: Target | None = None
        self._answer: Answer | None = None

    async def run(self) -> None:
        record = self._record
        try:
            await self._decide_and_relay()
        except ClientLeft:
            record.phase = self._phase()
            if record.phase and self._target is not None:
                record.outcome = "client_left"
        except DeadlinePassed as passed:
            assert self._target is not None, "deadlines are set once there is a target"
            record.outcome = passed.deadline
            await self._fail(deadline_error(self._target, passed))
        except UpstreamCut as error:
            record.outcome = "cut"
            await self._fail(error)
        except ProxyError as error:
            if self._target is not None:
                record.outcome = "connect" if error.code == "connect_timeout" else "unreachable"
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
            self._target = target = held.upstreams.pick(decision.model)
            record.target = target.label
            record.decision_s = perf_counter() - began
            for edits in decision.edits:
                body = edit_body(body, edits)
            await self._relay(guard, target, replace_model(body, target.name))

    async def _relay(self, guard: Guard, target: Target, body: bytes) -> None:
        record = self._record
        sent = perf_counter()
        reply = await open_reply(target, body, self._scope["headers"], guard)
        try:
            record.outcome = outcome_of(reply.status)
            if record.outcome == "ok":
                record.first_token_s = perf_counter() - sent
            record.status = reply.status
            self._answer = Answer(reply, self._send)
            if "x-request-id" in self._headers:  # the caller's own name for this request goes before the upstream's
                reply.headers = [(name, value) for name, value in reply.headers if name != b"x-request-id"]
            await self._answer.copy(self._own_headers(reply.headers))
        finally:
            await reply.close()  # frees the connection before it first awaits, so a cancellation cannot prevent it

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
        if self._target is not None:
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
        if self._target is not None:
            headers += [
                (b"x-pointsman-target", self._target.header_label),
                (b"x-pointsman-attempts", b"1"),
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
