"""Which headers travel on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
_KEYS = frozenset((b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"ocp-apim-subscription-key"))
# A cookie too says who the client is, and to whom it was given: whoever stands in front of this proxy.
_CREDENTIALS = _KEYS | {b"cookie"}
# On whose account a key is used. An upstream refuses a key of the operator's that is sent with the client's account.
_ACCOUNT = frozenset((b"openai-organization", b"openai-project", b"x-goog-user-project"))
_OURS = b"x-pointsman-"
# A caller's tracestate speaks of its own traceparent, so the two are replaced together.
_TRACE_CONTEXT = frozenset((b"traceparent", b"tracestate"))


class OwnHeaders:
    """What an upstream gets in place of the client's headers; made once, and read by each request."""

    def __init__(self, given: Iterable[tuple[bytes, bytes]] = (), *, has_key_elsewhere: bool = False) -> None:
        """
        Args:
            given: names in lower case, each once. An `accept-encoding` among them takes the place of `identity`, which
                is asked for because a compressed answer hides its usage.
            has_key_elsewhere: whether the URL carries a key.
        """
        own = {b"accept-encoding": b"identity"} | dict(given)
        self.sent: Headers = list(own.items())
        self.has_credentials = has_key_elsewhere or not _CREDENTIALS.isdisjoint(own)
        """Whether a key of the operator's is among them: then none of the client's is sent along."""
        self.replaced = _NOT_SENT | own.keys() | (_CREDENTIALS | _ACCOUNT if self.has_credentials else frozenset())
        """The client's headers that are not sent."""


def request_headers(headers: Iterable[tuple[bytes, bytes]], own: OwnHeaders) -> Headers:
    """
    The client's headers as an upstream gets them.

    Args:
        headers: as the client sent them, names in lower case.
        own: the upstream's own, first; where they carry credentials the client's are left out, since a key that
            was meant for this proxy must not reach a third party, and with them the account that they are used on.
    """
    dropped = own.replaced
    for name, value in headers:
        if name == b"connection":
            dropped = dropped | _named_by(value)
    sent = own.sent.copy()
    sent += [(name, value) for name, value in headers if name not in dropped and not name.startswith(_OURS)]
    return sent


def key_in_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """
    The client's own key, with the account that it is used on; empty without one.

    Args:
        headers: as the client sent them, names in lower case.
    """
    said = [header for header in headers if header[0] in _KEYS or header[0] in _ACCOUNT]
    if _KEYS.isdisjoint(name for name, _ in said):
        return b""
    return b"\0".join(part for header in said for part in header)


def with_context(headers: Headers, context: Sequence[tuple[bytes, bytes]]) -> Headers:
    """
    The client's headers with another place in the trace (W3C Trace Context, section 3).

    Args:
        headers: names in lower case.
        context: what stands for the client's place; empty where that is to stay.
    """
    if not context:
        return headers
    return [*(header for header in headers if header[0] not in _TRACE_CONTEXT), *context]


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
