"""A real Pointsman in front of real simulated upstreams, for the official SDKs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.app import build_app
from proxy.config import parse_config
from proxy.simulator import Simulator, build_simulator
from tests.serving import serving

ROUTES = """
version: 1
upstreams: {{sim: {{base_url: "{url}/sim/v1"}}}}
models:
  small: {{target: {{upstream: sim, name: gpt-4o-mini}}}}
  large: {{target: {{upstream: sim, name: gpt-4o}}}}
default: small
rewrite: [auto, "gpt-*"]
topics:
  code: {{examples: [Write a Python function, Fix this bug in my loop, Why does my program crash?]}}
  smalltalk: {{examples: [hello there, thanks a lot, good morning]}}
routes:
  - {{name: code, when: {{topic: code}}, use: large}}
"""


@pytest.fixture(scope="package")
def simulator() -> Simulator:
    return build_simulator(pace=0)


@pytest.fixture(scope="package")
def upstream_url(simulator: Simulator) -> Iterator[str]:
    with serving(simulator) as upstream:
        yield upstream.url


@pytest.fixture(scope="package")
def base_url(upstream_url: str) -> Iterator[str]:
    config = parse_config(ROUTES.format(url=upstream_url), source="routes.yaml", environ={})
    with serving(build_app(config)) as proxy:
        yield proxy.url + "/v1"
