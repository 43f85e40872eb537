"""When the budget of further attempts is asked: many requests wait at one target, and that one ends badly."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from proxy.config import Timeouts
from proxy.errors import UpstreamUnavailable
from proxy.relay.attempts import Attempts, Offer, Trail
from proxy.relay.body import ClientLeft
from proxy.relay.guard import Guard
from proxy.relay.headers import OwnHeaders
from proxy.relay.keys import Key, Keys, Rest
from proxy.relay.reply import Call
from proxy.relay.upstreams import Fleet, Target, Upstreams

WAITING = 60
FREE = 4
"""The budget: as many as fail before the fifth failure in a row lets a target rest."""


NO_KEY = Keys([Key(1, b"", OwnHeaders(), Rest(), Rest())], written=1, label="", clock=lambda: 0.0)


def offers(upstreams: Upstreams) -> Iterator[Offer]:
    """The model `m` alone."""
    yield Offer("m", upstreams.targets("m"), None, lambda _target: b"{}")


class Town:
    """Targets of a model by name: `first`, which all requests go to while it does not rest, and others."""

    def __init__(self, *others: str, ends: Callable[[], httpx.Response]) -> None:
        self.asked: Counter[str] = Counter()
        self._ends = ends
        self._all_are_there = asyncio.Event()
        self.fleet = Fleet(random_source=random.Random(1))
        self.fleet.budget.free = FREE
        self.upstreams = Upstreams(
            {"m": [self._target("first", 1e9), *(self._target(name, 1) for name in others)]}, self.fleet
        )

    def _target(self, name: str, weight: float) -> Target:
        async def answer(_request: httpx.Request) -> httpx.Response:
            self.asked[name] += 1
            if name != "first":
                return httpx.Response(200, content=b"{}")
            if self.asked[name] == WAITING:
                self._all_are_there.set()
            await self._all_are_there.wait()
            return self._ends()

        return Target(
            upstream=name, name="m", weight=weight, url=f"http://{name}/v1", keys=NO_KEY, timeouts=Timeouts(),
            transport=httpx.MockTransport(answer), health=self.fleet.health(f"{name}/m", b""),
            load=self.fleet.load(name, b""),
        )  # fmt: skip

    async def ask(self) -> int:
        """The status that a client gets, 502 where no upstream answered."""
        never = asyncio.get_running_loop().create_future()

        async def receive() -> dict[str, object]:
            await never
            return {}

        try:
            async with Guard(receive) as guard:
                attempts = Attempts(self.upstreams, guard, Call("POST", "/chat/completions", b"", []), Trail())
                reply = await attempts.open(offers(self.upstreams))
                await reply.close()
                return reply.status
        except UpstreamUnavailable as error:
            return error.status


class Alone:
    """One target, and requests that end by a cause of their own while the next attempt is waited for."""

    def __init__(self, cause: Exception) -> None:
        self.trail = Trail()
        self._cause = cause
        self._guard: Guard | None = None
        self._clock = asyncio.get_running_loop().time
        fleet = Fleet(random_source=random.Random(1))  # the first pause it draws is 13 ms long
        fleet.budget.free = FREE
        self.target = Target(
            upstream="first", name="m", weight=1, url="http://first/v1", keys=NO_KEY, timeouts=Timeouts(),
            transport=httpx.MockTransport(self._answer), health=fleet.health("first/m", b""),
            load=fleet.load("first", b""),
        )  # fmt: skip
        self.upstreams = Upstreams({"m": [self.target]}, fleet)

    def _answer(self, _request: httpx.Request) -> httpx.Response:
        assert self._guard is not None
        asyncio.get_running_loop().call_later(0.005, self._guard.end, self._cause)
        return httpx.Response(503, content=b"{}")

    async def ask(self) -> None:
        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()
            return {}

        async with Guard(receive) as self._guard:
            attempts = Attempts(self.upstreams, self._guard, Call("POST", "/chat/completions", b"", []), self.trail)
            await attempts.open(offers(self.upstreams))


def test_what_ends_between_two_attempts_counts_the_one_that_was_made() -> None:
    async def run() -> None:
        alone = Alone(ClientLeft())
        with pytest.raises(ClientLeft):
            await alone.ask()
        assert alone.trail.is_between
        assert alone.trail.ended == [("first/m", "failed")]
        assert (alone.trail.count, alone.trail.outcome) == (1, None)
        assert alone.target.health.standing().in_flight == 0

    asyncio.run(run())


class Leisurely(random.Random):
    """Draws long pauses, in which what a test has come meanwhile does so on a busy machine, too."""

    def uniform(self, _a: float, _b: float) -> float:
        return 0.3


class Narrow:
    """Targets that take one request at a time: the first one's fails, and another comes while that pauses."""

    def __init__(self, *, frees_spare: bool) -> None:
        self._frees_spare = frees_spare
        self.trail = Trail()
        self.asked: Counter[str] = Counter()
        self.most_in_flight = 0
        self.is_first_over = asyncio.Event()
        self.second: asyncio.Task[int] | None = None
        self._fleet = Fleet(random_source=Leisurely())
        self._fleet.budget.free = FREE
        for name in ("narrow", "spare"):
            self._fleet.load(name, b"").most = 1
        self.upstreams = Upstreams({"m": [self._target("narrow"), self._target("spare")]}, self._fleet)
        self._fleet.load("spare", b"").in_flight = 1

    def _target(self, name: str) -> Target:
        async def answer(_request: httpx.Request) -> httpx.Response:
            self.asked[name] += 1
            self.most_in_flight = max(self.most_in_flight, self._fleet.load("narrow", b"").in_flight)
            if self.asked.total() == 1:
                asyncio.get_running_loop().call_later(0.005, self._go_on)
                return httpx.Response(503, content=b"{}")
            if name == "narrow":
                if self._frees_spare:
                    self._fleet.load("spare", b"").in_flight = 0
                await self.is_first_over.wait()
            return httpx.Response(200, content=b"{}")

        return Target(
            upstream=name, name="m", weight=1, url=f"http://{name}/v1", keys=NO_KEY, timeouts=Timeouts(),
            transport=httpx.MockTransport(answer), health=self._fleet.health(f"{name}/m", b""),
            load=self._fleet.load(name, b""),
        )  # fmt: skip

    def _go_on(self) -> None:
        self.second = asyncio.create_task(self.ask(Trail()))

    async def ask(self, trail: Trail) -> int:
        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()
            return {}

        async with Guard(receive) as guard:
            attempts = Attempts(self.upstreams, guard, Call("POST", "/chat/completions", b"", []), trail)
            reply = await attempts.open(offers(self.upstreams))
            await reply.close()
            return reply.status


