"""The top level of a request's body: what every kind of request has, and what is wrong with one that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from proxy.errors import BadRequest
from proxy.routing.decoding import halves

UNSET = msgspec.Raw(b"")
_KINDS = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "a boolean", b"f": "a boolean", b"n": "null"}

_decode_any = msgspec.json.Decoder().decode
_decode_str = msgspec.json.Decoder(str).decode


class Head(msgspec.Struct):
    """The top level, as far as it is read. What has no field here is skipped, not stored."""

    model: msgspec.Raw = UNSET
    stream: msgspec.Raw = UNSET
    tools: msgspec.Raw = UNSET
    metadata: msgspec.Raw = UNSET
    user: msgspec.Raw = UNSET
    prompt_cache_key: msgspec.Raw = UNSET


AnyHead = TypeVar("AnyHead", bound=Head)
_Value = TypeVar("_Value")


def read_head(decode: Callable[[bytes], AnyHead], body: bytes) -> AnyHead:
    """
    The members that are read.

    Args:
        decode: of a decoder for the kind of request.
        body: as the client sent it.

    Raises:
        BadRequest: the body is not a JSON object in UTF-8.
    """
    # Reading the top level checks the structure of all that it skips, but not its UTF-8.
    try:
        if not body.isascii():
            body.decode("utf-8")
        return decode(body)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The request body is not UTF-8: byte {error.start} cannot be decoded.") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.") from None
    except msgspec.ValidationError:
        kind = json_kind(body.lstrip()[:1])
        raise BadRequest(f"The request body must be a JSON object, not {kind}.") from None
    except msgspec.DecodeError as error:
        if found := halves(body):
            raise BadRequest(
                f"The request body cannot be read as JSON: at byte {found[0]} stands half of a surrogate pair, as "
                "where an emoji was cut in two."
            ) from None
        # msgspec's own words name a position, never the content.
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None


def read_model(raw: msgspec.Raw) -> str:
    """
    The model that was asked for.

    Raises:
        BadRequest: there is none, or it is no string.
    """
    if not bytes(raw):
        raise BadRequest(
            "Missing required parameter: 'model'. Send 'auto' to have one chosen, or a name from /v1/models.",
            param="model",
            code="missing_required_parameter",
        )
    try:
        return _decode_str(raw)
    except msgspec.ValidationError:
        raise BadRequest(
            f"Invalid type for 'model': expected a string, got {json_kind(bytes(raw)[:1])}.",
            param="model",
            code="invalid_type",
        ) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: 'model': {error}.", param="model") from None


def require(raw: msgspec.Raw, name: str, kinds: bytes, expected: str) -> None:
    """
    See that a member is there, and of a kind that can be read.

    Args:
        raw: its JSON.
        name: how it is called.
        kinds: the first bytes of JSON of these kinds.
        expected: the kinds in words.

    Raises:
        BadRequest: it is not.
    """
    start = bytes(memoryview(raw)[:1])
    if not start:
        raise BadRequest(f"Missing required parameter: {name!r}.", param=name, code="missing_required_parameter")
    if start not in kinds:
        raise BadRequest(
            f"Invalid type for {name!r}: expected {expected}, got {json_kind(start)}.", param=name, code="invalid_type"
        )


def value_of(raw: msgspec.Raw) -> Any:
    """A member's value, of whatever kind; None when it is absent or cannot be read, for then the upstream judges."""
    return read_as(_decode_any, raw)


def read_as(decode: Callable[[msgspec.Raw], _Value], raw: msgspec.Raw) -> _Value | None:
    """A member's value as a decoder reads it; None as of `value_of`, and where it is of another kind."""
    if raw is UNSET:  # as most members are: looking into it takes five times as long
        return None
    try:
        return decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def json_kind(start: bytes) -> str:
    """What a JSON value is, in a person's words, from its first byte."""
    return _KINDS.get(start, "a number")


def header_map(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """
    Headers by lower-case name; of several of one name the values joined by commas, as RFC 9110 reads them.

    A value is UTF-8, as routes.yaml is and most clients send it, else Latin-1. So its bytes cannot be told from it.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
