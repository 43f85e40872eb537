"""Which model each conversation is on: a bounded map that forgets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from time import monotonic

from proxy.routing.conversation import Held
from proxy.routing.facts import Facts


class Conversations:
    """
    Lives as long as the process, across reloads, and in it alone: another worker decides for itself.

    Only hashes of what names a conversation are kept, never its words.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        """
        Args:
            clock: seconds from any beginning.
        """
        self._clock = clock
        self._held: OrderedDict[bytes, tuple[Held, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def find(self, facts: Facts, keep_s: float) -> Held | None:
        """
        Where the conversation of this request is; None when it begins, or was silent for longer than `keep_s`.

        What is known by its first words alone begins with its first turn: two strangers may both say "hi".
        """
        if facts.starts_conversation:
            return None
        found = self._held.get(key_of(facts))
        return found[0] if found is not None and self._clock() - found[1] <= keep_s else None

    def keep(self, facts: Facts, held: Held, *, most: int, named: str | None = None) -> None:
        """
        The conversation of this request is there now.

        Args:
            facts: of the request.
            held: where.
            most: how many are remembered, those that were silent longest leaving first.
            named: how the next turn will name the conversation; as this one did when None.
        """
        key = key_of(facts, named)
        self._held[key] = (held, self._clock())
        self._held.move_to_end(key)
        while len(self._held) > most:  # by more than one where a reload has lowered it
            self._held.popitem(last=False)


def key_of(facts: Facts, conversation: str | None = None) -> bytes:
    """One caller's conversation, hashed; another caller who names it alike has one of their own."""
    named = facts.caller_conversation if conversation is None else facts.named_by_caller(conversation)
    return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()
