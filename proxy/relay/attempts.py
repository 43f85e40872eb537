"""One request, a few attempts: which target next, and when to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from time import perf_counter
from typing import Literal, NamedTuple, get_args

from proxy.errors import Overloaded, ProxyError, UpstreamUnavailable
from proxy.relay.balancing import pick, soonest, why_not
from proxy.relay.guard import Guard
from proxy.relay.guests import Guest
from proxy.relay.headers import with_context
from proxy.relay.health import OF_THE_WAY
from proxy.relay.keys import Key
from proxy.relay.reply import Body, Call, Failed, Outcome, Reply, open_reply
from proxy.relay.retry_after import retry_after_s
from proxy.relay.upload import Upload
from proxy.relay.upstreams import Target, Upstreams
from proxy.telemetry.trace import UNTRACED, Trace

# Full jitter (Brooker, Exponential backoff and jitter, AWS 2015), for the same target again only.
_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 2.0

Cause = Literal[Outcome, "context", "resting", "full"]
"""
Why a request went on to another model: how the last attempt ended, its prompt was too long, or no target of the model
could be asked because all rest or have all they may have.
"""
CAUSES: tuple[Cause, ...] = get_args(Cause)

# After these the same target may well answer a moment later; after a deadline it would only take as long again.
_REPEATABLE: frozenset[Outcome] = frozenset(("unreachable", "failed", "cut", "garbled"))
# These are answers, be it to a mistake of the client's.
_ANSWERED: frozenset[Outcome] = frozenset(("ok", "rejected"))
# After these the upstream has no more to do with the request.
_LOST: frozenset[Outcome] = frozenset(("unreachable", "cut"))
# After these another key of the same target may be welcome at once.
_OF_THE_KEY: frozenset[Outcome] = frozenset(("rate_limited", "unauthorized", "forbidden"))


class Offer(NamedTuple):
    """A model that may answer a request."""

    model: str
    targets: tuple[Target, ...]
    """Those that may be asked, of the model's."""
    context: int | None
    """Tokens that fit; None for any number."""
    body: Callable[[Target], Body]
    """What to send to one of the targets."""
    key_hash: bytes | None = None
    """Of the key that it is asked with while that does not rest; None for the next in turn."""
    conversation: bytes | None = None
    """Names the one that it goes on with, whose turns go to one target; None where nobody has answered yet."""


@dataclass(slots=True)
class Trail:
    """What was tried for one request."""

    trace: Trace = UNTRACED
    """Is told of each attempt."""
    model: str = ""
    """The one that was tried last."""
    target: Target | None = None
    """Likewise; None before the first attempt."""
    key_hash: bytes | None = None
    """Of the key that it was asked with; likewise."""
    outcome: Outcome | None = None
    """How the last attempt ended, once it has, and no other follows."""
    ended: list[tuple[str, Outcome]] = field(default_factory=list)
    """The attempts before: targets by label, and how it ended."""
    fallbacks: list[tuple[str, str, Cause]] = field(default_factory=list)
    """From which model to which, and why."""

    is_between: bool = False
    """Whether all attempts have ended and the next has not begun."""
    is_of_a_model: bool = True
    """Whether a model is asked; if not, only whether they can be reached is seen of targets."""
    _began: float = field(default=0.0, init=False)

    @property
    def count(self) -> int:
        """Attempts that were made or are under way."""
        return len(self.ended) + (self.target is not None and not self.is_between)

    @property
    def seconds(self) -> float:
        """Since the last attempt began."""
        return perf_counter() - self._began

    def begin(self, model: str, target: Target) -> None:
        """An attempt begins."""
        self.model, self.target, self.is_between = model, target, False
        self._began = perf_counter()
        self.trace.attempt(target.attributes, len(self.ended))

    def failed(self, outcome: Outcome) -> None:
        """The last attempt ended so, without an answer or in the middle of one: what its target is held to."""
        assert self.target is not None
        if self.is_of_a_model or outcome in OF_THE_WAY:
            self.target.health.failed(outcome, is_of_a_model=self.is_of_a_model)

    def leave(self, outcome: Outcome) -> None:
        """The last attempt ended so, and another follows."""
        assert self.target is not None
        self.ended.append((self.target.label, outcome))
        self.trace.attempt_ended(outcome)
        self.is_between = True

    def stay(self) -> None:
        """No other follows the attempt that was left, after all."""
        self.ended.pop()
        self.is_between = False


