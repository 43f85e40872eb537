"""The breaker, on a clock that stands until it is moved."""

from __future__ import annotations

import random

import pytest

from proxy.relay.health import Health, State


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A target's health, what it told, and the clock it looks at."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[State] = []
        self.health = Health(
            "u/m", clock=self.clock, random_source=random.Random(1), tell=lambda label, state: self.told.append(state)
        )

    def fails(self, times: int, cause: str = "failed") -> None:
        for _ in range(times):
            probe = self.health.began()
            self.health.failed(cause)
            self.health.ended(is_probe=probe)

    def succeeds(self, times: int = 1, latency_s: float = 0.1) -> None:
        for _ in range(times):
            probe = self.health.began()
            self.health.succeeded(latency_s)
            self.health.ended(is_probe=probe)

    def rest(self) -> None:
        self.clock.now += self.health.rest_s


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize(("cause", "state"), [("unreachable", "closed"), ("failed", "half_open")])
def test_being_reached_ends_only_a_rest_of_what_could_not_be(watched: Watched, cause: str, state: State) -> None:
    watched.fails(5, cause)
    watched.health.reached()
    assert watched.health.state == "open"
    watched.rest()
    watched.health.reached()
    assert watched.health.state == state


@pytest.mark.parametrize(("cause", "state"), [("unreachable", "closed"), ("failed", "open")])
def test_being_reached_ends_only_a_row_of_what_could_not_be(watched: Watched, cause: str, state: State) -> None:
    watched.fails(4, cause)
    watched.health.reached()
    watched.fails(1, cause)
    assert watched.health.state == state


def test_what_asks_no_model_is_not_in_the_error_rate(watched: Watched) -> None:
    for _ in range(20):
        watched.health.failed("unreachable", is_of_a_model=False)
        watched.health.reached()
    assert (watched.health.state, watched.health.standing().error_rate) == ("closed", 0)


def test_five_failures_in_a_row_open_it(watched: Watched) -> None:
    watched.fails(4)
    watched.succeeds()
    watched.fails(4)
    assert (watched.health.state, watched.told) == ("closed", [])
    watched.fails(1, "unreachable")
    assert (watched.health.state, watched.told) == ("open", ["open"])
    assert not watched.health.is_available
    assert not watched.health.began(), "asked all the same, before its time: no trial"
    watched.health.ended(is_probe=False)
    standing = watched.health.standing()
    assert (standing.reason, standing.in_flight) == ("unreachable", 0)
    assert 1.0 <= standing.next_probe_s <= 1.2


def test_half_of_many_failing_opens_it(watched: Watched) -> None:
    for _ in range(4):
        watched.succeeds()
        watched.fails(1)
    assert watched.told == [], "too few to say"
    watched.succeeds()
    watched.fails(1)
    assert watched.told == ["open"]


def test_one_is_let_through_and_closes_it(watched: Watched) -> None:
    watched.fails(5)
    watched.rest()
    assert watched.health.state == "half_open"
    assert watched.health.is_available
    probe = watched.health.began()
    assert probe
    assert not watched.health.is_available, "one at a time"
    assert not watched.health.began(), "the last one standing is asked all the same, and is no trial"
    watched.health.ended(is_probe=False)
    assert not watched.health.is_available
    watched.health.succeeded(0.1)
    watched.health.ended(is_probe=probe)
    assert watched.health.state == "closed"
    assert watched.told == ["open", "half_open", "closed"]


def test_rests_double_and_begin_anew_after_a_minute_that_was_well(watched: Watched) -> None:
    watched.fails(5)
    rests = [watched.health.rest_s]
    for _ in range(8):
        watched.rest()
        watched.fails(1)
        rests.append(watched.health.rest_s)
    for rest, expected in zip(rests, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert expected <= rest <= 1.2 * expected
    assert len(set(rests[-3:])) == 3, "they end apart, or every worker would ask at once"
    watched.rest()
    watched.succeeds()
    watched.clock.now += 59
    watched.fails(5)
    assert watched.health.rest_s >= 60, "it comes and goes"
    watched.rest()
    watched.succeeds()
    watched.clock.now += 61
    watched.fails(5)
    assert watched.health.rest_s <= 1.2


def test_what_asks_no_model_is_no_trial_of_one(watched: Watched) -> None:
    watched.fails(5)
    watched.rest()
    passed = watched.health.began(is_of_a_model=False)
    assert not passed
    assert watched.health.is_available, "a model's request need not wait until a long upload or download is over"
    probe = watched.health.began()
    watched.health.ended(is_probe=passed)
    assert probe
    assert not watched.health.is_available, "the trial is still under way"


def test_a_trial_that_says_nothing_leaves_room_for_another(watched: Watched) -> None:
    watched.fails(5)
    watched.rest()
    watched.health.ended(is_probe=watched.health.began())  # its client left
    assert watched.health.is_available
    assert watched.told == ["open", "half_open"]


def test_a_trial_that_ends_after_a_further_rest_says_that_the_next_may_come(watched: Watched) -> None:
    watched.fails(5)
    watched.rest()
    probe = watched.health.began()
    watched.health.failed("cut")  # what was under way before
    watched.rest()
    watched.health.ended(is_probe=probe)
    assert watched.told == ["open", "half_open", "open", "half_open"]


def test_a_rest_that_is_over_is_told_of_though_nobody_comes(watched: Watched) -> None:
    watched.health.notice()
    watched.fails(5)
    watched.health.notice()
    assert watched.told == ["open"]
    watched.rest()
    watched.health.notice()
    watched.health.notice()
    assert watched.told == ["open", "half_open"]
    watched.fails(1)
    watched.rest()
    watched.health.notice()
    watched.succeeds()
    watched.health.notice()
    assert watched.told == ["open", "half_open", "open", "half_open", "closed"]


def test_what_was_under_way_does_not_end_or_lengthen_a_rest(watched: Watched) -> None:
    watched.fails(5)
    rest = watched.health.rest_s
    watched.health.failed("cut")
    watched.health.succeeded(0.1)
    assert (watched.health.state, watched.health.rest_s) == ("open", rest)


@pytest.mark.parametrize(("asked", "rest"), [(None, 1.0), (0.0, 0.0), (2.5, 2.5), (300.0, 300.0)])
def test_one_that_is_busy_rests_for_as_long_as_it_asks(watched: Watched, asked: float | None, rest: float) -> None:
    watched.health.refuses(asked)
    assert watched.health.rest_s == rest
    assert watched.health.is_available is (rest == 0)
    watched.rest()
    assert watched.health.is_available


def test_one_that_is_back_gets_a_growing_share(watched: Watched) -> None:
    watched.fails(5)
    watched.rest()
    watched.succeeds()
    shares = []
    for _ in range(12):
        shares.append(watched.health.share())
        watched.clock.now += 1
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.1, 1.0)


