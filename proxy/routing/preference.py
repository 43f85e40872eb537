"""What a client prefers where a policy chooses: `x-pointsman-prefer`, in place of what routes.yaml says."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.config import PREFER, Preference
from proxy.errors import BadRequest

PREFER_HEADER = "x-pointsman-prefer"


def prefer_of(value: Preference | float) -> float:
    """0 to 1: the number that a name stands for, or the number itself."""
    return PREFER[value] if isinstance(value, str) else value


def asked_preference(headers: Mapping[str, str]) -> float | None:
    """
    0 to 1; None when the client does not say.

    Raises:
        BadRequest: it says something else.
    """
    said = headers.get(PREFER_HEADER)
    if said is None:
        return None
    for name, value in PREFER.items():
        if said == name:
            return value
    try:
        value = float(said)
    except ValueError:
        value = -1.0
    if 0.0 <= value <= 1.0:
        return value
    raise BadRequest(f"Header {PREFER_HEADER}: {said[:40]!r} is neither {', '.join(PREFER)} nor a number from 0 to 1.")
