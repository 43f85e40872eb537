"""The hard filter, splits, blocks and edits, as routes.yaml says them and a decision carries them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.config import parse_config
from proxy.errors import NobodyCanServe
from proxy.routing.conversation import Held
from proxy.routing.decision import Decision
from proxy.routing.facts import Facts
from proxy.routing.live import Live
from proxy.routing.responses import read_response
from proxy.routing.router import Router
from proxy.routing.signals import Signals
from proxy.routing.split import share
from tests.routing.requests import facts, user

TEXT = """
version: 1
upstreams: {u: {base_url: "http://u/v1"}}
models:
  tiny: {target: {upstream: u, name: t}, context: 100, supports: [tools], fallbacks: [wide, seer]}
  wide: {target: {upstream: u, name: w}, context: 10000, supports: [tools], drop: [logprobs]}
  seer: {target: {upstream: u, name: s}, supports: [vision]}
  open: {target: {upstream: u, name: o}}
default: tiny
routes:
  - {name: shared, when: {header: {x-r: shared}}, use: {split: {tiny: 80, open: 20}}, fallbacks: []}
  - {name: refused, when: {text: {contains: forbidden}}, block: {status: 451, message: Not here.}}
  - name: edited
    when: {header: {x-r: edited}}
    use: wide
    set: {reasoning_effort: high}
  - {name: strict, when: {header: {x-r: strict}}, use: tiny, fallbacks: []}
  - {name: helped, when: {header: {x-r: helped}}, use: tiny, fallbacks: [wide, open]}
  - {name: drawn, when: {header: {x-r: drawn}}, use: {learned: [tiny, wide], explore: 0.5}}
  - {name: chosen, when: {header: {x-r: chosen}}, use: {learned: [tiny, wide]}}
  - {name: left, when: {header: {x-r: left}}, use: {learned: [tiny, seer]}, fallbacks: [wide]}
