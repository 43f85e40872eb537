"""Requests of one protocol, in a file with models of two."""

from __future__ import annotations

import json

import pytest

from proxy.config import parse_config
from proxy.errors import NobodyCanServe
from proxy.routing.apis import CHAT, MESSAGES, Api
from proxy.routing.decision import Decision
from proxy.routing.router import Router
from proxy.routing.signals import Signals

ROUTES = """
version: 1
upstreams:
  openai: {base_url: "https://openai.example/v1"}
  anthropic: {base_url: "https://anthropic.example/v1", protocol: anthropic}
models:
  small: {target: {upstream: openai, name: gpt-4o-mini}}
  claude: {target: {upstream: anthropic, name: claude-small}}
  opus: {target: {upstream: anthropic, name: claude-large}}
  twofold: {target: {upstream: openai, name: gpt-4o}, fallbacks: [opus]}
default: small
rewrite: [auto]
routes:
  - {name: both, when: {header: {x-way: both}}, use: small, fallbacks: [opus]}
  - {name: inside, when: {header: {x-way: inside}}, use: small, fallbacks: []}
"""
ROUTER = Router(parse_config(ROUTES, source="routes.yaml", environ={}))
ALONE = "version: 1\nupstreams: {o: {base_url: 'https://o.example/v1'}}\nmodels: {small: {target: {upstream: o, name: m}}}\ndefault: small\n"


def decide(api: Api, way: str = "", *, model: str = "auto", router: Router = ROUTER) -> Decision:
    body = json.dumps({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).encode()
    decision = router.decide(api.read(body, {"x-way": way}), Signals())
    assert decision is not None
    return decision


def test_the_default_is_the_first_model_that_speaks_it() -> None:
    assert [decide(api).model for api in (CHAT, MESSAGES)] == ["small", "claude"]


def test_a_route_goes_to_the_first_of_its_models_that_speaks_it() -> None:
    assert [decide(api, "both").model for api in (CHAT, MESSAGES)] == ["small", "opus"]
    assert decide(MESSAGES, "both").excluded[0].why == "protocol: anthropic needed, openai spoken"


def test_a_route_that_has_none_is_not_left_for_another() -> None:
    """What must stay with a route's models does, whatever the client speaks."""
    with pytest.raises(NobodyCanServe, match="No model of route 'inside'"):
        decide(MESSAGES, "inside")


@pytest.mark.parametrize(("api", "model"), [(CHAT, "claude"), (MESSAGES, "small")])
def test_a_model_that_is_named_must_speak_it(api: Api, model: str) -> None:
    with pytest.raises(NobodyCanServe, match=f"Model '{model}' speaks"):
        decide(api, model=model)


def test_a_name_stands_for_the_first_of_its_models_that_speaks_it() -> None:
    assert [decide(api, model="twofold").model for api in (CHAT, MESSAGES)] == ["twofold", "opus"]


def test_where_no_model_speaks_it_the_file_must_change() -> None:
    router = Router(parse_config(ALONE, source="routes.yaml", environ={}))
    with pytest.raises(NobodyCanServe, match="'protocol: anthropic'"):
        decide(MESSAGES, router=router)


def test_every_decision_is_among_those_that_are_counted() -> None:
    for decision in (decide(CHAT), decide(MESSAGES), decide(MESSAGES, "both")):
        assert (decision.route, decision.model, decision.reason) in ROUTER.possible.decisions
