"""What the conditions of a routes.yaml ask about that a client may say as it likes: names of headers and the like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.config import When
from proxy.routing.conditions import walk
from proxy.routing.pin import PIN_HEADER
from proxy.routing.preference import PREFER_HEADER

OUR_HEADERS = (PIN_HEADER, PREFER_HEADER)
"""Those that may steer a decision whatever the rules are."""
_SECRET = frozenset(("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"))


@dataclass(frozen=True, slots=True)
class Asks:
    """Names without order, of which each stands once."""

    headers: tuple[str, ...] = ()
    """In lower case; none that carries a key or a session."""
    metadata: tuple[str, ...] = ()
    user: bool = False


def asks_of(whens: Iterable[When]) -> Asks:
    """What these ask about, however deep it stands."""
    headers: dict[str, None] = {}
    metadata: dict[str, None] = {}
    user = False
    for when in walk(*whens):
        headers |= dict.fromkeys(when.header or ())
        metadata |= dict.fromkeys(when.metadata or ())
        user = user or when.user is not None
    return Asks(tuple(name for name in headers if name not in _SECRET), tuple(metadata), user)
