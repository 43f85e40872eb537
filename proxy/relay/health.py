"""How a target does: a circuit breaker, its latency and what it is busy with. Lives across reloads."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

logger = logging.getLogger(__name__)

State = Literal["closed", "half_open", "open"]
"""Requests come; one is let through to see; none comes."""

_FAILURES_IN_A_ROW = 5
_BAD_CHECKS = 2
_BUSY = "rate_limited"
_OF_THE_KEYS = (_BUSY, "unauthorized", "forbidden")
OF_THE_WAY = frozenset(("unreachable", "connect", "cut"))
"""Why a target cannot be reached, and so no model of it can; all other causes are about what was asked."""
_ERROR_RATE = 0.5
_LEAST_SEEN = 10.0
"""Of that many recent requests, the share that failed says something."""
_HALF_LIFE_S = 10.0
_FIRST_REST_S = 1.0
_LONGEST_REST_S = 60.0
# One that was well for so long rests shortly again; one that comes and goes rests longer each time.
_FORGIVEN_S = 60.0
# Rests end apart, or every worker would probe at once.
_REST_SPREAD = 0.2
# A target that is new or well again gets a growing share over this time: its caches are cold, or it just fell.
_WARM_UP_S = 10.0
_LEAST_SHARE = 0.1
_FORGETS_LATENCY_S = 10.0
_KEPT = 0.95


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stands now, for whoever looks."""

    state: State
    reason: str
    """Why it rests or rested last; empty when it never did."""
    next_probe_s: float
    """Seconds until a request is let through; 0 when they come anyway."""
    in_flight: int
    latency_s: float | None
    """A moving average of the time to the first content; None when nothing is known."""
    error_rate: float
    """Of recent requests, 0 to 1."""


