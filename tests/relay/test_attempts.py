"""Which attempt follows which, what each leaves behind, and when the budget of further ones is asked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
from starlette.types import Send

from proxy.config import Duration, Timeouts
from proxy.errors import UpstreamUnavailable
from proxy.relay.answer import Answer
from proxy.relay.attempts import Attempts, Offer, Trail
from proxy.relay.body import ClientLeft
from proxy.relay.guard import Guard
from proxy.relay.headers import OwnHeaders
from proxy.relay.keys import Key, Keys, Rest
from proxy.relay.reply import Call, Outcome
from proxy.relay.upstreams import Fleet, Target, Upstreams
from tests.relay.test_health import Clock

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


class Draws(random.Random):
    """Draws no pauses unless it is told one, and notes how long they might have been."""

    def __init__(self) -> None:
        super().__init__(1)
        self.longest: list[float] = []
        self.pause_s = 0.0

    def uniform(self, _a: float, b: float) -> float:
        self.longest.append(b)
        return self.pause_s


ROUTED = Call("POST", "/chat/completions", b"", [])
PASSED = Call("GET", "/files", b"", [], is_routed=False, is_of_a_model=False)
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
Says = int | Callable[[], httpx.Response]
"""A status, or what is done."""


class Told:
    """Models of one or two targets, the first one's by far preferred, that do as they are told, on a clock that stands."""

    def __init__(self, *models: str, attempts: int = 3, free: float = 1000.0, timeouts: Timeouts | None = None) -> None:
        """
        Args:
            models: each with a letter for each target, the first model decided on and the others its fallbacks.
            attempts: as in routes.yaml.
            free: likewise.
            timeouts: of all targets.
        """
        self.clock = Clock()
        self._timeouts = timeouts or Timeouts()
        self.says: dict[str, Says] = {}
        self.asked: list[str] = []
        self.random = Draws()
        self.trail = Trail()
        self._fleet = Fleet(clock=self.clock, random_source=self.random)
        self._fleet.budget.free = free
        keys = [Key(place, b"%d" % place, OwnHeaders([(b"authorization", b"x")]), Rest(), Rest()) for place in (1, 2)]
        self.keys = Keys(keys, written=2, label="", clock=self.clock)
        self.upstreams = Upstreams({model: self._targets(model) for model in models}, self._fleet, attempts=attempts)
        self._models = models
        self.target = self.upstreams.targets(models[0])[0]
        self.clock.now += 20  # all are warm

    def _targets(self, model: str) -> list[Target]:
        return [
            Target(
                upstream=name, name="m", weight=1.0 if place else 1e9, url=f"http://{name}/v1", keys=self.keys,
                timeouts=self._timeouts, transport=httpx.MockTransport(self._answer),
                health=self._fleet.health(f"{name}/m", b""), load=self._fleet.load(name, b""),
            )
            for place, name in enumerate(model)
        ]  # fmt: skip

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        says = self.says.get(request.url.host, 200)
        return httpx.Response(says, content=b"{}") if isinstance(says, int) else says()

    def offers(self) -> Iterator[Offer]:
        """The models in their order."""
        for model in self._models:
            yield Offer(model, self.upstreams.targets(model), None, lambda _target: b"{}")

    def ask(self, call: Call = ROUTED) -> int:
        """The status that a client gets, 502 where no upstream answered."""

        async def run() -> int:
            async def receive() -> dict[str, object]:
                await asyncio.Event().wait()
                return {}

            self.trail = Trail()
            try:
                async with asyncio.timeout(5), Guard(receive) as guard:
                    reply = await Attempts(self.upstreams, guard, call, self.trail).open(self.offers())
                    await reply.close()
                    return reply.status
            except UpstreamUnavailable as error:
                return error.status

        return asyncio.run(run())


@pytest.mark.parametrize("trial", [dies, 503, 400, 200])
def test_after_a_trial_there_is_another_however_it_ended(trial: Says) -> None:
    told = Told("ab")
    for _ in range(3):
        told.says["a"] = dies
        while told.target.health.is_available:
            assert told.ask() == 200
        told.clock.now += 100
        told.says["a"] = trial
        told.asked.clear()
        told.ask()
        assert told.asked[0] == "a"
        assert told.target.health.standing().in_flight == 0


def test_one_that_loses_a_connection_and_lives_costs_of_the_budget() -> None:
    told = Told("ab", free=1)
    told.says["a"] = dies
    assert [told.ask() for _ in range(3)] == [200, 502, 502]
    assert told.target.health.is_available


def test_where_all_rest_the_one_that_ends_first_is_asked_and_what_was_passed_over_is_told() -> None:
    told = Told("a", "b", "c")
    for name, rest_s in (("a", 30), ("b", 5), ("c", 60)):
        told.upstreams.targets(name)[0].health.refuses(rest_s)
    assert (told.ask(), told.asked) == (200, ["b"])
    assert told.trail.fallbacks == [("a", "b", "resting")]


