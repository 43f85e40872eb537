"""
What we may tell a client, in OpenAI's error envelope.

ProxyError
├── BadRequest            400  change the request
├── NobodyCanServe        400  ask for less, or for what some model can do
├── RatedTooOften         400  rate under a name that has rated it before
├── Blocked               403  nothing: an operator's rule refuses it, with this status or another
├── UnknownModel          404  name a model from /v1/models
├── UnknownDecision       404  give the id of a decision of its own
├── NoPolicy              404  nothing: an operator may train one
├── UnknownPath           404  see the list of paths
├── WrongMethod           405  use the method in `allow`
├── BodyTimeout           408  send the body faster
├── HeadTimeout           408  send the head faster
├── BodyTooLarge          413  send a smaller body
├── UrlTooLong            414  send a shorter URL
├── HeadTooLarge          431  send fewer or shorter headers
├── NotKept               501  nothing: an operator may turn the store on
├── UpstreamUnavailable   502  try again; an operator should look
├── StoreDown             503  try again; an operator should look
├── Overloaded            503  try again after the seconds in `retry-after`
├── ShuttingDown          503  try again, on a new connection
└── UpstreamTimeout       504  try again, or ask for less

One subclass for each thing a client can do next. Anything else that goes wrong is a bare 500 and a logged
traceback: its text is for us.
"""

from __future__ import annotations

import msgspec


class ProxyError(Exception):
    """An answer this proxy gives by itself."""

    status = 500
    type = "server_error"
    code: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        if code is not None:
            self.code = code

    def body(self) -> bytes:
        """The envelope that OpenAI's SDKs turn into their exception for this status."""
        told = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": told})

    def anthropic_body(self) -> bytes:
        """The envelope of Anthropic's API, whose kinds of errors follow the status."""
        kind = _ANTHROPIC_KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": str(self)}})

    def event_body(self, number: int) -> bytes:
        """
        The event in which OpenAI's responses tell of it.

        OpenAI documents its code, message and param as they stand here first. Its servers send, and its SDKs raise,
        what stands in `error`.

        Args:
            number: of the event in its stream.
        """
        told = {"code": self.code, "message": str(self), "param": self.param}
        return msgspec.json.encode(
            {"type": "error", "sequence_number": number, **told, "error": {"type": self.type, **told}}
        )


_ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class BadRequest(ProxyError):
    """The client should change the request."""

    status, type = 400, "invalid_request_error"


class NobodyCanServe(ProxyError):
    """The client should ask for less, or for what some model here can do."""

    status, type, code = 400, "invalid_request_error", "no_capable_model"


class Blocked(ProxyError):
    """An operator's rule refuses the request; the rule says with what status and message."""

    status, type, code = 403, "invalid_request_error", "blocked"

    def __init__(self, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class UnknownModel(ProxyError):
    """The client should name a model from /v1/models."""

    status, type, code = 404, "invalid_request_error", "model_not_found"


class UnknownDecision(ProxyError):
    """The client should give the id of a decision that was made for the same key."""

    status, type, code = 404, "invalid_request_error", "decision_not_found"


class RatedTooOften(ProxyError):
    """The client should rate under a name that it has used before."""

    status, type, code = 400, "invalid_request_error", "too_many_sources"


class NoPolicy(ProxyError):
    """Nothing is learned here; an operator may train a policy."""

    status, type, code = 404, "invalid_request_error", "no_policy"


class UnknownPath(ProxyError):
    """The client should use a path that is served."""

    status, type, code = 404, "invalid_request_error", "unknown_url"


class WrongMethod(ProxyError):
    """The client should use another method on this path."""

    status, type, code = 405, "invalid_request_error", "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.headers = ((b"allow", allow.encode("ascii")),)


class BodyTimeout(ProxyError):
    """The client should send its body faster."""

    status, type, code = 408, "invalid_request_error", "body_timeout"
    # What is still under way must not be read as the next request.
    headers = ((b"connection", b"close"),)


class HeadTimeout(ProxyError):
    """The client should send its head faster."""

    status, type, code = 408, "invalid_request_error", "head_timeout"
    headers = ((b"connection", b"close"),)


class BodyTooLarge(ProxyError):
    """The client should send a smaller body."""

    status, type, code = 413, "invalid_request_error", "body_too_large"
    headers = ((b"connection", b"close"),)


class UrlTooLong(ProxyError):
    """The client should send a shorter URL."""

    status, type, code = 414, "invalid_request_error", "url_too_long"
    headers = ((b"connection", b"close"),)


class HeadTooLarge(ProxyError):
    """The client should send fewer or shorter headers."""

    status, type, code = 431, "invalid_request_error", "head_too_large"
    headers = ((b"connection", b"close"),)


class NotKept(ProxyError):
    """No decision is kept here, so none can be rated."""

    status, type, code = 501, "invalid_request_error", "no_store"


class UpstreamUnavailable(ProxyError):
    """No upstream gave an answer; the client may try again, an operator should look."""

    status, type, code = 502, "upstream_error", "upstream_unavailable"


class UpstreamTimeout(ProxyError):
    """An upstream was too slow; the client may try again or ask for less."""

    status, type, code = 504, "upstream_error", "upstream_timeout"


class StoreDown(ProxyError):
    """The store does not answer; the client may try again, an operator should look."""

    status, type, code = 503, "server_error", "store_unavailable"
    headers = ((b"retry-after", b"5"),)


class Overloaded(ProxyError):
    """There is more to do than may be done at once; the client should try again a moment later."""

    status, type, code = 503, "overloaded_error", "overloaded"
    headers = ((b"retry-after", b"1"),)


class ShuttingDown(ProxyError):
    """This server ends before the answer did; the client should try again, on a new connection."""

    status, type, code = 503, "overloaded_error", "shutting_down"
    headers = ((b"retry-after", b"1"), (b"connection", b"close"))
