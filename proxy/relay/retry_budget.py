"""How many attempts more the troubles of targets may lead to. Lives across reloads."""

from __future__ import annotations

from collections.abc import Callable

_HALF_LIFE_S = 10.0


class RetryBudget:
    """
    Lets a share of recent requests be tried again, so that an outage is not multiplied by those who work around it.

    As in Finagle (Twitter, 2011): each request earns a part of a retry, and some are free so that a quiet server may
    retry at all.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: seconds from any beginning.
        """
        self.share = 0.0
        """Retries for each request."""
        self.free = 0.0
        """Retries that are allowed in any ten seconds besides."""
        self._clock = clock
        self._requests = self._retries = 0.0
        self._counted_at = clock()

    def request(self) -> None:
        """One more request came."""
        self._decay()
        self._requests += 1.0

    def take(self) -> bool:
        """Whether one may be tried again; counts it if so."""
        self._decay()
        if self._retries + 1.0 > self.share * self._requests + self.free:
            return False
        self._retries += 1.0
        return True

    def _decay(self) -> None:
        now = self._clock()
        left = 0.5 ** ((now - self._counted_at) / _HALF_LIFE_S)
        self._requests *= left
        self._retries *= left
        self._counted_at = now
