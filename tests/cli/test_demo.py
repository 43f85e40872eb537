"""What `--demo` keeps of an upstream that it replaces."""

from __future__ import annotations

import msgspec

from proxy.cli.serve import on_simulator
from proxy.config import Upstream, parse_config
from tests.config.test_loading import ENVIRON, FULL


def test_nothing_that_is_meant_for_the_real_one_reaches_the_simulated_one() -> None:
    config = parse_config(FULL, source="x", environ=ENVIRON)
    demo = on_simulator(config, "http://127.0.0.1:1")
    kept = {"protocol", "usage", "timeouts", "max_in_flight"}
    for name, upstream in demo.upstreams.items():
        assert upstream.base_url == f"http://127.0.0.1:1/{name}/v1"
        for field in msgspec.structs.fields(Upstream):
            if field.name in kept:
                assert getattr(upstream, field.name) == getattr(config.upstreams[name], field.name)
            elif field.name != "base_url":
                assert getattr(upstream, field.name) == getattr(Upstream(upstream.base_url), field.name), field.name
