"""Which of several targets gets a request: by weight, by what it has to do, and only where it may."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest

from proxy.config import Timeouts
from proxy.relay.balancing import pick, soonest, why_not
from proxy.relay.headers import OwnHeaders
from proxy.relay.keys import Key, Keys, Rest
from proxy.relay.upstreams import Fleet, Target
from tests.relay.test_health import Clock

NO_KEY = Keys([Key(1, b"", OwnHeaders(), Rest(), Rest())], written=1, label="", clock=lambda: 0.0)


def targets(fleet: Fleet, *weights: float) -> list[Target]:
    return [
        Target(
            upstream=name, name="m", weight=weight, url=f"http://{name}/v1", keys=NO_KEY, timeouts=Timeouts(),
            transport=httpx.MockTransport(lambda request: httpx.Response(200)), health=fleet.health(f"{name}/m", b""),
            load=fleet.load(name, b""),
        )
        for name, weight in zip("abc", weights, strict=False)
    ]  # fmt: skip


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(clock=lambda: 1000.0, random_source=random.Random(1))


def picks(of: Sequence[Target], times: int = 3000) -> dict[str, float]:
    random_source, found = random.Random(1), Counter[str]()
    for _ in range(times):
        target = pick(of, (), random_source)
        assert target is not None
        found[target.upstream] += 1
    return {name: count / times for name, count in sorted(found.items())}


def test_the_share_follows_the_weight(fleet: Fleet) -> None:
    assert picks(targets(fleet, 6, 3, 1)) == {
        name: pytest.approx(share, abs=0.03) for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1))
    }


def test_the_busy_and_the_slow_get_less(fleet: Fleet) -> None:
    a, b, c = targets(fleet, 1, 1, 1)
    for target, latency_s in ((a, 0.1), (b, 0.1), (c, 0.4)):
        target.health.succeeded(latency_s)
    seen = picks([a, b, c])
    assert seen["c"] == pytest.approx(1 / 9, abs=0.03), "now and then, to see whether it has recovered"
    assert seen["a"] == pytest.approx(seen["b"], abs=0.04)
    for _ in range(9):
        a.begin()
    assert picks([a, b, c])["b"] > 0.5


@pytest.mark.parametrize(
    ("of_a", "of_b", "share"),
    [
        pytest.param(0.1, 0.12, 0.5, id="no-clear-difference"),
        pytest.param(0.1, 0.2, 0.75, id="a-clear-one"),
        pytest.param(5.0, None, 0.5, id="as-slow-as-the-other-while-nothing-is-known"),
        pytest.param(0.1, None, 0.5, id="as-quick-likewise"),
    ],
)
def test_less_to_do_is_what_is_clearly_less(of_a: float, of_b: float | None, share: float, fleet: Fleet) -> None:
    a, b = targets(fleet, 1, 1)
    a.health.succeeded(of_a)
    b.health.succeeded(of_b)
    assert picks([a, b])["a"] == pytest.approx(share, abs=0.03)


def test_one_of_which_much_fails_gets_less() -> None:
    clock = Clock()
    a, b = targets(Fleet(clock=clock), 1, 1)
    clock.now += 20  # both are warm
    for _ in range(3):
        b.health.failed("failed")
        b.health.failed("failed")
        b.health.succeeded(None)
    assert b.health.is_available
    assert picks([a, b])["b"] == pytest.approx(0.25, abs=0.03)


def homes(of: Sequence[Target], conversations: int = 3000) -> list[str]:
    """Where the turns of each conversation go, with several draws."""
    found = []
    for number in range(conversations):
        went = {pick(of, (), random.Random(draw), b"conversation %d" % number) for draw in range(4)}
        (target,) = went
        assert target is not None
        found.append(target.upstream)
    return found


def test_the_turns_of_a_conversation_go_to_one_target_and_conversations_by_weight(fleet: Fleet) -> None:
    of = targets(fleet, 6, 3, 1)
    found = homes(of)
    shares = {name: count / len(found) for name, count in Counter(found).items()}
    assert shares == {name: pytest.approx(share, abs=0.03) for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1))}
    of[1].health.refuses(5)
    moved = homes(of)
    assert "b" not in moved
    assert all(now == before for now, before in zip(moved, found, strict=True) if before != "b"), "no other has moved"


def test_until_far_more_is_under_way_there(fleet: Fleet) -> None:
    a, b = targets(fleet, 1, 1)
    of_a = next(b"%d" % n for n in range(99) if pick([a, b], (), fleet.random, b"%d" % n) is a)

    def went() -> set[str]:
        found = (pick([a, b], (), random.Random(draw), of_a) for draw in range(20))
        return {target.upstream for target in found if target is not None}

    a.health.succeeded(30.0)
    b.health.succeeded(0.1)
    a.begin()
    a.begin()
    assert went() == {"a"}, "a long answer there makes no turn read all again elsewhere"
    a.begin()
    assert went() == {"a", "b"}


def rest_s(target: Target) -> float:
    return target.health.rest_s


def test_a_target_at_rest_or_full_is_not_picked(fleet: Fleet) -> None:
    a, b = targets(fleet, 1, 1)
    a.health.refuses(5)
    assert set(picks([a, b], 50)) == {"b"}
    assert pick([a, b], {"b/m"}, fleet.random) is None
    assert why_not([a, b]) == "resting"
    fleet.load("b", b"").most = 1
    b.begin()
    assert pick([a, b], (), fleet.random) is None
    assert why_not([a, b]) == "resting", "not all are full"
    assert soonest([a, b], rest_s) is a, "it rests, but has room"
    fleet.load("a", b"").most = 0
    assert (soonest([a, b], rest_s), why_not([a, b])) == (None, "full")
    b.end(is_probe=False)
    assert pick([a, b], (), fleet.random) is b
