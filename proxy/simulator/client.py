"""The other end of one request: writing to it, waiting, and noticing when it leaves."""

import asyncio
import time

from starlette.types import Message, Receive, Send

from proxy.simulator.headers import Headers
from proxy.simulator.log import Entry, Log


class Client:
    """
    Enter it once the request's body is read: after that, all `receive` can bring is the hang-up.

    Leaving the block without `finish` makes the server cut the connection.
    """

    def __init__(self, receive: Receive, send: Send, log: Log, entry: Entry) -> None:
        self._receive = receive
        self._send = send
        self._log = log
        self._entry = entry
        self._finished = False
        self._hang_up: asyncio.Task[Message] | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._hang_up is not None and not self._hang_up.done():
            self._hang_up.cancel()
            await asyncio.wait([self._hang_up])
        self._log.note_end(self._entry, complete=self._finished and self._entry.disconnected_at is None)

    @property
    def left(self) -> bool:
        return self._entry.disconnected_at is not None

    def watch(self) -> asyncio.Task[Message]:
        """Begin to look for the hang-up. Costs a task, so an answer written at once goes without."""
        if self._hang_up is None:
            self._hang_up = asyncio.ensure_future(self._receive())
            self._hang_up.add_done_callback(self._note_hang_up)
        return self._hang_up

    async def wait_until(self, due: float) -> bool:
        """Wait for a time of `time.monotonic()`; False as soon as the client leaves."""
        rest = due - time.monotonic()
        if rest > 0:
            await asyncio.wait([self.watch()], timeout=rest)
        return not self.left

    async def wait_for_hang_up(self) -> None:
        await asyncio.wait([self.watch()])

    async def start(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self._log.note_status(self._entry, status)

    async def write(self, data: bytes, chunk_bytes: int | None = None) -> None:
        """Write data, in one piece or in pieces of a size that arrive one by one."""
        if not chunk_bytes:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            return
        for start in range(0, len(data), chunk_bytes):
            piece = data[start : start + chunk_bytes]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # uvloop joins what is written within one turn of the loop

    async def write_event(self, event: bytes, chunk_bytes: int | None = None) -> None:
        await self.write(event, chunk_bytes)
        if not self.left:
            self._log.note_event(self._entry)

    async def finish(self, data: bytes = b"") -> None:
        self._finished = True  # first: when all is sent, `receive` reports a hang-up too
        await self._send({"type": "http.response.body", "body": data})

    async def cut_before_headers(self) -> None:
        """
        Close the connection without a word.

        ASGI has no such message, so this reaches for uvicorn's transport, which `receive` is bound to.
        """
        transport = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if transport is None:
            raise RuntimeError("cutting before the headers needs uvicorn")
        transport.abort()
        self._finished = True  # it is we who leave, not the client
        await self.wait_for_hang_up()
        self._finished = False

    def _note_hang_up(self, hang_up: asyncio.Task[Message]) -> None:
        if not hang_up.cancelled() and not self._finished:
            self._log.note_disconnect(self._entry)
