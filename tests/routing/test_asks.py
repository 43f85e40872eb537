"""What of a client's own words a routes.yaml looks at."""

from __future__ import annotations

from proxy.routing.asks import Asks
from proxy.routing.router import Router
from tests.routing.requests import config

ROUTES = """\
routes:
  - {name: a, when: {header: {X-Team: red, Authorization: "Bearer *"}}, use: small}
  - {name: b, when: {any: [{metadata: {tier: gold}}, {not: {all: [{user: ann}, {header: {x-deep: "*"}}]}}]}, use: large}
"""


def test_names_are_found_at_any_depth_and_none_that_carries_a_key() -> None:
    asks = Router(config(ROUTES)).asks
    assert (set(asks.headers), asks.metadata, asks.user) == ({"x-team", "x-deep"}, ("tier",), True)


def test_rules_that_ask_for_none_of_it() -> None:
    assert Router(config()).asks == Asks()
