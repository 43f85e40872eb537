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

# RFC 2046, section 5.1.1: one with a blank in it is quoted.
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^";\s]{1,70}))', re.IGNORECASE)
# The head of the part behind its boundary, other lines of it before and after.
_MODEL_PART = re.compile(
    rb'[ \t]*\r\n(?:[^\r\n]+\r\n)*?content-disposition[ \t]*:[ \t]*form-data[ \t]*;[ \t]*name="?model"?[ \t]*'
    rb"(?:\r\n[^\r\n]+)*\r\n\r\n",
    re.IGNORECASE,
)
_LONGEST_PART_HEAD = 4096
_LONGEST_INDENT = 1024
"""Bytes of white space before an object."""
_LONGEST_MODEL = 256
_PIECE = 64 * 1024


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
            timeout_s: how long the client may take for all that is held together, and then for each piece.
        """
        self.length = length
        self._receive = receive
        self._timeout_s = timeout_s
        self._held = bytearray()
        self._held_until: float | None = None  # by the loop's clock; None before anything is
        self._is_read = False
        self._is_begun = False
        self._sent = asyncio.Event()
        self._guard: Guard | None = None
        self._timeouts: Timeouts | None = None

    @property
    def is_read(self) -> bool:
        """Whether its last byte has arrived."""
        return self._is_read

    async def model_field(self, boundary: bytes, most: int) -> Field | None:
        """
        The field `model` of a form; what arrives until it is here is held.

        Args:
            boundary: as `boundary_of` says.
            most: bytes that are held for it; where there are more, and it is not among them, nobody looks further.

        Raises:
            BodyTimeout: the client was too slow.
            ClientLeft: the client hung up.
            ShuttingDown: the server ends.
        """
        search = ModelSearch(boundary)
        while (field := search.find(self._held)) is None and len(self._held) < most and not self._is_read:
            await self._hold()
        return field

    async def whole_object(self, most: int) -> bytes | None:
        """
        All of it, where it begins as a JSON object does and is no larger than `most` bytes; else None, and what arrived
        until that was known is held.

        Raises:
            BodyTimeout, ClientLeft, ShuttingDown: as of `model_field`.
        """
        if self.length is not None and self.length > most:
            return None
        while not self._is_read:
            await self._hold()
            begun = self._held[:_LONGEST_INDENT].lstrip(b" \t\r\n")
            is_known = bool(begun) or len(self._held) >= _LONGEST_INDENT
            if len(self._held) > most or (is_known and not begun.startswith(b"{")):
                return None
        return bytes(self._held)

    def replace(self, start: int, end: int, new: bytes) -> None:
        """Put something else in the place of some of the bytes that are held."""
        self._held[start:end] = new
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
        while self._held:
            guard.expire_in(timeouts.idle, "idle")
            piece = bytes(self._held[:_PIECE])
            del self._held[:_PIECE]
            yield piece
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

    async def _hold(self) -> None:
        """The next piece. There is one deadline for all, since nobody else bounds how long they stay here."""
        if self._held_until is None:
            self._held_until = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._held_until):
                self._held += await self._next()
        except TimeoutError:
            raise BodyTimeout(f"The request body did not arrive within {self._timeout_s:g} s.") from None

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


def boundary_of(content_type: str) -> bytes | None:
    """What stands between the parts of a form; None for what is no form, or does not say."""
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    named = _BOUNDARY.search(content_type)
    return None if named is None else b"--" + (named[1] or named[2]).encode("latin-1")


class ModelSearch:
    """Looks for the field `model` in a form while it arrives, at every byte once."""

    def __init__(self, boundary: bytes) -> None:
        """
        Args:
            boundary: as `boundary_of` says.
        """
        self._boundary = boundary
        self._end = b"\r\n" + boundary
        self._looked_at = 0

    def find(self, head: bytes | bytearray) -> Field | None:
        """
        The field, once it is here whole.

        Args:
            head: all of the form that is here; each time as before, with more at its end.
        """
        while (start := head.find(self._boundary, self._looked_at)) >= 0:
            begin = start + len(self._boundary)
            # A file may hold a form itself; what is in it is no field of this one.
            if start == 0 or head[start - 2 : start] == b"\r\n":
                longest = begin + _LONGEST_PART_HEAD
                following = head.find(self._boundary, begin, longest)
                blank = head.find(b"\r\n\r\n", begin, longest if following < 0 else following)
                if blank < 0 and following < 0 and len(head) < longest:
                    return None
                value = blank + 4
                if blank >= 0 and _MODEL_PART.match(head, begin, value) is not None:
                    longest = value + _LONGEST_MODEL + len(self._end)
                    end = head.find(self._end, value, longest)
                    if end >= 0:
                        return _field(head, value, end)
                    if len(head) < longest:
                        return None
            self._looked_at = begin
        self._looked_at = max(self._looked_at, len(head) - len(self._boundary) + 1)
        return None


def _field(head: bytes | bytearray, start: int, end: int) -> Field | None:
    try:
        return Field(head[start:end].decode("utf-8"), start, end)
    except UnicodeDecodeError:
        return None
