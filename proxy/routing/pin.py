"""The model that a client insists on: `x-pointsman-model`, whatever the rules and the body say."""

from __future__ import annotations

from collections.abc import Container, Mapping

from proxy.errors import UnknownModel

PIN_HEADER = "x-pointsman-model"


def pinned_model(headers: Mapping[str, str], models: Container[str]) -> str | None:
    """
    One of these models; None when the client insists on none.

    Raises:
        UnknownModel: it insists on another.
    """
    name = headers.get(PIN_HEADER)
    if name is not None and name not in models:
        raise UnknownModel(f"Header {PIN_HEADER}: model {name!r} is not served here; see /v1/models.")
    return name