@pytest.mark.parametrize(
    ("frees_spare", "status", "ended"),
    [
        pytest.param(False, 503, [], id="ends-with-the-last-answer"),
        pytest.param(True, 200, [("narrow/m", "failed")], id="goes-to-another"),
    ],
)
def test_a_target_that_filled_up_in_the_pause_is_not_asked_again(
    frees_spare: bool, status: int, ended: list[tuple[str, str]]
) -> None:
    async def run() -> None:
        narrow = Narrow(frees_spare=frees_spare)
        async with asyncio.timeout(5):
            assert await narrow.ask(narrow.trail) == status
            narrow.is_first_over.set()
            assert narrow.second is not None
            assert await narrow.second == 200
        assert (narrow.most_in_flight, narrow.asked["narrow"]) == (1, 2)
        assert (narrow.trail.ended, narrow.trail.count, narrow.trail.is_between) == (ended, 1 + len(ended), False)

    asyncio.run(run())


def statuses(*others: str, ends: Callable[[], httpx.Response]) -> tuple[Counter[int], Counter[str]]:
    """How many clients get which status, and how often each target was asked."""

    async def run() -> tuple[Counter[int], Counter[str]]:
        town = Town(*others, ends=ends)
        async with asyncio.timeout(5):
            return Counter(await asyncio.gather(*(town.ask() for _ in range(WAITING)))), town.asked

    return asyncio.run(run())


def dies() -> httpx.Response:
    raise httpx.RemoteProtocolError("server disconnected")


def test_all_that_waited_at_a_target_that_died_are_taken_over() -> None:
    """A third of what is under way would be more than any share of what came recently."""
    seen, asked = statuses("second", ends=dies)
    assert seen == {200: WAITING}
    assert asked == {"first": WAITING, "second": WAITING}


def test_what_a_living_target_refuses_is_tried_again_within_the_budget() -> None:
    seen, asked = statuses("second", ends=lambda: httpx.Response(503, content=b"{}"))
    assert seen == {200: FREE, 503: WAITING - FREE}
    assert asked["second"] == FREE


def test_a_dead_target_alone_is_asked_again_within_the_budget() -> None:
    seen, asked = statuses(ends=dies)
    assert seen == {502: WAITING}
    assert asked == {"first": WAITING + FREE}
