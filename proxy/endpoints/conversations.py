"""Which model each conversation is on: a bounded map that forgets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from time import monotonic

from proxy.routing.conversation import Held
from proxy.routing.facts import Facts, callers_answer, hash_of_name


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

        What goes on from an answer, or refers to parts of it, is where that is kept, whatever else the conversation is
        called. What is known by its first words alone begins with its first turn: two strangers may both say "hi".
        """
        for before in _keys_before(facts):
            if (held := self._get(before, keep_s)) is not None:
                return held
        return None if facts.starts_conversation else self._get(facts.conversation_hash, keep_s)

    def find_before(self, facts: Facts, keep_s: float) -> Held | None:
        """As `find_answer`, of what a request goes on from, or refers to parts of."""
        found = (self._find_again(before, keep_s) for before in _keys_before(facts))
        return next((held for held in found if held is not None), None)

    def find_answer(self, headers: Mapping[str, str], answer_id: str, keep_s: float) -> Held | None:
        """
        Where an answer, or a conversation that an upstream keeps, is; None when that is not known any more.

        What is asked for is not silent, so it is remembered from now on as if it had just been given.
        """
        return self._find_again(_key_of_answer(headers, answer_id), keep_s)

    def _find_again(self, key: bytes, keep_s: float) -> Held | None:
        held = self._get(key, keep_s)
        if held is not None:
            self._touch(key, held)
        return held

    def keep(self, facts: Facts, held: Held, *, most: int) -> None:
        """
        The conversation of this request is there now. One that has no name but an answer's is where that is kept.

        Args:
            facts: of the request.
            held: where.
            most: how many are remembered, those that were silent longest leaving first.
        """
        key = facts.conversation_hash
        if not facts.goes_on_from or key != _key_of_answer(facts.headers, facts.goes_on_from):
            self._put(key, held, most)

    def renew(self, facts: Facts, keep_s: float) -> None:
        """The conversation of this request goes on where it is, unless it was silent for longer than `keep_s`."""
        self._find_again(facts.conversation_hash, keep_s)

    def keep_answer(self, facts: Facts, held: Held, answer_id: str, *, most: int) -> None:
        """
        The answer to this request is kept there, with its parts, and so is what it goes on from, unless that is known
        to be elsewhere.

        Args:
            facts: of the request.
            held: where, with the target.
            answer_id: as the upstream named it.
            most: as of `keep`.
        """
        if facts.goes_on_from:
            before = _key_of_answer(facts.headers, facts.goes_on_from)
            known = self._held.get(before)
            self._put(before, held if known is None else known[0], most)
        self._put(_key_of_answer(facts.headers, answer_id), held, most)
        self._put(hash_of_name(facts.callers_items), held, most)

    def _get(self, key: bytes, keep_s: float) -> Held | None:
        found = self._held.get(key)
        return found[0] if found is not None and self._clock() - found[1] <= keep_s else None

    def _put(self, key: bytes, held: Held, most: int) -> None:
        self._touch(key, held)
        while len(self._held) > most:  # by more than one where a reload has lowered it
            self._held.popitem(last=False)

    def _touch(self, key: bytes, held: Held) -> None:
        self._held[key] = (held, self._clock())
        self._held.move_to_end(key)


def _keys_before(facts: Facts) -> Iterator[bytes]:
    """Of what it goes on from, then of what it refers to parts of."""
    if facts.goes_on_from:
        yield _key_of_answer(facts.headers, facts.goes_on_from)
    if facts.refers_to_items:
        yield hash_of_name(facts.callers_items)


def _key_of_answer(headers: Mapping[str, str], answer_id: str) -> bytes:
    return hash_of_name(callers_answer(headers, answer_id))
