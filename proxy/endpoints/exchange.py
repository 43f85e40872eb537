"""One request from its head to its record: what all that are sent to an upstream have in common."""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from time import perf_counter

from starlette.types import Receive, Scope, Send

from proxy.config import WireProtocol
from proxy.endpoints.answers import send_error
from proxy.endpoints.running import Running, new_id
from proxy.errors import Overloaded, ProxyError
from proxy.relay.answer import Answer
from proxy.relay.attempts import Trail
from proxy.relay.body import ClientLeft
from proxy.relay.guard import DeadlinePassed
from proxy.relay.headers import Headers
from proxy.relay.reply import Reply, UpstreamCut, deadline_error
from proxy.relay.usage import cost_usd
from proxy.routing.reading import header_map
from proxy.telemetry.metrics import UNROUTED
from proxy.telemetry.record import Record
from proxy.telemetry.trace import Said

logger = logging.getLogger(__name__)


class Admission:
    """Lets so many requests be answered at a time, and has no queue."""

    def __init__(self) -> None:
        self._in_flight = 0

    async def run(self, exchange: Exchange) -> None:
        """Answer one request, which leaves exactly one record, whatever happens; or say that there are too many."""
        running = exchange.running
        most = running.config.server.max_in_flight
        if self._in_flight >= most:
            running.recorder.overload()
            try:
                await exchange.turn_away(
                    Overloaded(f"This server answers {most:,} requests at a time, and has as many. Try again soon.")
                )
            finally:
                exchange.finish()
            return
        in_flight = running.recorder.metrics.in_flight
        in_flight.inc()
        self._in_flight += 1
        try:
            await exchange.run()
        finally:
            self._in_flight -= 1
            in_flight.dec()
            exchange.finish()


