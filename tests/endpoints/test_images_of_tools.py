"""A tool may give an image, too: a coding tool that reads one, the screen that a model works at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.relay.wire import House
from tests.relay.wire import house as open_house

ROUTES = """
version: 1
upstreams:
  one: {base_url: "${SIM}/one/v1"}
  two: {base_url: "${SIM}/two/v1", protocol: anthropic}
models:
  blind: {target: {upstream: one, name: gpt-4o-mini}, supports: [tools], fallbacks: [seer]}
  seer: {target: {upstream: one, name: gpt-4o}, supports: [tools, vision], context: 4000}
  blinder: {target: {upstream: two, name: claude-haiku}, supports: [tools], fallbacks: [watcher]}
  watcher: {target: {upstream: two, name: claude-opus}, supports: [tools, vision], context: 4000}
default: blind
"""
DATA = "A" * 400_000
URL = f"data:image/png;base64,{DATA}"
WORDS = "What do you see?"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house(ROUTES) as house:
        yield house


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": URL}}, id="a-screen"
        ),
        pytest.param(
            {"type": "function_call_output", "output": [{"type": "input_image", "image_url": URL}]}, id="a-functions"
        ),
    ],
)
def test_of_a_response(house: House, shown: dict[str, Any]) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    with OpenAI(base_url=f"{house.url}/v1", api_key="k", max_retries=0) as client:

        def model(*items: Any) -> str:
            said: Any = [{"role": "user", "content": WORDS}, *items]
            return client.responses.with_raw_response.create(model="auto", input=said).headers["x-pointsman-model"]

        assert model() == "blind"
        assert model(call, {"call_id": "c", **shown}) == "seer"


def test_of_a_message(house: House) -> None:
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    with Anthropic(base_url=house.url, api_key="k", max_retries=0) as client:

        def model(*messages: Any) -> str:
            said: Any = [{"role": "user", "content": WORDS}, *messages]
            raw = client.messages.with_raw_response.create(model="auto", max_tokens=9, messages=said)
            return str(raw.headers["x-pointsman-model"])

        assert model() == "blinder"
        assert model({"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}) == "watcher"
