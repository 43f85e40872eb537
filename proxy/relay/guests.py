"""
Clients that bring their own keys: one that an upstream limits (429) is kept away from it, and nobody else is.

Where no key of the operator's is sent, a limit is that of whoever asked. An upstream that has too much to do itself
rests all the same: clients of a server that asks for no key mostly send the same one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from proxy.relay.headers import Headers, key_in_headers
from proxy.relay.health import growing_rest_s
from proxy.relay.query import key_in_query

_MOST = 10_000
"""Rests that are remembered; of more, the oldest are forgotten."""

Guest = bytes
"""What tells one client's key from another's, in this process."""


class Guests:
    """Until when which client's requests are kept away from which target. Lives across reloads."""

    def __init__(self, clock: Callable[[], float], hash_of: Callable[[bytes], bytes]) -> None:
        """
        Args:
            clock: seconds from any beginning.
            hash_of: what a key is known by.
        """
        self._clock = clock
        self._hash = hash_of
        self._until: OrderedDict[tuple[str, Guest], float] = OrderedDict()
        self._last = 0.0
        """When the last of them is over."""

    @property
    def are_limited(self) -> bool:
        """Whether anybody is kept away from anywhere now; if not, nobody need ask who a request comes from."""
        return self._last > 0.0 and self._last > self._clock()

    def guest(self, headers: Headers, query: bytes) -> Guest | None:
        """Who a request comes from, by the key in its headers, its query or both; None where it brings none."""
        keys = key_in_headers(headers), key_in_query(query)
        return self._hash(b"\0".join(keys)) if any(keys) else None

    def limited_at(self, label: str) -> int:
        """How many clients are kept away from a target now."""
        now = self._clock()
        return sum(where == label and until > now for (where, _), until in self._until.items())

    def limited(self, label: str, guest: Guest, retry_after_s: float | None) -> None:
        """
        A target answered this client with 429.

        Args:
            label: the target's.
            guest: who asked.
            retry_after_s: for how long, if the answer says so.
        """
        if not self.are_limited:
            self._until.clear()
        seconds = growing_rest_s(0) if retry_after_s is None else retry_after_s
        until = max(self._until.pop((label, guest), 0.0), self._clock() + seconds)
        self._until[label, guest] = until
        self._last = max(self._last, until)
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def accepted(self, label: str, guest: Guest) -> None:
        """A target took a request of this client's that should have been kept away."""
        self._until.pop((label, guest), None)

    def forget(self, label: str) -> None:
        """Nobody is kept away from a target any more."""
        for where, guest in [limited for limited in self._until if limited[0] == label]:
            del self._until[where, guest]

    def rest_s(self, label: str, guest: Guest | None) -> float:
        """Seconds for which this client's requests are kept away from a target; 0 where they are not."""
        if guest is None or (until := self._until.get((label, guest))) is None:
            return 0.0
        return max(0.0, until - self._clock())
