"""
A small HTTP client for what wrk cannot do: check every byte, and time the first one.

One connection asks one thing at a time. It is slower than wrk (about 40 us a request on the load core), so
it never measures throughput.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from bench.prompts import body, head, texts
from bench.upstream import ID_DIGITS

__all__ = ["Asker", "Reply", "Target", "first_bytes", "percentile"]

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Target:
    """Where and how one proxy is asked."""

    port: int
    model: str = "gpt-4o-mini"
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    text: str | None = None
    """The text of every request; a new one each time when None."""

    def request(self, text: str, *, stream: bool, user: str = "bench") -> bytes:
        payload = body(self.model, text, stream=stream, user=user)
        return f"{head(self.port, self.path, self.headers)}{len(payload)}\r\n\r\n".encode() + payload


@dataclass
class Reply:
    """What came back; times in seconds from the moment the request was written."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wire_bytes: int = 0
    first_byte_s: float = 0.0
    """Until the first byte of the body, not of the head."""
    total_s: float = 0.0


class Asker(asyncio.Protocol):
    """One keep-alive connection. Use `connect`, then `ask` one after the other, then `close`."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[Reply] | None = None

    @classmethod
    async def connect(cls, port: int) -> Asker:
        _, asker = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return asker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    async def ask(self, request: bytes, timeout_s: float = TIMEOUT_S) -> Reply:
        """
        Send a request and wait for its whole answer.

        Raises:
            OSError: the connection broke before the answer was complete; or TimeoutError.
        """
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.reply = Reply()
        self.received = bytearray()
        self.body_starts = -1
        self.remaining: int | None = None  # None: chunked
        self.at = 0
        self.pieces: list[bytes] = []
        self.answered = asyncio.get_running_loop().create_future()
        self.began = time.perf_counter()
        self.transport.write(request)
        async with asyncio.timeout(timeout_s):
            return await self.answered

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(ConnectionResetError(str(exc or "closed before the answer was complete")))

    def data_received(self, data: bytes) -> None:
        if self.answered is None or self.answered.done():
            return
        self.received += data
        if self.body_starts < 0:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.read_head(bytes(self.received[:end]))
            self.body_starts = self.at = end + 4
        if not self.reply.first_byte_s and len(self.received) > self.body_starts:
            self.reply.first_byte_s = time.perf_counter() - self.began
        if self.is_complete():
            self.reply.total_s = time.perf_counter() - self.began
            self.reply.wire_bytes = len(self.received)
            self.answered.set_result(self.reply)

    def read_head(self, received: bytes) -> None:
        status, *lines = received.decode("latin-1").split("\r\n")
        self.reply.status = int(status.split(" ", 2)[1])
        self.reply.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = self.reply.headers.get("content-length")
        self.remaining = int(length) if length is not None else None

    def is_complete(self) -> bool:
        if self.remaining is not None:
            self.reply.body = bytes(self.received[self.body_starts :])
            return len(self.reply.body) >= self.remaining
        while True:
            line_ends = self.received.find(b"\r\n", self.at)
            if line_ends < 0:
                return False
            size = int(self.received[self.at : line_ends].split(b";")[0], 16)
            ends = line_ends + 2 + size
            if len(self.received) < ends + 2:
                return False
            self.pieces.append(bytes(self.received[line_ends + 2 : ends]))
            self.at = ends + 2
            if size == 0:
                self.reply.body = b"".join(self.pieces)
                return True


async def first_bytes(target: Target, connections: int, seconds: float, seed: int) -> list[float]:
    """
    Stream on that many connections and time the first byte of each body, in seconds.

    The upstream pauses after its first content (`late-`), so a proxy that gathers bytes before it passes
    them on shows, and a client busy with fifty events does not.
    """
    times: list[float] = []
    fresh = texts(seed)
    ends = time.monotonic() + seconds

    async def one_connection() -> None:
        asker = await Asker.connect(target.port)
        try:
            while time.monotonic() < ends:
                text = target.text if target.text is not None else next(fresh)
                reply = await asker.ask(target.request(text, stream=True, user=f"late-{'0' * ID_DIGITS}"))
                if reply.status == 200:
                    times.append(reply.first_byte_s)
        finally:
            asker.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one_connection())
    return times


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least that many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
