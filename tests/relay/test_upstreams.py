"""What is found of targets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from proxy.relay.upstreams import Fleet, Upstreams, open_upstreams
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


SEVERAL = """
version: 1
upstreams: {u: {base_url: "http://u/v1"}, keyed: {base_url: "http://keyed/v1", query: {api-version: "2"}}}
models:
  m: {targets: [{upstream: u, name: m}, {upstream: keyed, name: m}]}
  both: {targets: [{upstream: u, name: n}, {upstream: u, name: m}]}
default: m
"""


@asynccontextmanager
async def _several() -> AsyncIterator[Upstreams]:
    async with open_upstreams(
        config_of(SEVERAL), lambda upstream: httpx.MockTransport(lambda request: httpx.Response(200)), Fleet()
    ) as upstreams:
        yield upstreams


@pytest.mark.parametrize(("label", "more"), [("u/m", ""), ("keyed/m", "api-version=2")])
def test_each_request_goes_with_its_own_query_whatever_came_before(label: str, more: str) -> None:
    async def run() -> None:
        async with _several() as upstreams:
            target = upstreams.named(label)
            assert target is not None
            for query in (b"", b"after=1", b"after=2", b""):
                told = "&".join(filter(None, (query.decode(), more)))
                url = f"http://{target.upstream}/v1/files"
                assert str(target.url("/files", query)) == (f"{url}?{told}" if told else url)

    asyncio.run(run())


def test_a_model_is_as_quick_as_the_quicker_of_its_targets() -> None:
    async def run() -> None:
        async with _several() as upstreams:
            for target, seconds in zip(upstreams.targets("m"), (3.0, 2.0), strict=True):
                target.health.succeeded(seconds)
            assert upstreams.latencies_s() == {"m": 2.0, "both": 3.0}

    asyncio.run(run())


def test_beside_a_target_is_the_same_one_as_another_model_has_it() -> None:
    async def run() -> None:
        async with _several() as upstreams:
            here, elsewhere = upstreams.targets("m")
            assert upstreams.beside(here, "both") is upstreams.targets("both")[1]
            assert upstreams.beside(elsewhere, "both") is None

    asyncio.run(run())


def test_a_target_that_two_models_have_is_found_as_the_first_has_it() -> None:
    assert asyncio.run(_found()) == ("first", 7.0, 1)