def test_one_of_which_a_part_fails_gets_less_until_that_is_long_ago(watched: Watched) -> None:
    watched.clock.now += 20
    watched.succeeds(3)
    watched.fails(1)
    assert (watched.health.share(), watched.health.standing().error_rate) == (0.75, 0.25)
    watched.clock.now += 60
    assert watched.health.share() == 1.0
    watched.fails(1)
    assert watched.health.standing().error_rate > 0.9
    watched.clock.now += 60
    assert watched.health.standing().error_rate == 0.0


def test_one_more_request_meets_those_under_way_and_itself(watched: Watched) -> None:
    loads = []
    for _ in range(3):
        loads.append(watched.health.load(2.0))
        watched.health.began()
    watched.health.succeeded(0.5)
    assert [*loads, watched.health.load(2.0)] == [2.0, 4.0, 6.0, 2.0]


def test_one_that_was_only_busy_is_back_at_once(watched: Watched) -> None:
    watched.clock.now += 20
    watched.health.refuses(1.0)
    watched.rest()
    watched.succeeds()
    assert (watched.health.state, watched.health.share()) == ("closed", 1.0)


@pytest.mark.parametrize("looks", [0, 1, 600])
def test_a_latency_grows_old_by_the_clock_however_often_somebody_looks(watched: Watched, looks: int) -> None:
    health = watched.health
    watched.succeeds(latency_s=5.0)
    watched.succeeds(latency_s=0.1)
    assert health.latency_s == pytest.approx(0.95 * 5.0 + 0.05 * 0.1), "a flood of answers does not outweigh the clock"
    begin = watched.clock.now
    for number in range(looks):
        watched.clock.now = begin + 60 * (number + 1) / looks
        health.share()
        health.standing()
        health.succeeded(None)
        health.failed("cut", is_of_a_model=False)
        health.succeeded(None)
    watched.clock.now = begin + 60
    watched.succeeds(latency_s=0.1)
    assert health.latency_s == pytest.approx(0.1, abs=0.02)
    watched.clock.now += 10
    watched.succeeds(latency_s=1.1)
    assert health.latency_s == pytest.approx(0.73, abs=0.02), "of what was known ten seconds ago, e⁻¹ stays"


def test_bad_checks_open_it_and_a_good_one_closes_it(watched: Watched) -> None:
    seen = []
    for is_well in (False, True, False, False, True):
        watched.health.checked(is_well=is_well)
        seen.append(watched.health.state)
    assert seen == ["closed", "closed", "closed", "open", "closed"]
    assert watched.health.share() == 0.1, "it warms up"


def test_failures_before_a_good_check_are_of_no_row_after_it(watched: Watched) -> None:
    watched.fails(5)
    watched.health.checked(is_well=True)
    watched.fails(4)
    assert watched.health.is_available
    watched.fails(1)
    assert not watched.health.is_available


def test_bad_checks_do_not_lengthen_a_rest(watched: Watched) -> None:
    watched.health.refuses(30.0)
    for _ in range(3):
        watched.health.checked(is_well=False)
    assert (watched.health.rest_s, watched.health.standing().reason) == (30.0, "rate_limited")


@pytest.mark.parametrize("cause", ["rate_limited", "unauthorized", "forbidden"])
def test_a_good_check_does_not_end_what_the_keys_wait_for(watched: Watched, cause: str) -> None:
    watched.health.rests(30.0, cause)
    watched.health.checked(is_well=True)
    assert watched.health.state == "open"
    watched.health.rests(5.0, cause)
    assert watched.health.rest_s == 30.0, "a later and shorter rest does not shorten it"
    watched.health.has_a_key()
    assert (watched.health.state, watched.health.rest_s, watched.health.standing().next_probe_s) == ("closed", 0.0, 0.0)
