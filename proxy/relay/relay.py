"""One exchange with an upstream: open its reply, hold it until real content is there, copy it to the client."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Literal, get_args

import httpx
from starlette.types import Send

from proxy.errors import ProxyError, UpstreamTimeout, UpstreamUnavailable, error_body
from proxy.relay.events import WholeEvents, error_event
from proxy.relay.guard import DeadlinePassed, Guard
from proxy.relay.headers import Headers, request_headers, response_headers
from proxy.relay.upstreams import Target
from proxy.relay.usage import StreamUsage, Usage, usage_of_json

logger = logging.getLogger(__name__)

Outcome = Literal[
    "ok", "rejected", "failed", "unreachable", "cut", "connect", "first_token", "idle", "total", "client_left"
]
"""
How an attempt ended: with an answer (`ok` below 400, `rejected` below 500, `failed` from 500), without one
(`unreachable`), in the middle of one (`cut`), at a deadline (by its name), or because the client left.
"""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

# An answer that is no stream is held whole up to this size, so that a cut one becomes an honest 502; none that
# a model writes is larger, and a file that is goes through in pieces.
_MOST_HELD = 1024 * 1024


class UpstreamCut(UpstreamUnavailable):
    """An upstream broke off in the middle of its answer."""

    code = "upstream_cut"


class Reply:
    """
    An upstream's reply whose first content is here; use it once, and close it.

    Attributes:
        status: as the upstream sent it.
        headers: the upstream's, hop-by-hop ones left out.
        is_stream: whether it is a stream of events.
    """

    def __init__(self, response: httpx.Response, target: Target, guard: Guard) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self.status = response.status_code
        self.headers = response_headers(response.headers.raw)
        self.is_stream = any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers
        )
        self._stream = response.stream
        self._chunks = aiter(response.stream)
        self._held: list[bytes] = []
        self._is_complete = False
        self._target = target
        self._guard = guard

    async def hold(self) -> None:
        """Read until what is here should not be kept from the client: a stream's first piece, else the whole."""
        size = 0
        async for chunk in self._chunks:
            if chunk:
                self._held.append(chunk)
                size += len(chunk)
                if self.is_stream or size > _MOST_HELD:
                    return
        self._is_complete = True

    async def chunks(self) -> AsyncIterator[bytes]:
        """What is held, then the rest as it arrives."""
        for chunk in self._held:
            yield chunk
        if self._is_complete:
            return
        idle = self._target.timeouts.idle
        self._guard.expire_in(idle, "idle")
        try:
            async for chunk in self._chunks:
                self._guard.expire_in(idle, "idle")
                yield chunk
        except httpx.TransportError as error:
            logger.warning("upstream cut", extra={"target": self._target.label, "error": str(error)})
            raise UpstreamCut(f"The upstream {self._target.upstream!r} broke off its answer.") from error

    def release(self) -> None:
        """Nothing more is awaited of the upstream or the client: the last byte is about to be sent."""
        self._guard.release()

    @property
    def whole(self) -> bytes | None:
        """The body, if all of it is here already."""
        return b"".join(self._held) if self._is_complete else None

    async def close(self) -> None:
        """Free the connection: for the next request if the reply was read to its end, else by closing it."""
        await self._stream.aclose()


async def open_reply(target: Target, body: bytes, headers: Headers, guard: Guard) -> Reply:
    """
    Send a request and wait for the first content of its answer.

    Args:
        target: where to.
        body: as the upstream gets it.
        headers: as the client sent them.
        guard: entered; its deadlines are set here.

    Raises:
        UpstreamUnavailable: no connection, or it broke before there was an answer.
        UpstreamTimeout: opening the connection took too long. (Other deadlines cut the guarded block.)
    """
    timeouts = target.timeouts
    guard.begin(timeouts.total)
    guard.expire_in(timeouts.first_token, "first_token")
    request = httpx.Request(
        "POST",
        target.chat_url,
        headers=request_headers(headers, target.own_headers),
        # As a stream, so that httpx neither adds headers nor looks for a body's kind: aiohttp says host and length.
        stream=httpx.ByteStream(body),
        extensions={"timeout": {"connect": timeouts.connect}},
    )
    reply: Reply | None = None
    try:
        response = await target.transport.handle_async_request(request)
        reply = Reply(response, target, guard)
        await reply.hold()
    except httpx.TransportError as error:
        if reply is not None:
            await reply.close()
        raise _unavailable(target, error) from error
    except BaseException:
        if reply is not None:
            await reply.close()
        raise
    return reply


def _unavailable(target: Target, error: httpx.TransportError) -> ProxyError:
    if isinstance(error, httpx.ConnectTimeout):
        return deadline_error(target, DeadlinePassed("connect", target.timeouts.connect))
    # An operator reads why in the log; a client need not learn an upstream's address from the reason.
    logger.warning("upstream unavailable", extra={"target": target.label, "error": str(error)})
    return UpstreamUnavailable(f"The upstream {target.upstream!r} gave no answer. Try again later.")


def deadline_error(target: Target, passed: DeadlinePassed) -> UpstreamTimeout:
    """What a client is told about a deadline that passed."""
    what = {
        "connect": "could not be connected to",
        "first_token": "began no answer",
        "idle": "fell silent",
        "total": "did not finish its answer",
    }[passed.deadline]
    return UpstreamTimeout(
        f"The upstream {target.upstream!r} {what} within {passed.seconds:g} s.", code=f"{passed.deadline}_timeout"
    )


class Answer:
    """A reply on its way to the client, and what was seen of it."""

    def __init__(self, reply: Reply, send: Send) -> None:
        self._reply = reply
        self._send = send
        self._usage = StreamUsage()
        self._ended = b""
        self.is_begun = False
        """Whether the status is out: from then on the truth can only be told in-band."""

    async def copy(self, extra_headers: Headers) -> None:
        """
        Send the whole reply, its bytes unchanged, each as soon as it is here.

        Raises:
            UpstreamCut: the upstream broke off.
        """
        reply = self._reply
        self.is_begun = True
        await self._send(
            {"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, *extra_headers]}
        )
        if (whole := reply.whole) is not None and not reply.is_stream:
            reply.release()
            await self._send({"type": "http.response.body", "body": whole})
            return
        events = WholeEvents() if reply.is_stream else None
        async for chunk in reply.chunks():
            self._usage.feed(chunk)
            ready = events.feed(chunk) if events is not None else chunk
            if ready:
                self._ended = ready[-16:]
                await self._send({"type": "http.response.body", "body": ready, "more_body": True})
        rest = events.rest() if events is not None else b""
        reply.release()
        await self._send({"type": "http.response.body", "body": rest})

    async def end_with(self, error: ProxyError) -> None:
        """Tell the client in-band that the rest is missing: one error event, and then the stream is closed."""
        if self._reply.is_stream:
            envelope = error_body(str(error), type=error.type, code=error.code)
            await self._send({"type": "http.response.body", "body": error_event(envelope)})
        # A body of another kind is left without its end, which every client takes for the failure that it is.

    @property
    def is_done(self) -> bool:
        """Whether a client has all it needs of a stream: many hang up on reading `[DONE]`, before the last byte."""
        return b"data: [DONE]" in self._ended

    def usage(self) -> Usage | None:
        """The tokens, once the answer is over; None when the upstream did not say."""
        whole = self._reply.whole
        return usage_of_json(whole) if whole is not None and not self._reply.is_stream else self._usage.result()


def outcome_of(status: int) -> Outcome:
    """How an attempt ended that got this status."""
    return "ok" if status < 400 else "rejected" if status < 500 else "failed"