class Health:
    """
    One target as this process sees it.

    A circuit breaker (Nygard, Release It!, 2007): it opens after some failures in a row or when half of what is recent
    failed, lets one request through after a rest that doubles each time, and closes when that succeeds. One that does
    not stay well rests longer still.
    """

    def __init__(
        self,
        label: str,
        *,
        clock: Callable[[], float],
        random_source: random.Random,
        tell: Callable[[str, State], None],
    ) -> None:
        """
        Args:
            label: how the log and the metrics call the target.
            clock: seconds from any beginning.
            random_source: spreads the ends of rests.
            tell: is told the label and the state when that changes.
        """
        self._tell = tell
        self.in_flight = 0
        """Requests under way."""
        self.is_in_use = True
        """Whether new requests may come; what those that are left see is told to nobody."""
        self._label = label
        self._clock = clock
        self._random = random_source
        self._state: Literal["closed", "open"] = "closed"
        self._told: State = "closed"
        self._reason = ""
        self._until = 0.0
        self._rests = 0
        self._closed_at = -math.inf
        self._in_a_row = 0
        self._last_cause = ""
        self._bad_checks = 0
        self._is_probing = False
        self._warm_since = clock()
        self._latency_s: float | None = None
        self._timed_at = -math.inf  # so of nothing, nothing is kept
        self._seen = self._failed = 0.0
        self._counted_at = clock()

    @property
    def state(self) -> State:
        """Whether requests come; an open one whose rest is over is half open."""
        if self._state == "open" and self._clock() >= self._until:
            return "half_open"
        return self._state

    @property
    def is_available(self) -> bool:
        """Whether a request may come now."""
        return self._state == "closed" or (self.state == "half_open" and not self._is_probing)

    @property
    def rest_s(self) -> float:
        """Seconds until a request is let through."""
        return max(0.0, self._until - self._clock()) if self._state != "closed" else 0.0

    def standing(self) -> Standing:
        """How it stands."""
        self._decay()
        return Standing(self.state, self._reason, self.rest_s, self.in_flight, self._latency_s, self._error_rate())

    def share(self) -> float:
        """What of its weight it should get, 0.1 to 1: less while it warms up, and less the more of it fails."""
        warm = (self._clock() - self._warm_since) / _WARM_UP_S
        self._decay()
        return min(1.0, max(_LEAST_SHARE, warm)) * max(_LEAST_SHARE, 1.0 - self._error_rate())

    def load(self, otherwise_s: float) -> float:
        """
        What one more request would meet here: the latency times the requests under way, that one included.

        Args:
            otherwise_s: the latency to assume where none is known.
        """
        return (self._latency_s or otherwise_s) * (self.in_flight + 1)

    @property
    def latency_s(self) -> float | None:
        """A moving average of the time to the first content."""
        return self._latency_s

    def began(self, *, is_of_a_model: bool = True) -> bool:
        """
        A request goes there; whether it is the one that is let through to see.

        Args:
            is_of_a_model: whether one is asked; what else comes, comes during a rest too, and keeps no model waiting.
        """
        self.in_flight += 1
        may_be_probe = is_of_a_model and not self._is_probing
        is_probe = may_be_probe and self._state == "open" and self.state == "half_open"
        if is_probe:
            self._is_probing = True
            self._say("half_open")
        return is_probe

    def ended(self, *, is_probe: bool) -> None:
        """It is over, however; `is_probe` as `began` said."""
        self.in_flight -= 1
        if is_probe:
            self._is_probing = False
            if self._state == "open":
                self._say(self.state)

    def succeeded(self, latency_s: float | None) -> None:
        """
        It answered.

        Args:
            latency_s: seconds to the first content; None for an answer that says nothing of how long one takes.
        """
        self._count(0.0)
        self._in_a_row = 0
        if latency_s is not None:
            # By the time since the last one, so that a flood of answers does not outweigh the clock.
            now = self._clock()
            keep = min(_KEPT, math.exp((self._timed_at - now) / _FORGETS_LATENCY_S))
            self._latency_s = keep * (self._latency_s or 0.0) + (1.0 - keep) * latency_s
            self._timed_at = now
        # While it still rests, an answer to an earlier request says nothing of the next.
        if self._state == "open" and self.state == "half_open":
            self._close()

    def reached(self) -> None:
        """It answered what says nothing of its models, but that it can be reached."""
        if self._last_cause in OF_THE_WAY:
            self._in_a_row = 0
        if self._reason in OF_THE_WAY and self._state == "open" and self.state == "half_open":
            self._close()

    def failed(self, cause: str, *, is_of_a_model: bool = True) -> None:
        """
        It gave no answer, or broke one off.

        Args:
            cause: how.
            is_of_a_model: whether one was asked; what else is answered is not in the error rate, so neither is this.
        """
        if is_of_a_model:
            self._count(1.0)
        self._in_a_row += 1
        self._last_cause = cause
        is_bad = self._seen >= _LEAST_SEEN and self._error_rate() >= _ERROR_RATE
        state = self.state
        # Those that were under way when it opened tell nothing new.
        if state == "half_open" or (state == "closed" and (self._in_a_row >= _FAILURES_IN_A_ROW or is_bad)):
            if state == "closed" and self._clock() - self._closed_at > _FORGIVEN_S:
                self._rests = 0
            rest_s = growing_rest_s(self._rests)
            self._rests += 1
            self._open(rest_s * (1.0 + _REST_SPREAD * self._random.random()), cause)

    def checked(self, *, is_well: bool) -> None:
        """It was asked how it is, beside the requests."""
        if not is_well:
            self._bad_checks += 1
            if self._bad_checks >= _BAD_CHECKS and self.state != "open":
                self._open(_LONGEST_REST_S, "health_check")
            return
        self._bad_checks = 0
        # Whoever says that it is busy says also for how long, and its health is another matter.
        if self._state == "open" and self._reason not in _OF_THE_KEYS:
            self._close()

    def refuses(self, retry_after_s: float | None) -> None:
        """It is busy (429), and says for how long."""
        self.rests(growing_rest_s(0) if retry_after_s is None else retry_after_s, _BUSY)

    def rests(self, seconds: float, cause: str) -> None:
        """It takes no request for so long."""
        if seconds > 0:
            self._open(seconds, cause)

    def has_a_key(self) -> None:
        """There is one that it may be asked with, so a rest that was due to its keys is over."""
        if self._state == "open" and self._reason in _OF_THE_KEYS:
            self._close()

    def notice(self) -> None:
        """Tell of a rest that is over, since without a request nobody else does."""
        if self._told == "open" and self.state == "half_open":
            self._say("half_open")

    def _close(self) -> None:
        now = self._clock()
        self._state, self._in_a_row, self._closed_at = "closed", 0, now
        self._seen = self._failed = 0.0
        if self._reason not in _OF_THE_KEYS:  # who was only busy has not fallen, and its caches are warm
            self._warm_since = now
        self._say("closed")
        if self.is_in_use:
            logger.info("target is back", extra={"target": self._label})

    def _open(self, rest_s: float, reason: str) -> None:
        if self.state != "open" and self.is_in_use:
            told = {"target": self._label, "reason": reason, "seconds": round(rest_s, 1)}
            logger.warning("target rests", extra=told)
        self._until = max(self._until, self._clock() + rest_s)
        self._reason = reason
        self._state = "open"
        self._say("open")

    def _say(self, state: State) -> None:
        if state != self._told:
            self._told = state
            if self.is_in_use:
                self._tell(self._label, state)

    def _count(self, failed: float) -> None:
        self._decay()
        self._seen += 1.0
        self._failed += failed

    def _decay(self) -> None:
        now = self._clock()
        left = 0.5 ** ((now - self._counted_at) / _HALF_LIFE_S)
        self._seen *= left
        self._failed *= left
        self._counted_at = now

    def _error_rate(self) -> float:
        return self._failed / self._seen if self._seen >= 1.0 else 0.0


def growing_rest_s(before: int) -> float:
    """How long whoever fails again and again is left alone, in seconds, after so many rests before."""
    return min(_LONGEST_REST_S, _FIRST_REST_S * 2.0 ** min(before, 10))
