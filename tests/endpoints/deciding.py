"""A running Pointsman with policies, a store and a simulated upstream, and what it leaves behind."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from proxy.app import build_app
from proxy.embedding import Vector
from proxy.learning.fit import fit_policy
from proxy.reload.source import ConfigSource
from proxy.routing.policy import Policy
from proxy.routing.policy_file import pack
from proxy.simulator import build_simulator
from tests.learning.made import MODELS, made
from tests.relay.wire import WordModel
from tests.serving import serving
from tests.telemetry.series import series

FILE = """\
version: 1
upstreams: {one: {base_url: "${SIM}/one/v1"}}
models:
  small: {target: {upstream: one, name: gpt-4o-mini}, price: {input: 1, output: 2}}
  large: {target: {upstream: one, name: gpt-4o}, price: {input: 10, output: 20}}
  coder: {target: {upstream: one, name: o3-mini}, price: {input: 3, output: 6}}
default: small
conversation: {switch: never}
embedding: {threads: 1, deadline: 10s}
policy: live.npz
store: "sqlite:///${STORE}"
routes:
  - {name: fixed, when: {header: {x-fixed: "*"}}, use: small}
  - name: trial
    when: {header: {x-trial: "*"}}
    use: {split: {large: 60, learned: 40}, learned: [small, large, coder], prefer: quality}
  - {name: all, use: {learned: [small, large, coder], prefer: quality}}
"""


class Words(WordModel):
    """Holds each text with the word `slow` until it is let, and fails on `bad`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.takes_s = 0.0

    def name(self) -> str:
        return "words"

    def embed(self, text: str) -> Vector:
        if "slow" in text:
            assert self.gate.wait(10)
        if "bad" in text:
            raise RuntimeError(text)
        time.sleep(self.takes_s)
        return super().embed(text)


@cache
def policy_for(favourite: str) -> Policy:
    """One that thinks nothing of any model but this."""
    learned = fit_policy(made(120), embedder="words")
    means, linear = np.array([float(name == favourite) for name in MODELS], dtype=np.float32), learned.linear.copy()
    linear[-1] += 4 * means - 2
    return replace(learned, means=means, linear=linear)


@dataclass
class Deciding:
    folder: Path
    http: httpx.Client
    words: Words

    def ask(self, *turns: str, **headers: str) -> httpx.Response:
        """A conversation whose user has said these, one after another."""
        messages = [{"role": "user", "content": turns[0]}]
        for turn in turns[1:]:
            messages += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": turn}]
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.http.post("/v1/chat/completions", json={"model": "auto", "messages": messages}, headers=told)
        assert answer.status_code == 200, answer.text
        return answer

    def row(self, answer: httpx.Response, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """What was kept of a decision, which is there once it can be rated, with the key that it was made with."""
        decision = answer.headers["x-pointsman-id"]
        told = self.http.post("/v1/feedback", json={"id": decision, "rating": "up"}, headers=headers)
        assert told.status_code == 200
        with closing(sqlite3.connect(self.folder / "store.db")) as connection:
            connection.row_factory = sqlite3.Row
            return dict(connection.execute("SELECT * FROM decisions WHERE id = ?", (decision,)).fetchone())

    def series(self) -> dict[str, float]:
        return series(self.http.get("/metrics").text)

    def until(self, name: str, value: float) -> dict[str, float]:
        """The series once this one has this value: whoever counts does so when the answer is out."""
        deadline = time.monotonic() + 10
        while (found := self.series()).get(name) != value:
            assert time.monotonic() < deadline, (name, found.get(name), value)
            time.sleep(0.005)
        return found

    def put(self, name: str, content: str | bytes) -> None:
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.replace(self.folder / name)


@contextmanager
def deciding(folder: Path, text: str = FILE, files: Mapping[str, str | bytes] | None = None) -> Iterator[Deciding]:
    """
    Args:
        folder: empty; gets routes.yaml, the store and the live policy, which favours `small`.
        text: routes.yaml.
        files: by name, what stands beside it.
    """
    words = Words()
    with serving(build_simulator(pace=0)) as upstream:
        (folder / "live.npz").write_bytes(pack(policy_for("small")))
        for name, content in {"routes.yaml": text, **(files or {})}.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        source = ConfigSource(folder / "routes.yaml", {"SIM": upstream.url, "STORE": str(folder / "store.db")})
        app = build_app(source.load(), source=source, poll_s=0.02, load_model=lambda _: words)
        with serving(app) as served, httpx.Client(base_url=served.url, timeout=20) as http:
            try:
                yield Deciding(folder, http, words)
            finally:
                words.gate.set()
