"""What an operator adds to the query of each URL: it goes to the upstream, and does not come back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlencode

from proxy.relay.headers import Headers

# In a query these carry a key, as they do at Google, Azure and others.
_KEYS = frozenset(("key", "api_key", "api-key", "apikey", "access_token", "subscription-key"))
# In these an upstream may name the URL that it was asked for.
_WITH_URLS = frozenset((b"location", b"content-location", b"link"))
_QUERY = re.compile(r"""\?([^#<>"'\s]*)""")


def carries_key(names: Iterable[str]) -> bool:
    """Whether a key is among the parameters of these names."""
    return any(name.lower() in _KEYS for name in names)


def key_in_query(query: bytes) -> bytes:
    """The client's own key in a query, with its name; empty without one."""
    pairs = query.decode("latin-1").split("&") if query else []
    return "&".join(pair for pair in pairs if _parts(pair)[0].lower() in _KEYS).encode("latin-1")


class OwnQuery:
    """What an upstream gets besides the client's query; made once, and read by each request."""

    def __init__(self, given: Mapping[str, str], *, has_credentials: bool) -> None:
        """
        Args:
            given: the parameters, in their order.
            has_credentials: whether a key of the operator's is sent, here or in a header: then none of the client's.
        """
        self._sent = urlencode(given, quote_via=quote, safe="")
        self._pairs = frozenset((_plain(name), _plain(value)) for name, value in given.items())
        self._replaced = frozenset(map(str.lower, given)) | (_KEYS if has_credentials else frozenset())

    def beside(self, query: str) -> str:
        """The query of a request, of which the client sent this much."""
        if query and self._replaced:
            query = "&".join(pair for pair in query.split("&") if _parts(pair)[0].lower() not in self._replaced)
        return f"{query}&{self._sent}" if query and self._sent else query or self._sent

    def taken_out(self, headers: Headers) -> Headers:
        """An upstream's headers, without what it was told here where they name the URL that it was asked for."""
        if not self._pairs:
            return headers
        return [(name, self._without(value) if name in _WITH_URLS else value) for name, value in headers]

    def _without(self, value: bytes) -> bytes:
        return _QUERY.sub(self._left_of, value.decode("latin-1")).encode("latin-1")

    def _left_of(self, query: re.Match[str]) -> str:
        left = "&".join(pair for pair in query[1].split("&") if _parts(pair) not in self._pairs)
        return f"?{left}" if left else ""


def _parts(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return _plain(name), _plain(value)


def _plain(text: str) -> str:
    """The same for all ways to write it; a plus and a space are one, since either may stand for the other."""
    return unquote(text).replace("+", " ")
