"""An answer on its way to the client."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Send

from proxy.config import WireProtocol
from proxy.errors import ProxyError
from proxy.relay.body import BROKEN_OFF
from proxy.relay.events import WholeEvents, are_last, are_whole, error_event
from proxy.relay.finish import Finish, StreamFinish, finish_of_json
from proxy.relay.headers import Headers
from proxy.relay.reply import Reply
from proxy.relay.usage import StreamUsage, Usage, id_of_json, model_of_json, usage_of_json
from proxy.relay.usage_chunk import without_usage_chunk
from proxy.routing.apis import Api


class Answer:
    """A reply on its way to the client, and what was seen of it."""

    def __init__(
        self,
        reply: Reply,
        send: Send,
        protocol: WireProtocol,
        *,
        hides_usage: bool = False,
        reads_finish_of: Api | None = None,
        tell_id: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            reply: closed by whoever opened it.
            send: to the client.
            protocol: how the client expects errors.
            hides_usage: whether a stream's usage chunk is kept from the client, who did not ask for it.
            reads_finish_of: the API whose answer it is, to be asked for its `finish` afterwards.
            tell_id: is told the answer's id, if it has one, before the client can know it.
        """
        # Of compressed ones neither ends can be seen, nor another be added.
        self._has_events = reply.is_stream and reply.is_plain
        self._hides_usage = hides_usage and self._has_events
        self._protocol = protocol
        self._reply = reply
        self._whole = None if reply.is_stream else reply.whole
        """The body where it is here already, and no stream: then nothing is read from the side."""
        self._send = send
        self._usage = StreamUsage()
        self._finish = StreamFinish(reads_finish_of) if reads_finish_of is not None and self._has_events else None
        self._tell_id = tell_id
        self._last = b""
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
        headers = [*reply.headers, *extra_headers]
        if self._has_events:  # what hides usage makes it shorter, and what tells of a break longer
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if self._whole is not None:
            self._look_for_id()
            reply.release()
            await self._send({"type": "http.response.body", "body": self._whole})
            return
        events = WholeEvents() if self._has_events else None
        async for chunk in reply.chunks():
            self._usage.feed(chunk)
            self._look_for_id()
            ready = events.feed(chunk) if events is not None else chunk
            if self._finish is not None and ready:
                self._finish.feed(ready)
            if self._hides_usage:
                ready = without_usage_chunk(ready)
            if ready:
                await self._send({"type": "http.response.body", "body": ready, "more_body": True})
                self._last = ready  # now that it is written: for a slow client that may have waited
        rest = events.rest() if events is not None else b""
        if self._hides_usage:
            rest = without_usage_chunk(rest)
        reply.release()
        await self._send({"type": "http.response.body", "body": rest})

    def _look_for_id(self) -> None:
        if self._tell_id is not None and (found := self.id()) is not None:
            self._tell_id(found)
            self._tell_id = None

    async def end(self) -> None:
        """Close the stream behind its last event."""
        await self._send({"type": "http.response.body", "body": b""})

    async def end_with(self, error: ProxyError) -> None:
        """
        Tell the client in-band that the rest is missing: one error event, and then the stream is closed.

        What has no such events, or is in the middle of one, is left without its end, which every client takes for the
        failure that it is.
        """
        if self._has_events and are_whole(self._last):
            event = error_event(error, self._protocol, self._usage.next_number())
            await self._send({"type": "http.response.body", "body": event})
        else:
            await self._send({"type": "http.response.body", "more_body": True, BROKEN_OFF: True})

    @property
    def is_done(self) -> bool:
        """Whether a client has all it needs of a stream: many hang up on reading its last event, before its end."""
        return self._has_events and are_last(self._last)

    def usage(self) -> Usage | None:
        """The tokens, once the answer is over; None when the upstream did not say."""
        return self._usage.result() if self._whole is None else usage_of_json(self._whole)

    def id(self) -> str | None:
        """The id that the upstream gave its answer."""
        return self._usage.id() if self._whole is None else id_of_json(self._whole)

    def model(self) -> str | None:
        """The model that the upstream says it is of."""
        return self._usage.model() if self._whole is None else model_of_json(self._whole)

    def finish(self) -> Finish:
        """How it ended; call it only where that was to be read."""
        if self._finish is not None:
            return self._finish.result(self._usage.tail)
        return Finish() if self._whole is None else finish_of_json(self._whole)
