"""One attempt at an upstream: send the request, and hold the reply until real content is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Literal, NamedTuple, get_args

import httpx

from proxy.errors import ProxyError, UpstreamTimeout, UpstreamUnavailable
from proxy.relay.events import LONGEST_BEGINNING, begin_stream
from proxy.relay.guard import DeadlinePassed, Guard
from proxy.relay.headers import Headers, OwnHeaders, request_headers, response_headers
from proxy.relay.opening import NotAnAnswer, StreamOpening, check_whole
from proxy.relay.told import ToldError, told_in
from proxy.relay.transport import KEEPS_CONNECTION, NotHttp
from proxy.relay.upload import Upload
from proxy.relay.upstreams import Target

logger = logging.getLogger(__name__)

Outcome = Literal[
    "ok", "rejected", "rate_limited", "unauthorized", "forbidden", "failed", "garbled", "unreachable", "cut",
    "connect", "first_token", "whole_answer", "idle", "total", "client_left",
]  # fmt: skip
"""
How an attempt ended: with an answer (`ok` below 400, `rejected` below 500, or where a mistake of the client's is told
under a good status), with one that another target may better (`rate_limited` is 429, or that our account has no money
left, `unauthorized` is a 401 to our key and `forbidden` a 403 or what else a 4xx tells of our key or the model, which
may be about the request, `failed` is a server's trouble, `garbled` is a good status without an answer, or none of
HTTP's), without one (`unreachable`), in the middle of one (`cut`), at a deadline (by its name), or because the client
left.
"""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

# Passing troubles of a server, by RFC 9110 and, from 520 on, as Cloudflare and Anthropic (529) use them.
_STATUSES_OF_TROUBLE = frozenset((408, 500, 502, 503, 504, *range(520, 531)))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_HELD = 1024 * 1024
"""Bytes of an answer that are held while it is not known whether it is one; none that a model writes is larger."""

Body = bytes | Upload
"""Of a request; an upload can be sent once only."""


class UpstreamCut(UpstreamUnavailable):
    """An upstream broke off in the middle of its answer."""

    code = "upstream_cut"


class Call(NamedTuple):
    """A request as the client made it, apart from its body."""

    method: str
    path: str
    """Below `base_url`, percent-encoded as it came."""
    query: bytes
    headers: Headers
    is_stream: bool = False
    """Whether it asks for a stream of events: another answer may be no byte before it is complete."""
    is_routed: bool = True
    """Whether a model must answer it, so that a reply with a good status can be told from an answer."""
    is_of_a_model: bool = True
    """Whether it asks for a model of routes.yaml, so that how it ends says something of that model's target."""
    is_repeatable: bool = True
    """Whether it may be asked again; if not, it goes over a connection of its own, which nobody is about to close."""
    is_background: bool = False
    """Whether the upstream goes on with it when nobody listens, so that asking another one too costs twice."""
    is_of_an_account: bool = False
    """Whether it may be about what an upstream keeps for the account of one key, so that always the same is used."""


class Reply:
    """
    An upstream's reply whose first content is here; use it once, and close it.

    Attributes:
        status: as the upstream sent it.
        headers: the upstream's, hop-by-hop ones and the operator's query left out.
        target: who sent it.
        is_stream: whether it is a stream of events.
        is_plain: whether its bytes can be looked at; not where it is compressed.
        whole: the body, if all of it is here already.
        mistake: the client's, that it tells under a good status.
        told: the error that a model's upstream tells under a 4xx, if it can be read.
        seconds: from its request to its first content.
    """

    def __init__(self, response: httpx.Response, target: Target, guard: Guard) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self.status = response.status_code
        theirs = response_headers(response.headers.raw)
        self.headers = target.query.taken_out(theirs)
        self._shows_query = self.headers != theirs
        self.target = target
        self.is_stream = self._is_json = False
        self.is_plain = True
        self.whole: bytes | None = None
        self.mistake: ToldError | None = None
        self.told: ToldError | None = None
        self.seconds = 0.0
        for name, value in self.headers:
            if name == b"content-type":
                kind = value.lower()
                self.is_stream = self.is_stream or kind.startswith(b"text/event-stream")
                self._is_json = self._is_json or kind.startswith(b"application/json")
            elif name == b"content-encoding" and value.lower() != b"identity":
                # We ask for none; what is compressed all the same can be passed on, and not be looked at.
                self.is_plain = False
        self._stream = response.stream
        self._chunks = aiter(response.stream)
        self._held: list[bytes] = []
        self._guard = guard
        self._when_closed: Callable[[], None] | None = None

    async def hold(self, call: Call) -> None:
        """
        Read until what is here should not be kept from the client: a stream's first content, else the whole.

        Args:
            call: that it replies to; where no model must answer that, what is neither JSON nor trouble, such as speech,
                is not held.

        Raises:
            NotAnAnswer: it is none.
        """
        is_good = self.status < 300
        is_checked = call.is_routed and self.is_plain and is_good
        # A server that leaves the kind to its framework labels a stream as a page, or not at all; SDKs read it as one.
        may_be_stream = is_checked and call.is_stream and not (self.is_stream or self._is_json)
        opening = StreamOpening(is_background=call.is_background) if is_checked and self.is_stream else None
        may_begin = is_good and (self.is_stream or not (call.is_routed or self._is_json))
        size = 0
        async for chunk in self._chunks:
            if chunk:
                self._held.append(chunk)
                size += len(chunk)
                if may_be_stream:
                    chunk = b"".join(self._held)
                    if begin_stream(chunk):
                        self.is_stream = may_begin = True
                        opening = StreamOpening(is_background=call.is_background)
                    may_be_stream = not self.is_stream and size < LONGEST_BEGINNING
                if size > _MOST_HELD or (may_begin and (opening is None or opening.feed(chunk))):
                    self.mistake = None if opening is None else opening.mistake
                    return
        if self._shows_query and self.status in _REDIRECTS:  # so does the page that comes with one
            self._held.clear()
            left = [header for header in self.headers if header[0] not in (b"content-length", b"content-encoding")]
            self.headers = [*left, (b"content-length", b"0")]
        self.whole = b"".join(self._held)
        self._held.clear()
        if opening is not None:
            opening.end()
        elif is_checked:
            self.mistake = check_whole(self.whole)
        elif call.is_of_a_model and 400 <= self.status < 500:
            self.told = told_in(self.whole)

    async def chunks(self) -> AsyncIterator[bytes]:
        """What is held, then the rest as it arrives."""
        # Here and below: while the client takes a piece, however slowly, no time of the upstream's passes.
        self._guard.pause()
        if self.whole is not None:
            if self.whole:
                yield self.whole
            return
        for chunk in self._held:
            yield chunk
        idle = self.target.timeouts.idle
        self._guard.expire_in(idle, "idle")
        try:
            async for chunk in self._chunks:
                self._guard.pause()
                yield chunk
                self._guard.expire_in(idle, "idle")
        except httpx.TransportError as error:
            logger.warning("upstream cut", extra={"target": self.target.label, "error": str(error)})
            raise UpstreamCut(f"The upstream {self.target.upstream!r} broke off its answer.") from error

    def release(self) -> None:
        """Nothing more is awaited of the upstream or the client: the last byte is about to be sent."""
        self._guard.release()

    @property
    def outcome(self) -> Outcome:
        """How an attempt ended that got this reply, which is an answer as far as its body goes."""
        status = self.status
        if status < 400:
            return "ok" if self.mistake is None else "rejected"
        if status == 429:
            return "rate_limited"
        if status in (401, 403) and self.target.has_own_key:
            return "unauthorized" if status == 401 else "forbidden"
        if status in _STATUSES_OF_TROUBLE:
            return "failed"
        return self._refusal if self.target.has_own_key else "rejected"

    @property
    def _refusal(self) -> Outcome:
        """What a 4xx is, by what it tells: a mistake of the client's, or trouble with our key or the model's name."""
        status, told = self.status, self.told
        if status == 402 or (told is not None and told.is_of_money):
            return "rate_limited"
        if told is None:
            return "rejected"
        is_refused = told.is_of_the_operator or (status == 404 and told.is_without(self.target.name))
        return "forbidden" if is_refused else "rejected"

    def when_closed(self, do: Callable[[], None]) -> None:
        """Call this once it is closed."""
        self._when_closed = do

    async def close(self) -> None:
        """Free the connection: for the next request if the reply was read to its end, else by closing it."""
        if self._when_closed is not None:
            self._when_closed()
            self._when_closed = None
        await self._stream.aclose()


class Failed(Exception):
    """An attempt ended without an answer."""

    def __init__(self, outcome: Outcome, error: ProxyError) -> None:
        """
        Args:
            outcome: how.
            error: what a client would be told.
        """
        super().__init__(outcome)
        self.outcome = outcome
        self.error = error


async def open_reply(target: Target, call: Call, own: OwnHeaders, body: Body, guard: Guard) -> Reply:
    """
    Send a request and wait for the first content of its answer.

    Args:
        target: where to.
        call: what the client asks.
        own: what it gets in place of the client's headers; one of its keys.
        body: as the upstream gets it.
        guard: entered and begun; the attempt's deadlines are set here.

    Raises:
        Failed: there was none.
    """
    timeouts = target.timeouts
    if call.is_stream:
        guard.expire_in(timeouts.first_token, "first_token")
    else:
        guard.expire_in(timeouts.whole_answer, "whole_answer")
    headers = request_headers(call.headers, own)
    if isinstance(body, Upload) and body.length is not None:
        headers.append((b"content-length", b"%d" % body.length))
    request = httpx.Request(
        call.method,
        target.url(call.path, call.query),
        headers=headers,
        # As a stream, so that httpx neither adds headers nor looks for a body's kind: aiohttp says host and length.
        stream=httpx.ByteStream(body) if isinstance(body, bytes) else body,
        extensions={"timeout": {"connect": timeouts.connect}, KEEPS_CONNECTION: call.is_repeatable},
    )
    reply: Reply | None = None
    is_held = False
    sent = perf_counter()
    try:
        try:
            response = await target.transport.handle_async_request(request)
            reply = Reply(response, target, guard)
            if not 200 <= reply.status < 600:  # RFC 9110, section 15: as if it were a 5xx
                raise NotAnAnswer(f"answered with the status {reply.status}")
            await reply.hold(call)
        except asyncio.CancelledError:
            guard.end_attempt()
            raise
        is_held, reply.seconds = True, perf_counter() - sent
        if reply.mistake is not None:
            logger.info("upstream rejected", extra={"target": target.label, "error": reply.mistake.word})
        elif reply.told is not None and reply.status != 429 and reply.outcome in ("rate_limited", "forbidden"):
            refusal = {"target": target.label, "status": reply.status, "error": reply.told.word}
            logger.warning("upstream refused", extra=refusal)
        return reply
    except httpx.ConnectTimeout as error:
        raise _too_late(target, DeadlinePassed("connect", timeouts.connect)) from error
    except DeadlinePassed as passed:
        raise _too_late(target, passed) from None
    except (NotAnAnswer, NotHttp) as error:
        code = {"code": word} if isinstance(error, NotAnAnswer) and error.told and (word := error.told.word) else {}
        logger.warning("upstream garbled", extra={"target": target.label, "error": str(error), **code})
        why = "answered what cannot be read as HTTP" if isinstance(error, NotHttp) else str(error)
        told = UpstreamUnavailable(f"The upstream {target.upstream!r} {why}.", code="upstream_garbled")
        raise Failed("garbled", told) from error
    except httpx.TransportError as error:
        # An operator reads why in the log; a client need not learn an upstream's address from the reason.
        logger.warning("upstream unavailable", extra={"target": target.label, "error": str(error)})
        told = UpstreamUnavailable(f"The upstream {target.upstream!r} gave no answer. Try again later.")
        raise Failed("unreachable" if reply is None else "cut", told) from error
    finally:
        if reply is not None and not is_held:
            await reply.close()


def _too_late(target: Target, passed: DeadlinePassed) -> Failed:
    logger.warning("upstream too slow", extra={"target": target.label, "deadline": passed.deadline})
    return Failed(passed.deadline, deadline_error(target, passed))


def deadline_error(target: Target | None, passed: DeadlinePassed) -> UpstreamTimeout:
    """What a client is told about a deadline that passed; of no target where it is not one's alone."""
    if target is None:
        return UpstreamTimeout(f"The request was not over within {passed.seconds:g} s.", code="total_timeout")
    what = {
        "connect": "could not be connected to",
        "first_token": "began no answer",
        "whole_answer": "gave no whole answer",
        "idle": "fell silent",
        "total": "did not finish its answer",
    }[passed.deadline]
    return UpstreamTimeout(
        f"The upstream {target.upstream!r} {what} within {passed.seconds:g} s.", code=f"{passed.deadline}_timeout"
    )