class Attempts:
    """Tries targets until one has an answer for the client."""

    def __init__(self, upstreams: Upstreams, guard: Guard, call: Call, trail: Trail) -> None:
        """
        Args:
            upstreams: where requests can go.
            guard: entered; ends all attempts when the client leaves or the total deadline passes.
            call: what the client asks.
            trail: is told what is tried.
        """
        self._upstreams = upstreams
        self._guard = guard
        self._call = call
        self._trail = trail
        trail.is_of_a_model = call.is_of_a_model
        self._most = upstreams.attempts if call.is_repeatable else 1
        self._tried: set[str] = set()
        self._tried_keys: set[Key] = set()
        self._backoff_s = _FIRST_BACKOFF_S

    async def open(self, offers: Iterator[Offer]) -> Reply:
        """
        The first reply that is for the client: an answer, its own mistake told, or the last of several troubles.

        It must be closed.

        Args:
            offers: the model that was decided on, then its fallbacks; asked for one by one.

        Raises:
            ProxyError: there was none.
        """
        self._upstreams.budget.request()
        offer, target = self._first(offers)
        self._guard.begin(target.timeouts.total)
        while True:
            self._trail.begin(offer.model, target)
            found = await self._try(offer, target)
            if isinstance(found, Reply):
                self._trail.outcome = found.outcome
                return found
            again = self._next(found, offer, target, offers) if self._trail.count < self._most else None
            if again is None or not (_is_stranded(found, target, again[1]) or self._upstreams.budget.take()):
                self._trail.outcome = found.outcome
                if found.error is not None:
                    await found.forget()
                return found.end()
            self._trail.leave(found.outcome)
            self._guard.pause()
            await found.forget()
            if again == (offer, target) and found.cause in _REPEATABLE:  # else it is for another key, at once
                await asyncio.sleep(self._upstreams.random.uniform(0.0, self._backoff_s))
                self._backoff_s = min(_LONGEST_BACKOFF_S, 2.0 * self._backoff_s)
                if target.is_full:  # others came meanwhile
                    if (other := self._pick(offer)) is None:
                        self._trail.stay()
                        self._trail.outcome = found.outcome
                        return found.end()
                    again = offer, other
            elif again[0] is not offer:
                self._trail.fallbacks.append((offer.model, again[0].model, found.cause))
            offer, target = again

    def _first(self, offers: Iterator[Offer]) -> tuple[Offer, Target]:
        """
        Where to begin: the first target that can be asked, or the one that can soonest when none can.

        Raises:
            Overloaded: all have as many requests as they may have.
        """
        passed: list[Offer] = []
        for offer in offers:
            if (target := self._pick(offer)) is not None:
                break
            passed.append(offer)
        else:
            offer, target = self._last_standing(passed)
            passed = passed[: passed.index(offer)]
        for before, after in pairwise([*passed, offer]):
            self._trail.fallbacks.append((before.model, after.model, why_not(before.targets)))
        return offer, target

    def _last_standing(self, offers: list[Offer]) -> tuple[Offer, Target]:
        choices = [(offer, target) for offer in offers if (target := soonest(offer.targets, self._rest_s)) is not None]
        if not choices:
            raise Overloaded("Every upstream for this request has as many requests as it may have. Try again soon.")
        return min(choices, key=lambda choice: self._rest_s(choice[1]))

    def _pick(self, offer: Offer) -> Target | None:
        """A target that may be asked, and was not yet."""
        left_out = self._tried
        if self._upstreams.guests.are_limited:
            left_out = left_out.union(target.label for target in offer.targets if self._rest_of_guest_s(target))
        return pick(offer.targets, left_out, self._upstreams.random, offer.conversation)

    def _rest_s(self, target: Target) -> float:
        """Seconds until the target may be asked this request."""
        return max(target.health.rest_s, self._rest_of_guest_s(target))

    def _rest_of_guest_s(self, target: Target) -> float:
        guests = self._upstreams.guests
        is_asked = guests.are_limited and not target.has_own_key
        return guests.rest_s(target.label, self._guest) if is_asked else 0.0

    @cached_property
    def _guest(self) -> Guest | None:
        return self._upstreams.guests.guest(self._call.headers, self._call.query)

    def _next(
        self, trouble: _Trouble, offer: Offer, target: Target, offers: Iterator[Offer]
    ) -> tuple[Offer, Target] | None:
        """Where to go after this; None when there is nowhere."""
        self._tried.add(target.label)
        # The last attempt is another model's, if one can be asked: what troubles this one may trouble all its targets.
        is_last = self._trail.count == self._most - 1
        if is_last and (fallback := self._fall_back(trouble, offer, offers)) is not None:
            return fallback
        if trouble.outcome in _OF_THE_KEY and target.keys.has_another(self._tried_keys):
            return offer, target
        if trouble.cause != "context" and (other := self._pick(offer)) is not None:
            return offer, other
        if not is_last and (fallback := self._fall_back(trouble, offer, offers)) is not None:
            return fallback
        return (offer, target) if trouble.cause in _REPEATABLE else None

    def _fall_back(self, trouble: _Trouble, offer: Offer, offers: Iterator[Offer]) -> tuple[Offer, Target] | None:
        """The next model that can be asked, and where; None without one."""
        for next_offer in offers:
            if trouble.cause == "context" and not _is_larger(next_offer, offer):
                continue
            if (other := self._pick(next_offer)) is not None:
                return next_offer, other
        return None

    async def _try(self, offer: Offer, target: Target) -> Reply | _Trouble:
        body = offer.body(target)
        call, trace = self._call, self._trail.trace
        if context := trace.context():
            call = call._replace(headers=with_context(call.headers, context))
        key = self._key(offer, target)
        self._trail.key_hash = key.hash
        rested = self._rests(target, key)
        is_probe = target.begin(is_of_a_model=call.is_of_a_model)
        reply: Reply | None = None
        try:
            reply = await open_reply(target, call, key.own, body, self._guard)
        except Failed as failed:
            # An upstream that refuses an upload may close amid it, and what it said can be lost with the connection.
            if failed.outcome not in _LOST or not (isinstance(body, Upload) and body.is_half_sent):
                self._trail.failed(failed.outcome)
            return _Trouble(failed.outcome, None, failed.error)
        finally:
            if reply is None:
                target.end(is_probe=is_probe)
        reply.when_closed(lambda: target.end(is_probe=is_probe))
        trace.replied(reply.status)
        try:
            return self._weighed(reply, key, rested=rested)
        except BaseException:  # whatever it is, the upstream has one request less under way
            await reply.close()
            raise

    def _weighed(self, reply: Reply, key: Key, *, rested: bool) -> Reply | _Trouble:
        """
        The reply, if it is for the client, and what its target and key are held to.

        Args:
            reply: whose first content is here.
            key: that it was asked with.
            rested: as `_rests` said before.
        """
        target, outcome = reply.target, reply.outcome
        if outcome in _OF_THE_KEY:
            self._tried_keys.add(key)
        if self._call.is_of_a_model:  # an upstream may refuse a key files or images, and welcome it at its models
            if outcome in _ANSWERED:
                target.health.succeeded(reply.seconds if outcome == "ok" and self._call.is_routed else None)
            self._judge(reply, key, rested=rested)
        elif outcome in _ANSWERED:
            target.health.reached()
        if outcome == "ok" or (outcome == "rejected" and not _is_too_long(reply)):
            return reply
        error = None
        if outcome == "unauthorized":  # what is forbidden may be about the request, so its client sees it
            told = f"The upstream {target.upstream!r} refuses the key that it is given here. An operator must look."
            error = UpstreamUnavailable(told, code="upstream_unauthorized")
        return _Trouble(outcome, reply, error)

    def _key(self, offer: Offer, target: Target) -> Key:
        if self._call.is_of_an_account:
            return target.keys.first(self._tried_keys)
        return target.keys.pick(self._tried_keys, offer.key_hash)

    def _rests(self, target: Target, key: Key) -> bool:
        """Whether nobody should be asked so: the key, one of several or the client's own, was refused a moment ago."""
        if target.has_own_key:
            return target.keys.are_several and target.keys.rests(key)
        return self._rest_of_guest_s(target) > 0.0

    def _judge(self, reply: Reply, key: Key, *, rested: bool) -> None:
        """Hold what a model's upstream replied to its target, or to the key: one of several, or the client's own."""
        target, outcome = reply.target, reply.outcome
        health, keys = target.health, target.keys
        if outcome in _ANSWERED:
            keys.accepted(key, despite_rest=rested)
            if rested and target.has_own_key:
                self._upstreams.key_is_well(target.upstream)
            elif rested and self._guest is not None:
                self._upstreams.guests.accepted(target.label, self._guest)
        elif reply.status == 413:
            pass  # for what our key may ask, this one request was too large, whoever asks next
        elif outcome in _OF_THE_KEY and keys.are_several:
            keys.refused(key, outcome, retry_after_s(reply.headers))
            health.rests(keys.rest_s, outcome)  # 0 as long as one does not rest
        elif outcome == "rate_limited" and not target.has_own_key and self._guest is not None:
            self._upstreams.guests.limited(target.label, self._guest, retry_after_s(reply.headers))
        elif outcome == "rate_limited":
            health.refuses(retry_after_s(reply.headers))
        else:
            health.failed(outcome)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """An attempt that another may better."""

    outcome: Outcome
    reply: Reply | None
    """What the upstream said, for the client where nobody betters it."""
    error: ProxyError | None
    """What to say in its place."""

    @property
    def cause(self) -> Cause:
        """Why another one is asked; a rejection is no trouble but where the prompt is too long."""
        return "context" if self.outcome == "rejected" else self.outcome

    def end(self) -> Reply:
        """The reply, where nobody bettered it; raises the error where that goes before it."""
        if self.error is not None:
            raise self.error
        assert self.reply is not None, "a trouble has a reply or an error"
        return self.reply

    async def forget(self) -> None:
        """Free the connection."""
        if self.reply is not None:
            await self.reply.close()


def _is_stranded(trouble: _Trouble, at: Target, other: Target) -> bool:
    """
    Whether a target went down with this request, and another can take it over.

    That needs no budget. Nothing is multiplied: the dead target gets no more until its rest is over, and the others get
    what would have gone to them had it died a moment earlier. Within a budget many would be lost: when one of three
    targets dies, a third of all requests must move at once, and of a slow model more are under way than came recently.
    """
    return trouble.outcome in _LOST and other is not at and not at.health.is_available


def _is_larger(offer: Offer, than: Offer) -> bool:
    return offer.context is None or (than.context is not None and offer.context > than.context)


def _is_too_long(reply: Reply) -> bool:
    """Whether the upstream says that the prompt does not fit."""
    told = reply.told if reply.status == 400 else reply.mistake
    return told is not None and told.is_too_long
