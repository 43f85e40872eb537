"""A real Pointsman in front of real simulated upstreams, for the official SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from openai import OpenAI

from proxy.app import build_app
from proxy.config import parse_config
from proxy.server.protocol import Protocol
from proxy.simulator import Log, Simulator, build_simulator
from tests.serving import serving

ROUTES = """
version: 1
upstreams: {{sim: {{base_url: "{upstream}"}}}}
models:
  small: {{target: {{upstream: sim, name: gpt-4o-mini}}}}
  large: {{target: {{upstream: sim, name: gpt-4o}}}}
default: small
rewrite: {rewrite}
retry: {{attempts: {attempts}}}
topics:
  code: {{examples: [Write a Python function, Fix this bug in my loop, Why does my program crash?]}}
  smalltalk: {{examples: [hello there, thanks a lot, good morning]}}
routes:
  - {{name: asked, when: {{model: gpt-4o}}, use: large}}
  - {{name: code, when: {{topic: code}}, use: large}}
"""


@pytest.fixture(scope="package")
def simulator() -> Simulator:
    return build_simulator(pace=0)


@pytest.fixture(scope="package")
def upstream_url(simulator: Simulator) -> Iterator[str]:
    """The upstream itself, as an SDK's base_url."""
    with serving(simulator) as upstream:
        yield upstream.url + "/sim/v1"


@pytest.fixture(scope="package")
def base_url(upstream_url: str) -> Iterator[str]:
    """Pointsman, routing whatever model is asked for, and leaving it to the SDK to try again."""
    with pointsman(upstream_url, '["*"]') as url:
        yield url


@pytest.fixture(scope="package")
def insistent_url(upstream_url: str) -> Iterator[str]:
    """Pointsman, routing only `auto` and `gpt-*`: any other name must be a model."""
    with pointsman(upstream_url, '[auto, "gpt-*"]') as url:
        yield url


@contextmanager
def pointsman(upstream_url: str, rewrite: str, *, attempts: int = 1) -> Iterator[str]:
    """Where a Pointsman in front of this upstream answers."""
    text = ROUTES.format(upstream=upstream_url, rewrite=rewrite, attempts=attempts)
    with serving(build_app(parse_config(text, source="routes.yaml", environ={})), http=Protocol) as proxy:
        yield proxy.url + "/v1"


@pytest.fixture(scope="package")
def client(base_url: str) -> Iterator[OpenAI]:
    """Through Pointsman."""
    with OpenAI(base_url=base_url, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture(scope="package")
def direct(upstream_url: str) -> Iterator[OpenAI]:
    """Straight to the upstream."""
    with OpenAI(base_url=upstream_url, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture
def log(simulator: Simulator) -> Log:
    """What arrives at the upstream from now on."""
    simulator.log.clear()
    return simulator.log
