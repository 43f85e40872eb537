"""How long an upstream asks to be left alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from proxy.relay.headers import Headers

_LONGEST_S = 300.0


def retry_after_s(headers: Headers, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """
    The seconds in `retry-after-ms` (OpenAI, Azure) or `Retry-After` (RFC 9110, 10.2.3: seconds, or a date).

    Args:
        headers: of the reply, names in lower case.
        now: the present time in UTC.

    Returns:
        From 0 to 300, however long it asks for; None when there is none that can be read.
    """
    found = dict(headers)
    if (value := found.get(b"retry-after-ms")) is not None and (ms := _number(value)) is not None:
        return min(ms / 1000.0, _LONGEST_S)
    if (value := found.get(b"retry-after")) is None:
        return None
    if (seconds := _number(value)) is None:
        try:
            date = parsedate_to_datetime(value.decode("latin-1"))
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now().timestamp()
        except (ValueError, OverflowError):  # of a day or a zone that is past all bounds
            return None
    return min(max(0.0, seconds), _LONGEST_S)


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0.0 <= number < 1e9 else None  # which "nan" is not either