class Exchange(ABC):
    """One request; a subclass says how it gets its answer."""

    protocol: WireProtocol = "openai"
    """The client's, in which errors are told."""

    def __init__(
        self, running: Running, scope: Scope, receive: Receive, send: Send, *, route: str, operation: str
    ) -> None:
        """
        Args:
            running: what it runs on.
            scope: of ASGI.
            receive: likewise.
            send: likewise.
            route: its path, with what varies in braces.
            operation: of a model, in the words of OpenTelemetry's conventions; empty where it is not known to be any.
        """
        self.running = running
        self._began = perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = header_map(scope["headers"])
        decision_id = new_id()
        self._record = Record(
            id=decision_id, request_id=self._headers.get("x-request-id") or decision_id, path=scope["path"]
        )
        self._trace = running.tracer.request(scope["method"], scope["path"], route, operation, self._headers)
        self._record.trace_id = self._trace.trace_id
        self._trail = Trail(self._trace)
        self._answer: Answer | None = None

    @abstractmethod
    async def _answer_it(self) -> None:
        """Send the request on and its answer back; called once."""

    async def turn_away(self, error: ProxyError) -> None:
        """Answer at once, before the body is read: a queue would only make everybody late."""
        # The body is left unread, so the connection cannot be used again.
        self._record.status, self._record.error = error.status, error.code or error.type
        await send_error(self._send, error, [*self._own_headers(()), (b"connection", b"close")], self.protocol)

    async def run(self) -> None:
        """Answer it, be it with an error."""
        record = self._record
        try:
            await self._answer_or_end()
        except ClientLeft:
            record.phase = self._phase()
            if record.phase and self._trail.target is not None and not self._trail.is_between:
                self._trail.outcome = "client_left"
        except DeadlinePassed as passed:
            await self._late(passed)
        except UpstreamCut as error:
            self._trail.outcome = "cut"
            self._trail.failed("cut")
            await self._fail(error)
        except Overloaded as error:
            self.running.recorder.overload()
            await self._fail(error)
        except ProxyError as error:
            await self._fail(error)
        except Exception as error:
            # Where it came from, but not its text, which may quote a prompt or a key.
            where = "".join(traceback.format_tb(error.__traceback__))
            record.error = type(error).__name__
            logger.error("unforeseen error", extra={"id": record.id, "error": record.error, "where": where})
            await self._fail(ProxyError("Internal error; the log has it under the id in x-pointsman-id."))

    async def _answer_or_end(self) -> None:
        """A stream whose last event is out is whole, however its upstream ends it, or does not."""
        try:
            await self._answer_it()
        except (DeadlinePassed, UpstreamCut):
            if self._answer is None or not self._answer.is_done:
                raise
            await self._answer.end()

    def _answer_of(self, reply: Reply) -> Answer:
        """What the client gets of a reply."""
        return Answer(reply, self._send, self.protocol)

    async def _relay(self, reply: Reply) -> None:
        """Send on a reply whose first content is here, and close it."""
        record = self._record
        try:
            if self._trail.outcome == "ok" and record.is_stream and reply.is_stream:  # all else comes whole
                record.first_token_s = reply.seconds
            record.status = reply.status
            record.model, record.target = self._trail.model, reply.target.label
            self._answer = self._answer_of(reply)
            if self._headers.get("x-request-id"):  # the caller's own name for this request goes before the upstream's
                reply.headers = [(name, value) for name, value in reply.headers if name != b"x-request-id"]
            await self._answer.copy(self._own_headers(reply.headers))
        finally:
            await reply.close()  # frees the connection before it first awaits, so a cancellation cannot prevent it

    async def _late(self, passed: DeadlinePassed) -> None:
        """A deadline ended all: that of an answer that has begun, or the one for all attempts."""
        trail = self._trail
        assert trail.target is not None, "deadlines are set once there is a target"
        is_shared = passed.deadline == "total" and bool(trail.ended)
        if not passed.in_pause:  # in which its client takes its time, or the next attempt is about to be made
            trail.outcome = passed.deadline
            # What others have used up of the time for all is not held against the last one, unless most of it was left.
            if not is_shared or trail.seconds > 0.5 * passed.seconds:
                trail.failed(passed.deadline)
        await self._fail(deadline_error(None if passed.in_pause or is_shared else trail.target, passed))

    async def _fail(self, error: ProxyError) -> None:
        """Tell the client, in the way that is still open."""
        self._record.error = self._record.error or error.code or error.type
        if self._answer is not None and self._answer.is_begun:
            await self._answer.end_with(error)
        else:
            self._record.status = error.status
            if self._trail.target is not None:
                self._record.model = self._trail.model  # of which the target is told beside it
            await send_error(self._send, error, self._own_headers(()), self.protocol)

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
        if record.route != UNROUTED:
            headers.append((b"x-pointsman-route", record.route.encode("ascii")))
        if record.model != UNROUTED:
            headers.append((b"x-pointsman-model", record.model.encode("ascii")))
        if record.reason:
            headers.append((b"x-pointsman-reason", record.reason.encode("ascii")))
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
            headers.append((b"x-request-id", self._request_id()))
        return headers

    def _request_id(self) -> bytes:
        """As the caller wrote it, to the byte."""
        if (ours := self._record.request_id).isascii():
            return ours.encode("ascii")
        return b", ".join(value for name, value in self._scope["headers"] if name == b"x-request-id")

    def finish(self) -> None:
        """Leave the record of what happened."""
        record = self._record
        record.seconds = perf_counter() - self._began
        if (target := self._trail.target) is not None:
            record.target = target.label
            record.model = self._trail.model
            record.outcome = self._trail.outcome or ""
            record.attempts_before = self._trail.ended
            record.fallbacks = self._trail.fallbacks
        # Whoever reads a stored answer again is shown the tokens that it took to make.
        is_work = record.model != UNROUTED and self._scope["method"] == "POST"
        if is_work and self._answer is not None and (usage := self._answer.usage()) is not None:
            record.tokens = {
                "prompt": usage.prompt,
                "cached": usage.cached,
                "cache_write": usage.cache_write,
                "completion": usage.completion,
                "reasoning": usage.reasoning,
            }
            config = self.running.config
            record.cost_usd = cost_usd(config.models[record.model].price, usage)
            # Both or neither: else the difference of the two sums would be no saving.
            if record.cost_usd is not None and config.baseline is not None:
                record.baseline_cost_usd = cost_usd(config.models[config.baseline].price, usage)
        self._trace.end(record, self._said() if self._trace.is_recorded else Said())
        self.running.recorder.request(record)

    def _said(self) -> Said:
        """What the answer says of itself; called once, when it is over."""
        answer = self._answer
        if answer is None or self._trail.outcome != "ok":
            return Said()
        return Said(answer.id(), answer.model(), answer.finish().reason)
