"""What the simulator saw: the last requests, byte for byte, and how each of them ended."""

import base64
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

KEPT_ENTRIES = 1_000
KEPT_BYTES = 64 * 2**20  # of bodies; the newest entry stays whatever its size


@dataclass(slots=True, eq=False)
class Entry:
    """One request, and how it ended. Times are `time.monotonic()` seconds."""

    number: int  # counts up from 1 over the simulator's life
    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]  # as sent, in order; names in lower case (ASGI)
    body: bytes
    client: tuple[str, int] | None  # the peer's address: equal for requests on one connection
    received_at: float = field(default_factory=time.monotonic)
    status: int | None = None  # None until the headers are sent
    events: int = 0  # SSE events sent
    complete: bool = False  # the whole answer was handed to the server
    disconnected_at: float | None = None  # the client left before that
    ended_at: float | None = None  # nothing more will be sent

    def header(self, name: str) -> str | None:
        """The first value of a header, None when absent."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)

    def as_json(self) -> dict[str, object]:
        return {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [[key.decode("latin-1"), value.decode("latin-1")] for key, value in self.headers],
            "body_base64": base64.b64encode(self.body).decode(),
            "client": self.client,
            "received_at": self.received_at,
            "status": self.status,
            "events": self.events,
            "complete": self.complete,
            "disconnected_at": self.disconnected_at,
            "ended_at": self.ended_at,
        }


class Log:
    """
    The last requests, oldest first; bounded in number and in bytes.

    Written from the server's loop, read from any thread.
    """

    def __init__(self, kept_entries: int = KEPT_ENTRIES, kept_bytes: int = KEPT_BYTES) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept_entries)
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._numbers = count(1)
        self._changed = threading.Condition()

    def open(
        self,
        method: str,
        path: str,
        query: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        client: tuple[str, int] | None,
    ) -> Entry:
        """Record a request that has arrived whole (or whose client left while sending it)."""
        with self._changed:
            entry = Entry(next(self._numbers), method, path, query, headers, body, client)
            if len(self._entries) == self._entries.maxlen:
                self._drop_oldest()
            self._entries.append(entry)
            self._bytes += len(body)
            while self._bytes > self._kept_bytes and len(self._entries) > 1:
                self._drop_oldest()
            self._changed.notify_all()
        return entry

    def note_disconnect(self, entry: Entry) -> None:
        with self._changed:
            entry.disconnected_at = time.monotonic()
            self._changed.notify_all()

    def note_status(self, entry: Entry, status: int) -> None:
        with self._changed:
            entry.status = status
            self._changed.notify_all()

    def note_event(self, entry: Entry) -> None:
        with self._changed:
            entry.events += 1
            self._changed.notify_all()

    def note_end(self, entry: Entry, *, complete: bool) -> None:
        with self._changed:
            entry.complete = complete
            entry.ended_at = time.monotonic()
            self._changed.notify_all()

    def entries(self) -> list[Entry]:
        """A copy of the list; the entries themselves go on changing."""
        with self._changed:
            return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Entry:
        """
        The newest request.

        Raises:
            IndexError: there is none.
        """
        with self._changed:
            return self._entries[-1]

    def clear(self) -> None:
        """Forget the requests so far; numbers go on counting."""
        with self._changed:
            self._entries.clear()
            self._bytes = 0

    def wait_for(self, holds: Callable[[Entry], object], timeout: float = 2.0) -> Entry:
        """
        Wait, in a thread other than the server's, until `holds(entry)` for an entry.

        Returns:
            The oldest entry that holds.

        Raises:
            TimeoutError: none did within `timeout` seconds; the message lists what there was.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for entry in self._entries:
                    if holds(entry):
                        return entry
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    seen = "\n".join(f"  {self._line(entry)}" for entry in self._entries) or "  nothing"
                    raise TimeoutError(f"no such request within {timeout} s; seen:\n{seen}")

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._entries.popleft().body)

    @staticmethod
    def _line(entry: Entry) -> str:
        end = "complete" if entry.complete else "client left" if entry.disconnected_at else "not complete"
        return f"#{entry.number} {entry.method} {entry.path} -> {entry.status}, {entry.events} events, {end}"
