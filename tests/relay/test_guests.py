"""Clients with keys of their own: a limit of one is felt by nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proxy.relay.guests import Guests
from proxy.relay.headers import Headers
from proxy.relay.upstreams import Fleet
from tests.relay.test_health import Clock
from tests.relay.test_keys import ANSWER, Keyed, keyed
from tests.relay.wire import MESSAGES, Exchange

TEXT = """
version: 1
upstreams:
  theirs: {base_url: "${RAW}/v1"}
  ours: {base_url: "${RAW}/v1", api_key: sk-ours}
models:
  small: {target: {upstream: theirs, name: small}, fallbacks: [large]}
  alone: {target: {upstream: theirs, name: alone}}
  large: {target: {upstream: ours, name: large}}
rewrite: []
default: small
"""
BUSY = (b"429 Busy", b"retry-after: 200")
RICH, POOR = {"authorization": "Bearer rich"}, {"authorization": "Bearer poor"}


@pytest.fixture
def upstream() -> Iterator[Keyed]:
    with keyed(TEXT) as upstream:
        yield upstream


def served(upstream: Keyed, headers: dict[str, str] | None = None, model: str = "small") -> tuple[int, str]:
    answer = upstream.house.chat(model, headers=headers)
    return answer.status_code, answer.headers["x-pointsman-target"]


def test_who_is_limited_goes_elsewhere_and_nobody_else_does(upstream: Keyed) -> None:
    upstream.says["poor"] = BUSY
    assert served(upstream, POOR) == (200, "ours/large")
    assert upstream.asked() == ["poor", "sk-ours"]
    assert served(upstream, RICH) == (200, "theirs/small")
    assert served(upstream, POOR) == (200, "ours/large")
    assert upstream.asked() == ["rich", "sk-ours"], "no more of poor for as long as the upstream asked"
    target = upstream.target("theirs/small")
    assert (target["state"], target["in_flight"], target["clients_limited"]) == ("closed", 0, 1)
    upstream.says.clear()
    assert served(upstream, POOR, "alone") == (200, "theirs/alone"), "a limit is one model's"


def test_a_project_or_another_form_of_key_is_another_limit(upstream: Keyed) -> None:
    upstream.says["poor"] = BUSY
    assert served(upstream, POOR) == (200, "ours/large")
    upstream.says.clear()
    upstream.asked()
    assert served(upstream, POOR | {"openai-project": "proj-2"}) == (200, "theirs/small")
    assert served(upstream, POOR | {"x-request-id": "else"}) == (200, "ours/large")
    assert upstream.asked() == ["poor", "sk-ours"]


def test_once_the_time_is_over_it_is_asked_again(upstream: Keyed) -> None:
    upstream.says["poor"] = (b"429 Busy", b"retry-after-ms: 300")
    began = time.monotonic()
    assert served(upstream, POOR) == (200, "ours/large")
    upstream.says.clear()
    while served(upstream, POOR) != (200, "theirs/small"):
        assert time.monotonic() - began < 5
    assert time.monotonic() - began >= 0.3


def test_where_nobody_else_can_answer_it_is_asked_all_the_same(upstream: Keyed) -> None:
    """And one that is taken then is kept away no more."""
    upstream.says["poor"] = BUSY
    for _ in range(2):
        assert served(upstream, POOR, "alone") == (429, "theirs/alone")
    assert upstream.asked() == ["poor", "poor"]
    assert upstream.target("theirs/alone")["clients_limited"] == 1
    upstream.says.clear()
    assert served(upstream, POOR, "alone") == (200, "theirs/alone")
    assert upstream.target("theirs/alone")["clients_limited"] == 0


def test_where_all_must_wait_who_is_limited_is_sent_where_the_wait_is_shortest(upstream: Keyed) -> None:
    upstream.says |= {"poor": BUSY, "sk-ours": (b"429 Busy", b"retry-after: 20")}
    assert served(upstream, POOR) == (429, "ours/large")
    assert upstream.asked() == ["poor", "sk-ours"]
    assert served(upstream, POOR) == (429, "ours/large")
    assert upstream.asked() == ["sk-ours"]


def test_a_limit_of_those_who_bring_no_key_or_ours_is_everybodys(upstream: Keyed) -> None:
    upstream.house.raw.script = lambda exchange: exchange.answer(b"{}", BUSY[1], status=BUSY[0])
    assert upstream.house.chat("alone").status_code == 429
    assert upstream.house.chat("large", headers=RICH).status_code == 429
    for label in ("theirs/alone", "ours/large"):
        assert (upstream.target(label)["state"], upstream.target(label)["reason"]) == ("open", "rate_limited")


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "authorization"])
def test_whatever_header_the_key_is_in(upstream: Keyed, header: str) -> None:
    def busy(exchange: Exchange) -> None:
        if exchange.values(header.encode()) == [b"poor"]:
            exchange.answer(b"{}", BUSY[1], status=BUSY[0])

    upstream.house.raw.script = busy
    assert upstream.house.chat("alone", headers={header: "poor"}).status_code == 429
    assert upstream.target("theirs/alone")["state"] == "closed"


def test_a_key_may_be_in_the_query(upstream: Keyed) -> None:
    def busy(exchange: Exchange) -> None:
        if b"key=poor" in exchange.line:
            exchange.answer(b"{}", BUSY[1], status=BUSY[0])
        else:
            exchange.answer(ANSWER, b"content-type: application/json")

    upstream.house.raw.script = busy
    for key, status in (("poor", 429), ("rich", 200)):
        body = {"model": "alone", "messages": MESSAGES}
        assert upstream.house.http.post(f"/v1/chat/completions?key={key}", json=body).status_code == status
    assert upstream.target("theirs/alone")["state"] == "closed"


# Without a server, on a clock that stands until it is moved.


def test_as_much_is_remembered_as_the_upstream_asked_for_and_no_key() -> None:
    clock = Clock()
    guests = Guests(clock, Fleet().hash)
    headers: Headers = [(b"authorization", b"Bearer sk-secret"), (b"cookie", b"s=1"), (b"openai-project", b"p")]
    guest = guests.guest(headers, b"")
    assert guest is not None
    assert guest == guests.guest([headers[0], (b"cookie", b"s=2"), headers[2]], b"a=b")
    assert guest not in (guests.guest(headers[:2], b""), guests.guest(headers, b"a=b&API%5Fkey=k"))
    assert guests.guest(headers[1:], b"a=b") is None, "an upstream's own cookies come and go"
    assert b"secret" not in guest
    guests.limited("a", guest, 20)
    guests.limited("a", guest, 5)
    assert (guests.rest_s("a", guest), guests.rest_s("b", guest), guests.rest_s("a", None)) == (20, 0, 0)
    assert (guests.limited_at("a"), guests.limited_at("b")) == (1, 0)
    assert guests.are_limited
    clock.now += 20
    assert (guests.rest_s("a", guest), guests.limited_at("a"), guests.are_limited) == (0, 0, False)
    guests.limited("a", guest, None)
    assert guests.rest_s("a", guest) == 1
    guests.limited("a", b"another", 20)
    guests.limited("a", guest, 5)
    clock.now += 10
    assert guests.are_limited, "as long as one is"


def test_however_many_keys_come_the_memory_is_bounded() -> None:
    guests = Guests(Clock(), Fleet().hash)
    for number in range(20_000):
        guests.limited("a", b"%d" % number, 60)
    assert guests.limited_at("a") == 10_000
    assert (guests.rest_s("a", b"0"), guests.rest_s("a", b"19999")) == (0, 60)