def test_what_may_not_be_asked_twice_is_asked_once() -> None:
    told = Told("ab", "c")
    told.says["a"] = 503
    assert (told.ask(ROUTED._replace(is_repeatable=False)), told.asked) == (503, ["a"])


def test_another_target_or_key_of_a_model_is_no_fallback() -> None:
    told = Told("ab")
    for status in (503, 429):
        told.says["a"] = status
        told.asked.clear()
        assert (told.ask(), told.trail.fallbacks) == (200, [])
        assert told.asked == (["a", "b"] if status == 503 else ["a", "a", "b"])


def test_pauses_before_the_same_target_double_up_to_two_seconds() -> None:
    told = Told("a", attempts=8)
    told.says["a"] = 503
    assert told.ask() == 503
    assert told.random.longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_a_pause_is_no_time_of_the_target() -> None:
    told = Told("a", timeouts=Timeouts(whole_answer=Duration(0.3)))
    statuses = iter((503, 200))
    told.says["a"] = lambda: httpx.Response(next(statuses), content=b"{}")
    told.random.pause_s = 0.4  # longer than a whole answer may take
    assert told.ask() == 200


async def copied(told: Told, send: Send, is_over: asyncio.Event) -> None:
    """An answer goes to a client, that hangs up or has all when `is_over`."""

    async def receive() -> dict[str, object]:
        await is_over.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(5), Guard(receive) as guard:
        reply = await Attempts(told.upstreams, guard, ROUTED, Trail()).open(told.offers())
        await Answer(reply, send, "openai").copy([])
        await reply.close()


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_client_that_has_all_has_not_left(kind: str) -> None:
    """What the server says once the last byte is written is what it says of a hang-up."""
    told = Told("a")
    told.says["a"] = lambda: httpx.Response(
        200, content=EVENT if "event" in kind else b"{}", headers={"content-type": kind}
    )

    is_over = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            is_over.set()
            for _ in range(5):
                await asyncio.sleep(0)

    asyncio.run(copied(told, send, is_over))


def test_the_time_of_a_client_that_is_slow_is_not_the_upstreams() -> None:
    short = Duration(0.2)
    told = Told("a", timeouts=Timeouts(first_token=short, whole_answer=short, idle=short))

    async def events() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield EVENT

    told.says["a"] = lambda: httpx.Response(200, content=events(), headers={"content-type": "text/event-stream"})
    sent = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message.get("body"):
            await asyncio.sleep(0.3)  # as long as it takes to write to it
            sent.append(message["body"])

    asyncio.run(copied(told, send, asyncio.Event()))
    assert sent == [EVENT] * 2


@pytest.mark.parametrize(
    ("call", "status", "is_known"),
    [
        pytest.param(ROUTED, 200, True, id="an-answer"),
        pytest.param(ROUTED, 400, False, id="a-rejection"),
        pytest.param(ROUTED._replace(is_routed=False), 200, False, id="what-no-model-thinks-about"),
        pytest.param(PASSED, 200, False, id="what-asks-no-model"),
    ],
)
def test_only_a_models_answer_says_how_long_one_takes(call: Call, status: int, is_known: bool) -> None:
    told = Told("a")
    told.says["a"] = status
    assert told.ask(call) == status
    assert (told.target.health.latency_s is not None) == is_known


def test_what_asks_no_model_shows_that_a_target_can_be_reached() -> None:
    told = Told("a", attempts=1)
    for passed in (200, dies):
        told.says["a"] = dies
        for _ in range(4):
            assert told.ask() == 502
        told.says["a"] = passed
        told.ask(PASSED)
        told.says["a"] = dies
        assert told.target.health.is_available == (passed == 200)
        told.ask()
    assert told.target.health.standing().error_rate == 1.0


@pytest.mark.parametrize(("outcome", "is_held"), [("unreachable", True), ("idle", False), ("garbled", False)])
def test_of_what_asks_no_model_only_the_way_is_held_against_a_target(outcome: Outcome, is_held: bool) -> None:
    target = Told("a").target
    trail = Trail(is_of_a_model=False)
    trail.begin("m", target)
    for _ in range(5):
        trail.failed(outcome)
    assert target.health.is_available is not is_held
    assert target.health.standing().error_rate == 0.0


def test_an_answer_to_an_earlier_request_does_not_end_the_rest_of_its_key() -> None:
    told = Told("a")

    def is_refused_meanwhile() -> httpx.Response:
        told.keys.refused(told.keys.first(), "rate_limited", 20.0)
        return httpx.Response(200, content=b"{}")

    told.says["a"] = is_refused_meanwhile
    assert told.ask() == 200
    assert [key.rest_s for key in told.keys.standing()] == [20.0]


def test_a_key_that_an_account_may_not_use_is_followed_by_the_next() -> None:
    """It does not rest, since it may be welcome at the upstream's models."""
    told = Told("a")
    statuses = iter((401, 200))
    told.says["a"] = lambda: httpx.Response(next(statuses), content=b"{}")
    assert told.ask(PASSED._replace(is_of_an_account=True)) == 200
    assert told.trail.key_hash == b"2"
    assert told.keys.standing() == []
