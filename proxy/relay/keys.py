"""
Several keys of one upstream: used in turn, and each that is refused rests by itself.

What an upstream keeps belongs to the account of the key that it was made with, and with another account's it is not
there. So what goes on from a stored answer is asked with the key of that one; and files, batches and the like, of which
nobody knows here whose they are, with the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from proxy.relay.headers import OwnHeaders
from proxy.relay.health import growing_rest_s

logger = logging.getLogger(__name__)

_UNKNOWN_REST_S = 300.0
"""After a 401: the upstream does not know the key, and only an operator can change that."""
_FORBIDDEN_REST_S = 30.0
_FORBIDDEN_IN_A_ROW = 5
"""So many refusals say that the key may not do this; one may say that this request was not liked."""


@dataclass(slots=True)
class Rest:
    """Until when a key is left alone, and why. Lives across reloads."""

    until: float = 0.0
    reason: str = ""
    times: int = 0
    """Rests in a row for which the upstream gave no time."""
    forbidden: int = 0
    """Refusals in a row that may be about the request."""


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One key as one target sends it."""

    position: int
    """In routes.yaml, counted from 1: what is told of it."""
    hash: bytes
    """What it is known by, also after a reload that moves it."""
    own: OwnHeaders
    """The headers that carry it."""
    everywhere: Rest
    """Its rest at all targets of the upstream, where nobody knows it."""
    here: Rest
    """Its rest at this target: limits are counted for each model."""

    @property
    def longer(self) -> Rest:
        """The rest that ends later."""
        return self.everywhere if self.everywhere.until > self.here.until else self.here


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """A key that rests, for whoever looks."""

    position: int
    reason: str
    rest_s: float


class Keys:
    """The keys of one target. Where there is one only, or none, it never rests: its target does."""

    def __init__(self, keys: Sequence[Key], *, written: int, label: str, clock: Callable[[], float]) -> None:
        """
        Args:
            keys: one or more; the first stands for none where its headers carry none.
            written: how many stand in routes.yaml, those included that are empty.
            label: how the log calls the target.
            clock: seconds from any beginning.
        """
        self._keys = tuple(keys)
        self.are_several = len(keys) > 1
        self._written = written
        self._label = label
        self._clock = clock
        self._turn = 0

    @property
    def has_credentials(self) -> bool:
        """Whether the operator's credentials are sent, and none of the client's."""
        return self._keys[0].own.has_credentials

    def __len__(self) -> int:
        """How many stand in routes.yaml, so that `key 2 of 3` is the second there; 0 where none is sent."""
        return self._written if self.has_credentials else 0

    def pick(self, tried: Collection[Key] = (), key_hash: bytes | None = None) -> Key:
        """
        The next in turn of those that do not rest; where all do, the one whose rest ends first.

        Args:
            tried: those that are left out while there is another.
            key_hash: of the one that goes before all others if it does not rest; None for none.
        """
        if not self.are_several:
            return self._keys[0]
        for key in self._keys:
            if key.hash == key_hash and key not in tried and not self.rests(key):
                return key
        for _ in self._keys:
            key = self._keys[self._turn]
            self._turn = (self._turn + 1) % len(self._keys)
            if key not in tried and not self.rests(key):
                return key
        return self._soonest(tried)

    def first(self, tried: Collection[Key] = ()) -> Key:
        """
        The first in routes.yaml of those that do not rest; where all do, the one whose rest ends first.

        Args:
            tried: those that are left out while there is another.
        """
        able = (key for key in self._keys if key not in tried and not self.rests(key))
        return next(able, None) or self._soonest(tried)

    def has_another(self, tried: Collection[Key]) -> bool:
        """Whether a key is left that neither was tried nor rests."""
        return any(key not in tried and not self.rests(key) for key in self._keys)

    def rests(self, key: Key) -> bool:
        """Whether a key is left alone now."""
        until = key.longer.until
        return until > 0.0 and until > self._clock()

    @property
    def rest_s(self) -> float:
        """Seconds until a key may be used; 0 when one may now."""
        return max(0.0, min(key.longer.until for key in self._keys) - self._clock())

    def refused(self, key: Key, cause: str, retry_after_s: float | None) -> None:
        """
        The upstream does not take a key.

        Args:
            key: which.
            cause: how the attempt ended: `unauthorized`, `forbidden` or `rate_limited`.
            retry_after_s: for how long, if the reply says so.
        """
        if cause == "unauthorized":
            self._rest(key, key.everywhere, _UNKNOWN_REST_S, cause)
        elif cause == "forbidden":
            key.here.forbidden += 1
            if key.here.forbidden >= _FORBIDDEN_IN_A_ROW:
                self._rest(key, key.here, _FORBIDDEN_REST_S, cause)
        elif retry_after_s is not None:
            self._rest(key, key.here, retry_after_s, cause)
        else:
            key.here.times += 1
            self._rest(key, key.here, growing_rest_s(key.here.times - 1), cause)

    def accepted(self, key: Key, *, despite_rest: bool) -> None:
        """
        The upstream took a key.

        Args:
            key: which.
            despite_rest: whether it rested already when the request was sent: then it is well again.
        """
        key.here.times = key.here.forbidden = 0
        if despite_rest:
            key.here.until = key.everywhere.until = 0.0

    def standing(self) -> list[KeyStanding]:
        """Those that rest, in their order."""
        now = self._clock()
        found = [(key.position, key.longer) for key in self._keys]
        return [KeyStanding(position, rest.reason, rest.until - now) for position, rest in found if rest.until > now]

    def _soonest(self, tried: Collection[Key]) -> Key:
        left = [key for key in self._keys if key not in tried] or self._keys
        return min(left, key=lambda key: key.longer.until)

    def _rest(self, key: Key, rest: Rest, seconds: float, reason: str) -> None:
        now = self._clock()
        if seconds <= 0.0:
            return
        if rest.until <= now:
            told = {"target": self._label, "key": f"{key.position} of {self._written}", "reason": reason}
            # Its limit a key gets back by itself; a key that is not accepted an operator must look at.
            level = logging.WARNING if reason == "rate_limited" else logging.ERROR
            logger.log(level, "key rests", extra=told | {"seconds": round(seconds, 1)})
        rest.until = max(rest.until, now + seconds)
        rest.reason = reason
