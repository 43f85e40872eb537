"""The bad days that a request asks for, by `x-simulate-*` header or in its model name."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

import msgspec

from proxy.simulator.errors import Refusal

_PREFIX: Final = b"x-simulate-"


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """What the package's docstring lists; None where nothing is asked."""

    status: int | None = None
    retry_after: str | None = None
    html: bool = False
    context: int | None = None
    headers_ms: float | None = None
    first_token_ms: float | None = None
    token_ms: float | None = None
    tokens: int | None = None
    text: str | None = None
    cached_tokens: int = 0
    cut: int | None = None  # events; -1 is before the headers
    error_event: int | None = None
    stall: int | None = None
    stall_headers: bool = False
    chunk_bytes: int | None = None
    seed: str | None = None
    compare: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


NONE: Final = Knobs()
_FIELDS: Final = {field.encode_name: field.type for field in msgspec.structs.fields(Knobs)}
_NAMES: Final = {name.replace("_", "-"): name for name in _FIELDS}


def read_knobs(headers: Iterable[tuple[bytes, bytes]], upstream: str, model: str) -> Knobs:
    """
    What this request asks for. A header wins over the model's name.

    Raises:
        Refusal: a header names no setting, or a value does not fit; a typo must not pass as a good day.
    """
    asked = _in_headers(headers)
    if "only" in asked and not {upstream, model} & set(_names(asked["only"])):
        asked = {}
    if "+" in model or model.startswith("error-"):
        asked = _in_model(model) | asked
    if not asked:
        return NONE
    return Knobs(**{name: _value(name, text) for name, text in asked.items()})  # type: ignore[arg-type]


def _in_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    asked = {}
    for key, value in headers:
        if key.startswith(_PREFIX):
            name = key[len(_PREFIX) :].decode("latin-1")
            if name not in _NAMES:
                known = ", ".join(f"x-simulate-{known}" for known in _NAMES)
                raise Refusal(f"Unknown header 'x-simulate-{name}'; the simulator knows {known}.")
            asked[_NAMES[name]] = value.decode("latin-1")
    return asked


def _in_model(model: str) -> dict[str, str]:
    """`gpt-4o+cut-3+tokens-20`; a part that is no setting is just a name."""
    if model.startswith("error-"):
        model = "+status-" + model.removeprefix("error-")
    asked = {}
    for part in model.split("+")[1:]:
        name, _, value = part.rpartition("-")
        if part in _NAMES:  # `stall-headers`, `html`: flags need no value
            asked[_NAMES[part]] = "1"
        elif name in _NAMES:
            asked[_NAMES[name]] = value
    return asked


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _value(name: str, text: str) -> object:
    kind = _FIELDS[name]
    if name == "cut" and text == "headers":
        return -1
    if name == "text":
        return unquote(text)
    if name == "only":
        return _names(text)
    if name == "compare":
        return tuple(map(unquote, _names(text)))
    if kind is bool:
        return text.strip().lower() not in ("", "0", "false", "no")
    if kind == str | None:
        return text
    try:
        value = float(text) if kind == float | None else int(text)
    except ValueError:
        raise Refusal(f"x-simulate-{name.replace('_', '-')}: '{text}' is not a number.") from None
    if not 0 <= value < 1e9:
        raise Refusal(f"x-simulate-{name.replace('_', '-')}: {text} is outside 0 to 1e9.")
    return value
