"""When the budget of further attempts is asked: many requests wait at one target, and that one ends badly."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import httpx

from proxy.config import Timeouts
from proxy.errors import UpstreamUnavailable
from proxy.relay.attempts import Attempts, Offer, Trail
from proxy.relay.guard import Guard
from proxy.relay.headers import OwnHeaders
from proxy.relay.keys import Key, Keys, Rest
from proxy.relay.reply import Call
from proxy.relay.upstreams import Fleet, Target, Upstreams

WAITING = 60
FREE = 4
"""The budget: as many as fail before the fifth failure in a row lets a target rest."""


NO_KEY = Keys([Key(1, OwnHeaders(), Rest(), Rest())], written=1, label="", clock=lambda: 0.0)


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
            transport=httpx.MockTransport(answer), health=self.fleet.health(f"{name}/m"), load=self.fleet.load(name),
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
                reply = await attempts.open(iter([Offer("m", None, lambda _target: b"{}")]))
                await reply.close()
                return reply.status
        except UpstreamUnavailable as error:
            return error.status


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