"""
ROUTER = Router(parse_config(TEXT, source="routes.yaml", environ={}))
NAMED = Router(parse_config(f"{TEXT}rewrite: []\n", source="routes.yaml", environ={}))
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def decide(*messages: Any, route: str = "", **fields: Any) -> Decision:
    decision = ROUTER.decide(facts(*messages, headers={"x-r": route}, **fields), Signals())
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    ("message", "fields", "model", "excluded"),
    [
        pytest.param(user("hi"), {}, "tiny", [], id="fits"),
        pytest.param(
            user("x" * 4000), {}, "wide", ["context: 1,004 tokens needed, 100 available"], id="a-larger-context"
        ),
        pytest.param(
            user("hi"),
            {"max_completion_tokens": 200},
            "wide",
            ["context: 204 tokens needed, 100 available"],
            id="the-answer-counts",
        ),
        pytest.param(
            IMAGE,
            {},
            "seer",
            ["context: 804 tokens needed, 100 available", "capability: vision needed, not supported"],
            id="context-and-capability",
        ),
    ],
)
def test_the_first_that_can_serve(message: Any, fields: dict[str, Any], model: str, excluded: list[str]) -> None:
    decision = decide(message, **fields)
    assert (decision.route, decision.model, decision.reason) == ("default", model, "default")
    assert [exclusion.why for exclusion in decision.excluded] == excluded


def test_nobody_can_serve_is_said_with_every_reason() -> None:
    with pytest.raises(NobodyCanServe) as caught:
        decide(IMAGE, tools=TOOLS)
    assert str(caught.value) == (
        "No model of route 'default' can serve this request. "
        "tiny: context: 816 tokens needed, 100 available; wide: capability: vision needed, not supported; "
        "seer: capability: tools needed, not supported."
    )
    with pytest.raises(NobodyCanServe, match="tiny: capability: json_schema needed"):
        decide(user("hi"), route="strict", response_format={"type": "json_schema"})


def test_a_routes_own_fallbacks_replace_the_models() -> None:
    with pytest.raises(NobodyCanServe, match="'strict'"):
        decide(user("x" * 4000), route="strict")


def test_what_the_file_does_not_say_is_not_held_against_a_model() -> None:
    asked = facts(IMAGE, tools=TOOLS, max_tokens=10**9)
    assert ROUTER.candidates(asked)["open"] is None


BOUND = read_response(json.dumps({"model": "tiny", "input": "x" * 4000, "previous_response_id": "resp_1"}).encode(), {})


@pytest.mark.parametrize(
    ("asked", "model", "excluded", "fallbacks"),
    [
        pytest.param(facts(user("hi"), model="tiny"), "tiny", [], ("wide", "seer"), id="fits"),
        pytest.param(facts(user("x" * 4000), model="tiny"), "wide", ["tiny"], ("seer",), id="a-larger-context"),
        pytest.param(facts(IMAGE, model="tiny"), "seer", ["tiny", "wide"], (), id="one-that-sees"),
        pytest.param(facts(IMAGE, model="tiny", tools=TOOLS), "tiny", [], (), id="nobody-so-the-upstream-judges"),
        pytest.param(BOUND, "tiny", [], (), id="what-only-its-account-can-read"),
        pytest.param(facts(IMAGE, headers={"x-pointsman-model": "tiny"}), "tiny", [], (), id="the-header-insists"),
    ],
)
def test_a_name_stands_for_its_fallbacks(
    asked: Facts, model: str, excluded: list[str], fallbacks: tuple[str, ...]
) -> None:
    decision = NAMED.decide(asked, Signals())
    assert decision is not None
    assert (decision.route, decision.reason, decision.is_firm) == ("pinned", "pinned", True)
    assert (decision.model, [each.model for each in decision.excluded]) == (model, excluded)
    assert decision.fallbacks == fallbacks
    assert (decision.route, decision.model, decision.reason) in NAMED.possible.decisions


def test_a_block_takes_the_place_of_a_model() -> None:
    decision = decide(user("something FORBIDDEN"))
    assert decision.block is not None
    assert (decision.block.status, decision.block.message, decision.model) == (451, "Not here.", "-")


def test_a_routes_edits_come_before_its_models() -> None:
    first, second = decide(user("hi"), route="edited").edits
    assert first.set == {"reasoning_effort": b'"high"'}
    assert second.drop == {"logprobs"}


def test_a_conversation_keeps_its_share() -> None:
    opening = user("hello")
    later = [opening, {"role": "assistant", "content": "hi"}, user("and now?")]
    assert decide(opening, route="shared").model == decide(*later, route="shared").model
    assert decide(opening, route="shared").reason == "split"
    keyed = {decide(user(str(n)), route="shared", prompt_cache_key="k").model for n in range(20)}
    assert len(keyed) == 1


def test_shares_follow_the_weights_and_every_process_agrees() -> None:
    chosen = [share({"a": 90, "b": 10, "c": 0}, f"conversation {number}") for number in range(10_000)]
    assert 880 < chosen.count("b") < 1120
    assert chosen.count("c") == 0
    assert [share({"a": 1, "b": 1}, key) for key in "uvwxyz"] == ["a", "b", "b", "a", "a", "b"]


def of(route: str, *messages: Any, **fields: Any) -> Facts:
    return facts(*messages, headers={"x-r": route}, **fields)


LONG = user("x" * 800)


def test_nobody_stands_in_for_itself() -> None:
    """A request that has just failed there would be sent to the same model again."""
    decision = ROUTER.decide(of("helped", LONG), Signals())
    assert decision is not None
    assert (decision.model, decision.fallbacks) == ("wide", ("open",))
    gone_on = ROUTER.resume(Held("helped", "wide"), facts())
    assert gone_on is not None
    assert gone_on.fallbacks == ("open",)


def test_a_model_is_said_to_be_left_out_once() -> None:
    decision = ROUTER.decide(of("left", LONG, tools=TOOLS), Signals())
    assert decision is not None
    assert (decision.model, [each.model for each in decision.excluded]) == ("wide", ["tiny", "seer"])


def test_a_text_is_looked_at_only_where_something_is_left_to_it() -> None:
    live = Live(draw=0.9)
    assert ROUTER.decide(of("drawn"), Signals(), live) is None
    alone = ROUTER.decide(of("drawn", LONG), Signals(), live)
    assert alone is not None
    assert alone.model == "wide"
    certain = ROUTER.decide(of("chosen"), Signals(), live)
    assert certain is not None
    assert (certain.model, certain.propensity) == ("tiny", 1.0), "another route explores, this one does not"


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.6, 0.9])
def test_what_cannot_be_looked_at_is_not_explored_with(draw: float) -> None:
    """Nothing is learned of it, so somebody would get a worse model for nothing."""
    decision = ROUTER.decide_finally(of("drawn"), Signals(missing="it is late", is_overload=True), Live(draw=draw))
    assert (decision.model, decision.propensity) == ("tiny", 1.0)
