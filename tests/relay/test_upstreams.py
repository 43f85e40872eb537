"""What is found of targets."""

from __future__ import annotations

import asyncio

import httpx

from proxy.relay.upstreams import Fleet, open_upstreams
from tests.relay.wire import config_of

TWICE = """
version: 1
upstreams: {u: {base_url: "http://u/v1"}}
models:
  first: {target: {upstream: u, name: m}, timeouts: {idle: 7s}}
  last: {target: {upstream: u, name: m}}
default: first
"""


async def _found() -> tuple[str, float, int]:
    """Of the target that two models have: the model that it is found at, its timeout there, and how many there are."""
    async with open_upstreams(
        config_of(TWICE), lambda upstream: httpx.MockTransport(lambda request: httpx.Response(200)), Fleet()
    ) as upstreams:
        target = upstreams.named("u/m")
        assert target is not None
        return upstreams.model_of(target), target.timeouts.idle, len(upstreams.all_targets())


def test_a_target_that_two_models_have_is_found_as_the_first_has_it() -> None:
    assert asyncio.run(_found()) == ("first", 7.0, 1)
