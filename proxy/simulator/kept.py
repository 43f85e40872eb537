"""What an upstream keeps between requests: files, and responses that others go on from."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

import msgspec

from proxy.simulator.chat_request import Json

KEPT = 1_000
KEPT_BYTES = 64 * 2**20

T = TypeVar("T")


class KeptFile(msgspec.Struct, frozen=True):
    """An uploaded file."""

    about: Json  # as `/files` tells it
    content: bytes


class KeptResponse(msgspec.Struct, frozen=True):
    """A response, and the conversation up to it."""

    body: bytes
    messages: list[Json]  # as a chat's, this answer included and instructions left out


class Shelf(Generic[T]):
    """
    Things of several upstreams by id, oldest first; bounded in number and in bytes, the oldest leaving first.

    The newest stays whatever its size.
    """

    def __init__(self, most: int = KEPT, most_bytes: int = KEPT_BYTES) -> None:
        self._things: OrderedDict[tuple[str, str], tuple[T, int]] = OrderedDict()
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0

    def put(self, upstream: str, name: str, thing: T, size: int) -> None:
        self.take(upstream, name)
        self._things[upstream, name] = thing, size
        self._bytes += size
        while len(self._things) > 1 and (len(self._things) > self._most or self._bytes > self._most_bytes):
            self._bytes -= self._things.popitem(last=False)[1][1]

    def get(self, upstream: str, name: str) -> T | None:
        found = self._things.get((upstream, name))
        return None if found is None else found[0]

    def take(self, upstream: str, name: str) -> T | None:
        """The thing, which is gone then; None when there is none."""
        found = self._things.pop((upstream, name), None)
        if found is None:
            return None
        self._bytes -= found[1]
        return found[0]

    def of(self, upstream: str) -> list[T]:
        return [thing for (owner, _), (thing, _) in self._things.items() if owner == upstream]


class Kept:
    """All that one simulator keeps. Used from the server's loop only."""

    def __init__(self) -> None:
        self.files: Shelf[KeptFile] = Shelf()
        self.responses: Shelf[KeptResponse] = Shelf()
