"""A Pointsman on which everything has happened that a dashboard shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import httpx

from proxy.routing.policy_file import pack
from tests.endpoints.deciding import Deciding, deciding, policy_for

ODD = 'odd "name"\\ with\nlines, é and {braces}'
"""A model's name at its upstream may be anything."""

ROUTES = """\
version: 1
upstreams: {one: {base_url: "${SIM}/one/v1"}}
models:
  small:
    targets:
      - {upstream: one, name: gpt-4o-mini}
      - {upstream: one, name: "odd \\"name\\"\\\\ with\\nlines, \\u00e9 and {braces}"}
    price: {input: 1, cached_input: 0.5, output: 2}
  large: {target: {upstream: one, name: gpt-4o}, price: {input: 10, output: 20}}
  coder: {target: {upstream: one, name: o3-mini}, price: {input: 3, output: 6}}
  broken: {target: {upstream: one, name: error-500}, fallbacks: [small]}
default: small
baseline: large
rewrite: [auto]
conversation: {switch: never}
embedding: {threads: 1, deadline: 300ms}
server: {max_in_flight: 4}
policy: live.npz
shadow: {policy: other.npz}
corrections: {every: 50ms}
store: "sqlite:///${STORE}"
topics:
  code: {examples: [fix the bug in my code, write code for a loop]}
  law: {examples: [draft a contract, is the clause valid]}
routes:
  - {name: blocked, when: {text: {contains: password}}, block: {}}
  - {name: broken, when: {header: {x-broken: "*"}}, use: broken}
  - name: trial
    when: {header: {x-trial: "*"}}
    use: {split: {large: 60, learned: 40}, learned: [small, large, coder], prefer: quality}
  - {name: code, when: {topic: code}, use: large}
  - {name: all, use: {learned: [small, large, coder], prefer: quality, explore: 0.5}}
"""


@contextmanager
def house(folder: Path) -> Iterator[Deciding]:
    """Before any request."""
    with deciding(folder, ROUTES, {"other.npz": pack(policy_for("coder"))}) as running:
        yield running


def everything(running: Deciding) -> None:
    """Requests of all kinds, good and bad, feedback on them, and reloads, one of which is refused."""
    answers = [
        running.ask(text, **headers)
        for number in range(6)
        for text, headers in (
            (f"hello {number}", {}),
            ("fix the bug in my code", {}),
            ("draft a contract", {"x_trial": "1"}),
            ("more of it", {"x_broken": "1"}),  # five times, and its target rests
            ("good day", {"x_simulate_cached_tokens": "2"}),
        )
    ]
    for answer, rating in zip(answers, cycle(("up", "down", 0.5)), strict=False):
        told = {"id": answer.headers["x-pointsman-id"], "rating": rating}
        assert running.http.post("/v1/feedback", json=told).status_code == 200
    _post(running, "the password", status=403)
    _post(running, "hello", status=500, x_simulate_status="500")
    _post(running, "hello", status=404, model="unheard-of")
    running.words.gate.clear()
    _post(running, "a slow text")
    running.words.gate.set()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _leave(running), range(8)))  # of which four are one too many
    _reload(running, ROUTES.replace("explore: 0.5", "explore: 0.4"), "ok")
    _reload(running, "version: 2\n", "invalid")


def _post(running: Deciding, text: str, *, status: int = 200, model: str = "auto", **headers: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = running.http.post("/v1/chat/completions", json=body, headers=told)
    assert answer.status_code == status, answer.text


def _leave(running: Deciding) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    try:
        answer = running.http.post(
            "/v1/chat/completions", json=body, headers={"x-simulate-stall-headers": "1"}, timeout=0.5
        )
    except httpx.ReadTimeout:
        return
    assert answer.status_code == 503


def _reload(running: Deciding, text: str, result: str) -> None:
    running.put("routes.yaml", text)
    _until(lambda: running.series()[f'config_reloads_total{{result="{result}"}}'] >= 1)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
