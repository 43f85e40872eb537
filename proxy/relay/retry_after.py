"""How long an upstream asks to be left alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from proxy.relay.headers import Headers


def retry_after_s(headers: Headers, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """
    The seconds in `retry-after-ms` (OpenAI, Azure) or `Retry-After` (RFC 9110, 10.2.3: seconds, or a date).

    Args:
        headers: of the reply, names in lower case.
        now: the present time in UTC.

    Returns:
        At least 0; None when there is none that can be read.
    """
    found = dict(headers)
    if (value := found.get(b"retry-after-ms")) is not None and (ms := _number(value)) is not None:
        return ms / 1000.0
    if (value := found.get(b"retry-after")) is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now().timestamp())


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0.0 <= number < 1e9 else None  # which "nan" is not either
