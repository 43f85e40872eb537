"""Whether somebody asks the same again: a sign that the answer before did not do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

WITHIN_S = 300.0
MOST = 10_000
"""Some 250 bytes each."""
_SHORT = 20


class Retries:
    """
    What was asked in the last minutes, as hashes. In one process alone: who is answered by another replica when
    asking again is not seen.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic, most: int = MOST) -> None:
        """
        Args:
            clock: seconds from any beginning.
            most: texts that are remembered, the oldest leaving first.
        """
        self._clock = clock
        self._most = most
        self._asked: OrderedDict[tuple[bytes, int], tuple[str, int, float]] = OrderedDict()

    def asked(
        self, decision: str, conversation: bytes, text: str, turns: int, media: tuple[str, ...] = ()
    ) -> str | None:
        """
        Remember a question; the decision for the same one before, if it was a moment ago.

        A short text in a later turn is no retry: `yes` is said twice in most conversations.

        Args:
            decision: the id.
            conversation: a hash that names the caller and the conversation.
            text: that was decided on.
            turns: the user's messages so far.
            media: what came with the text, hashed: of another picture the same words ask something else.
        """
        key = conversation, hash((text, media))
        before, now = self._asked.get(key), self._clock()
        self._asked[key] = (decision, turns, now)
        self._asked.move_to_end(key)
        if len(self._asked) > self._most:
            self._asked.popitem(last=False)
        if before is None or now - before[2] > WITHIN_S:
            return None
        return before[0] if turns == before[1] or len(text) >= _SHORT else None
