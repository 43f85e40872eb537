"""A request's body on its way to an upstream, for those that are too large or too strange to be held."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
from starlette.types import Message, Receive

from proxy.config import Timeouts
from proxy.errors import BodyTimeout, ShuttingDown
from proxy.relay.body import ClientLeft, why_ended
from proxy.relay.guard import Guard

_BOUNDARY = re.compile(r'boundary="?([^";\s]{1,70})"?', re.IGNORECASE)
# The head of the part, other lines of it before and after.
_MODEL_PART = re.compile(
    rb'(?:[^\r\n]+\r\n)*?content-disposition[ \t]*:[ \t]*form-data[ \t]*;[ \t]*name="?model"?[ \t]*'
    rb"(?:\r\n[^\r\n]+)*\r\n\r\n",
    re.IGNORECASE,
)


class Upload(httpx.AsyncByteStream):
    """
    A body that is passed on in the pieces in which it arrives, at the speed at which the upstream takes them.

    It can be sent once.
    """

    def __init__(self, receive: Receive, *, length: int | None, timeout_s: float) -> None:
        """
        Args:
            receive: the client's.
            length: bytes of the body; None when the client did not say.
            timeout_s: how long the client may take for each piece.
        """
        self.length = length
        self._receive = receive
        self._timeout_s = timeout_s
        self._held = b""
        self._is_read = False
        self._is_begun = False
        self._sent = asyncio.Event()
        self._guard: Guard | None = None
        self._timeouts: Timeouts | None = None

    async def peek(self, size: int) -> bytes:
        """
        The first bytes: as many, or all there are, however they arrive.

        Raises:
            BodyTimeout: the client was too slow.
            ClientLeft: the client hung up.
            ShuttingDown: the server ends.
        """
        while len(self._held) < size and not self._is_read:
            self._held += await self._next()
        return self._held[:size]

    def replace(self, start: int, end: int, new: bytes) -> None:
        """Put something else in the place of some of the bytes that were peeked at."""
        self._held = self._held[:start] + new + self._held[end:]
        if self.length is not None:
            self.length += len(new) - (end - start)

    def begin(self, guard: Guard, timeouts: Timeouts) -> Upload:
        """
        The same, about to be sent.

        Args:
            guard: is told when the client leaves or is too slow, and gets the deadlines.
            timeouts: the target's.
        """
        self._guard, self._timeouts = guard, timeouts
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        guard, timeouts = self._guard, self._timeouts
        assert guard is not None
        assert timeouts is not None
        self._is_begun = True
        held, self._held = self._held, b""
        if held:
            guard.expire_in(timeouts.idle, "idle")
            yield held
        while not self._is_read:
            guard.pause()  # for the client there is a limit of its own
            try:
                piece = await self._next()
            except (ClientLeft, ShuttingDown, BodyTimeout) as error:
                guard.end(error)
                raise
            guard.expire_in(timeouts.idle, "idle")
            if piece:
                yield piece
        guard.expire_in(timeouts.whole_answer, "whole_answer")
        self._sent.set()

    @property
    def is_half_sent(self) -> bool:
        """Whether it is being sent, or was when the connection broke."""
        return self._is_begun and not self._sent.is_set()

    async def receive(self) -> Message:
        """What comes from the client once its body is read; for a `Guard`."""
        await self._sent.wait()
        return await self._receive()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise BodyTimeout(f"The request body fell silent for {self._timeout_s:g} s.") from None
        if message["type"] == "http.disconnect":
            raise why_ended(message)
        self._is_read = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body


class Field(NamedTuple):
    """A field of a form, by where its value stands in the bytes; the end is exclusive."""

    value: str
    start: int
    end: int


def model_field(head: bytes, content_type: str) -> Field | None:
    """
    The field `model` of a form, where it stands in the first bytes of it.

    Args:
        head: the beginning of the body.
        content_type: `multipart/form-data` with its boundary.
    """
    named = _BOUNDARY.search(content_type)
    if named is None:
        return None
    boundary = b"--" + named[1].encode("latin-1")
    # A file may hold a form itself; what is in it is no field of this one.
    starts = re.finditer(rb"(?:\A|\r\n)" + re.escape(boundary) + rb"[ \t]*\r\n", head)
    part = next((part for start in starts if (part := _MODEL_PART.match(head, start.end())) is not None), None)
    if part is None:
        return None
    end = head.find(b"\r\n" + boundary, part.end())
    if end < 0 or end - part.end() > 256:
        return None
    try:
        return Field(head[part.end() : end].decode("utf-8"), part.end(), end)
    except UnicodeDecodeError:
        return None
