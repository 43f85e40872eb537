from collections.abc import Iterator
from typing import NamedTuple

import httpx
import openai
import pytest

from proxy.simulator import Simulator, build_simulator
from tests.serving import serving


class Upstream(NamedTuple):
    simulator: Simulator
    url: str
    http: httpx.Client
    openai: openai.OpenAI

    def chat(
        self, prompt: str = "hello there", *, headers: dict[str, str] | None = None, **fields: object
    ) -> httpx.Response:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **fields}
        return self.http.post("/east/v1/chat/completions", json=body, headers=headers)


@pytest.fixture(scope="session")
def running() -> Iterator[Upstream]:
    simulator = build_simulator(pace=0)
    with (
        serving(simulator) as served,
        httpx.Client(base_url=served.url, timeout=5) as http,
        openai.OpenAI(base_url=f"{served.url}/east/v1", api_key="sk-test", max_retries=0, timeout=5) as client,
    ):
        yield Upstream(simulator, served.url, http, client)


@pytest.fixture
def upstream(running: Upstream) -> Upstream:
    """An instant simulator on a real server, with an empty log."""
    running.simulator.log.clear()
    return running
