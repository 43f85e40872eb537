"""The demo, its users on good and bad days, and a Prometheus that watches them: what a picture is taken of."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from proxy.shipped import shipped
from proxy.simulator.prompts import Prompt, draw_prompts
from tests.deploy.prometheus import PROMETHEUS, Prometheus, prometheus

NO_LIMITS = httpx.Limits(max_connections=None)
_EXTRA = """\
  - {name: extracts, when: {header: {x-team: data}}, use: local}
  - name: trial
    when: {header: {x-trial: "*"}}
    use: {split: {large: 50, learned: 50}, learned: [small, large, reasoner], prefer: balanced}
  - {name: everyday, use: {learned: [small, large, reasoner], prefer: balanced, explore: 0.1}}
"""
# The starter file, with what else a dashboard shows: a second upstream, learned routes, an experiment, a shadow.
_EDITS = (
    ("\n# What may answer.", "\n  gpu: {base_url: http://gpu.example/v1}\n\n# What may answer."),
    ("\n# Requested names", "  local: {target: {upstream: gpu, name: llama-3-8b}, price: {input: 0.05, output: 0.1},"
     " fallbacks: [small]}\n\n# Requested names"),
    ("default: small", "default: small\npolicy: live.npz\nshadow: {policy: next.npz}\ncorrections: {every: 5s}"),
    ("topic: [writing, knowledge, smalltalk]", "topic: smalltalk"),
    ("\n# `pointsman check`", f"{_EXTRA}\n# `pointsman check`"),
)  # fmt: skip


@contextmanager
def watched(folder: Path, seconds: float) -> Iterator[Prometheus]:
    """
    A Prometheus that has seen so many seconds of the demo, which goes on.

    Args:
        folder: empty.
    """
    text = shipped("routes.yaml").read_text(encoding="utf-8")
    for old, new in _EDITS:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "routes.yaml").write_text(text[: text.index("tests:\n")], encoding="utf-8")
    for seed, policy in enumerate(("live.npz", "next.npz")):
        models = ("-c", str(shipped("routes.yaml")))
        _run(folder, "traffic", "--rated", "rated.jsonl", "--requests", "500", "--seed", str(seed), *models)
        _run(folder, "train", "rated.jsonl", "--out", policy, *models)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "prometheus").mkdir()
    command = (sys.executable, "-m", "proxy", "serve", "--demo", "--port", str(port), "--log-level", "warning")
    process = subprocess.Popen(command, cwd=folder)
    try:
        with prometheus(folder / "prometheus", [port], PROMETHEUS / "alerts.yaml") as found:
            found.until(lambda: found.query("pointsman_build_info"), "no scrape")
            asyncio.run(_users(f"http://127.0.0.1:{port}", seconds))
            yield found
    finally:
        process.terminate()
        process.wait()


def _run(folder: Path, *command: str) -> None:
    subprocess.run((sys.executable, "-m", "proxy", *command), cwd=folder, check=True, stdout=subprocess.DEVNULL)


async def _users(url: str, seconds: float) -> None:
    """Two to ten requests a second, which come and go in waves; in the second half reasoner's upstream has trouble."""
    draw, begun = random.Random(1), time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=NO_LIMITS) as http, asyncio.TaskGroup() as tasks:
        for prompt in draw_prompts(int(seconds) * 20, 1):
            passed = (time.monotonic() - begun) / seconds
            if passed > 1:
                break
            tasks.create_task(_ask(http, prompt, random.Random(prompt.text), is_bad=0.55 < passed < 0.75))
            await asyncio.sleep(draw.expovariate(6 + 4 * math.sin(passed * 14)))


async def _ask(http: httpx.AsyncClient, prompt: Prompt, draw: random.Random, *, is_bad: bool) -> None:
    headers = {}
    day = draw.random()
    if is_bad and day < 0.7:
        headers = {"x-simulate-status": "503", "x-simulate-only": "o3-mini"}
    elif day < 0.015:
        headers = {"x-simulate-status": draw.choice(("500", "503", "400"))}
    elif day < 0.5:
        headers = {"x-simulate-cached-tokens": "12"}
    kind = draw.random()
    if kind < 0.12:
        headers["x-team"] = "data"
    elif kind < 0.35:
        headers["x-trial"] = "1"
    elif kind < 0.4:
        headers["x-priority"] = "high"
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": prompt.text}]}
    if draw.random() < 0.8:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        async with asyncio.timeout(0.8 if draw.random() < 0.03 else 60):  # some leave
            answer = await http.post("/v1/chat/completions", json=body, headers=headers)
    except TimeoutError:
        return
    if answer.status_code == 200 and draw.random() < 0.5:
        rating = int(answer.headers.get("x-simulated-right", 0))
        await http.post("/v1/feedback", json={"id": answer.headers["x-pointsman-id"], "rating": rating})
