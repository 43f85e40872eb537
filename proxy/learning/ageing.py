"""The time by which what is kept grows old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_AT_ONCE_S = 300.0
_BELIEVED_AFTER_S = 86_400.0


def passed_s() -> float:
    """Seconds since some moment, however clocks are set; with those asleep, where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Ageing:
    """
    A clock that is not believed at once where it is set ahead: by a wrong one all that is kept would be too old.

    A day later it is. Most are right again by then, and one that was behind until it was set must count some time.
    """

    def __init__(self, clock: Callable[[], float], passed: Callable[[], float] = passed_s) -> None:
        """
        Args:
            clock: seconds since 1970; believed as it is now.
            passed: as `passed_s`.
        """
        self._clock = clock
        self._passed = passed
        self._began = clock() - passed()  # what the clock said when `passed` was 0
        self._believed_at: float | None = None  # in what has passed; None while the clock is not ahead

    def now(self) -> float:
        """Seconds since 1970, as far as they are believed."""
        passed = self._passed()
        ahead_s = self._clock() - (self._began + passed)
        if ahead_s <= _AT_ONCE_S or (self._believed_at is not None and passed >= self._believed_at):
            self._began += ahead_s
            self._believed_at = None
        elif self._believed_at is None:
            self._believed_at = passed + _BELIEVED_AFTER_S
            logger.warning("clock set ahead; not believed for a day", extra={"ahead_s": round(ahead_s)})
        return self._began + passed
