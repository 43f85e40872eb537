"""What the page is shown on: the starter file on simulated upstreams, with a store and a learned route; and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from proxy.app import build_app
from proxy.config import Config, parse_config
from proxy.embedding import MiniLM
from proxy.embedding.shipped_model import minilm
from proxy.learning.fit import fit_policy
from proxy.learning.training_rows import Rows
from proxy.routing.inputs import inputs_of
from proxy.routing.policy_file import pack
from proxy.routing.shape import shape_of
from proxy.server.protocol import Protocol
from proxy.shipped import shipped
from proxy.simulator import build_simulator
from tests.serving import serving

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
LONG = "urgent-" + "as-somebody-who-names-things-by-a-program-would-call-it" * 2

_MODELS = ("small", "large", "reasoner")
_CHANCES = {"code": (0.35, 0.9, 0.8), "reasoning": (0.25, 0.7, 0.95)}
_OTHERS = (0.85, 0.9, 0.6)
_FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """A running Pointsman and where it keeps what it keeps."""

    url: str
    store: Path


def has_chromium() -> bool:
    return shutil.which(CHROMIUM) is not None


@contextmanager
def browser() -> Iterator[Browser]:
    """The machine's own Chromium; nothing is downloaded."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, chromium_sandbox=False, args=_FLAGS
        )
        try:
            yield opened
        finally:
            opened.close()


def routes(upstream: str, *, store: Path, policy: Path | None) -> str:
    """The starter file with what the page shows besides, and with a hostile text wherever one may stand."""
    text = shipped("routes.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("https://api.openai.com/v1", f"{upstream}/openai/v1"),
        ("sqlite:///pointsman.db", f"sqlite:///{store}"),
        ("default: small", f"default: small\npolicy: {policy}" if policy else "default: small"),
        ("- name: urgent", f"- name: {LONG}"),
        ("name: o3-mini", f"name: 'o3-mini {HOSTILE.replace(chr(39), chr(39) * 2)}'"),
        ("      - tell me a joke\n", "      - tell me a joke\n      - " + "'" + HOSTILE.replace("'", "''") + "'\n"),
        ("topic: [writing, knowledge, smalltalk]", "topic: [writing, smalltalk]"),
        (
            "\n# `pointsman check`",
            "  - name: everyday\n    use: {learned: [small, large], prefer: balanced}\n\n# `pointsman check`",
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text[: text.index("tests:\n")]


@contextmanager
def pointsman(folder: Path, *, is_plain: bool = False, pace: float = 0) -> Iterator[World]:
    """Run it; `is_plain` without hostile texts."""
    model = minilm(128)
    with serving(build_simulator(pace=pace)) as upstream:
        policy = folder / "policy.npz"
        policy.write_bytes(pack(fit_policy(_rated(model), embedder=model.name())))
        text = routes(upstream.url, store=folder / "decisions.db", policy=policy)
        if is_plain:
            text = text.replace(LONG, "urgent").replace(f" {HOSTILE.replace(chr(39), chr(39) * 2)}", "")
            text = "".join(line for line in text.splitlines(keepends=True) if "onerror" not in line)
        with serving(build(text, model), http=Protocol) as served:
            yield World(served.url, folder / "decisions.db")


def build(text: str, model: MiniLM) -> object:
    def load(config: Config) -> MiniLM:
        return model

    return build_app(parse_config(text, source="routes.yaml", environ={}), load_model=load)


def _rated(model: MiniLM) -> Rows:
    """The starter's examples, of which large is good at code, reasoner at reasoning and small at all else."""
    config = parse_config(shipped("routes.yaml").read_text(encoding="utf-8"), source="routes.yaml", environ={})
    pairs = [(text, name) for name, topic in config.topics.items() for text in topic.examples] * 2
    known = {text: model.embed(text) for text, _ in pairs}
    random = np.random.default_rng(0)
    scores = (random.random((len(pairs), 3)) < [_CHANCES.get(name, _OTHERS) for _, name in pairs]).astype(np.float64)
    costs = np.tile([0.0002, 0.004, 0.002], (len(pairs), 1))
    shapes = np.stack([shape_of(text) for text, _ in pairs])
    tokens = np.array([len(text) // 4 for text, _ in pairs])
    inputs = inputs_of(np.stack([known[text] for text, _ in pairs]), tokens, shapes)
    return Rows(_MODELS, inputs, scores, costs, np.ones_like(scores), np.arange(len(pairs)))
