"""The loop of learning on simulated users: traffic, ratings in the store, training, and less regret."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from click.testing import CliRunner

from proxy.app import build_app
from proxy.cli import main
from proxy.reload.source import ConfigSource
from proxy.simulator import Qualities, build_simulator
from tests.serving import serving

NAMES = {"small": "gpt-4o-mini", "large": "gpt-4o", "reasoner": "o3-mini"}
FILE = """\
version: 1
policy: policy.npz
store: {{url: "sqlite:///{folder}/pointsman.db", text: true}}
upstreams: {{openai: {{base_url: "{url}/openai/v1"}}}}
models:
  small: {{target: {{upstream: openai, name: gpt-4o-mini}}, price: {{input: 0.15, output: 0.60}}}}
  large: {{target: {{upstream: openai, name: gpt-4o}}, price: {{input: 2.50, output: 10.00}}}}
  reasoner: {{target: {{upstream: openai, name: o3-mini}}, price: {{input: 1.10, output: 4.40}}}}
default: small
routes: [{{name: all, use: {{learned: [small, large, reasoner], prefer: quality}}}}]
"""
REQUESTS, SEED = 120, 7


class Demo(NamedTuple):
    """A server with a learned route on simulated upstreams, its store, and where it looks for a policy."""

    folder: Path
    url: str

    def traffic(self, *options: object) -> dict[str, Any]:
        """So many requests, whose prompts are others than those that are rated for training."""
        return run("traffic", "--url", self.url, "--requests", REQUESTS, "--seed", SEED, "--json", *options)

    def policy(self) -> str:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("pointsman_policy_info{"))


def run(*arguments: object) -> dict[str, Any]:
    told = CliRunner().invoke(main, [str(each) for each in arguments])
    assert told.exit_code == 0, told.output
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    with serving(build_simulator()) as upstreams:  # at its own pace, which traffic asks it to give up
        (folder / "routes.yaml").write_text(FILE.format(folder=folder, url=upstreams.url))
        source = ConfigSource(folder / "routes.yaml", {})
        with serving(build_app(source.load(), source=source, poll_s=0.02)) as served:
            yield Demo(folder, served.url)


@pytest.fixture(scope="module")
def before(demo: Demo) -> dict[str, Any]:
    """Traffic without a policy."""
    return demo.traffic("--rate-share", 0.75, "--sources", 5)


def test_traffic_is_rated_truly_and_kept_with_its_decisions(demo: Demo, before: dict[str, Any]) -> None:
    accepted = before["ratings"]["accepted"]
    assert (before["requests"], before["errors"], before["ratings"]["refused"]) == (REQUESTS, {}, 0)
    assert 0.6 * REQUESTS < accepted < 0.9 * REQUESTS
    with closing(sqlite3.connect(demo.folder / "pointsman.db")) as store:
        rows = store.execute(
            "SELECT route, model, text, cost_usd, source, rating, key_hash FROM decisions JOIN feedback ON id = decision_id"
        ).fetchall()
    assert len(rows) == accepted
    qualities = Qualities()
    for route, model, text, cost, source, rating, key in rows:
        assert (route, model, source[:5]) == ("all", "small", "user-")
        assert rating == qualities.is_right(NAMES[model], text)
        assert cost > 0
        assert key is not None
    assert {source for *_, source, _, _ in rows} == {f"user-{number}" for number in range(1, 6)}
    assert len({key for *_, key in rows}) == 5
    assert before["cost_usd"] >= sum(cost for _, _, _, cost, *_ in rows) * 0.999


def test_what_is_learned_lowers_the_regret(demo: Demo, before: dict[str, Any], tmp_path: Path) -> None:
    rated = tmp_path / "rated.jsonl"
    told = run(
        "traffic", "--rated", rated, "-c", demo.folder / "routes.yaml", "--requests", 160, "--seed", SEED, "--json"
    )  # fmt: skip
    assert (told["requests"], told["models"]) == (160, list(NAMES))
    trained = run("train", rated, "--out", demo.folder / "policy.npz", "--folds", 2, "--json")
    assert trained["single"] == "large"
    assert trained["settings"]["quality"]["above_single"] > 0.03

    deadline = time.monotonic() + 20
    while demo.policy() != trained["version"]:  # the reload has its own thread
        assert time.monotonic() < deadline
        time.sleep(0.01)
    after = demo.traffic("--rate-share", 0)
    assert (after["oracle"], after["best_single"]) == (before["oracle"], before["best_single"]), "the same prompts"
    assert after["ratings"] == {"accepted": 0, "refused": 0}
    assert [each["share"] for each in before["models"]] == [1, 0, 0]
    assert after["regret"] < 0.05 < before["regret"] - 0.15
    assert after["quality"] > after["best_single"]["quality"] + 0.02
