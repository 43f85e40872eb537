"""Which headers travel on."""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]
"""Lower-case names and values as they came, in their order; a name may stand several times."""

# RFC 9110, section 7.6.1: these speak of one connection, not of the message.
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# What the upstream call says anew: the length changes with the model's name, `expect` was answered here, and a
# compressed answer would hide its usage.
_SAID_ANEW = frozenset((b"host", b"content-length", b"expect", b"accept-encoding"))
_NOT_SENT = _HOP_BY_HOP | _SAID_ANEW
_CREDENTIALS = frozenset((b"authorization", b"api-key", b"x-api-key"))
_OURS = b"x-pointsman-"


def request_headers(headers: Iterable[tuple[bytes, bytes]], own: Headers) -> Headers:
    """
    The client's headers as an upstream gets them.

    Args:
        headers: as the client sent them, names in lower case.
        own: the upstream's own, first; where they carry credentials the client's are left out, since a key that
            was meant for this proxy must not reach a third party.
    """
    dropped = _NOT_SENT
    if any(name in _CREDENTIALS for name, _ in own):
        dropped = dropped | _CREDENTIALS
    sent = list(own)
    for name, value in headers:
        if name == b"connection":
            dropped = dropped | _named_by(value)
    sent += [(name, value) for name, value in headers if name not in dropped and not name.startswith(_OURS)]
    return sent


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """An upstream's headers as the client gets them; of a proxy behind this one, none that this one sets itself."""
    dropped = _HOP_BY_HOP
    kept = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"connection":
            dropped = dropped | _named_by(value)
        kept.append((lower, value))
    return [(name, value) for name, value in kept if name not in dropped and not name.startswith(_OURS)]


def _named_by(connection: bytes) -> frozenset[bytes]:
    """The further headers that a Connection header makes hop-by-hop; a Content-Length is never one of them."""
    return frozenset(token.strip().lower() for token in connection.split(b",")) - {b"content-length", b"close"}
