"""A learned route through a server: without a policy, with one, with another, and with one that is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from proxy.app import build_app
from proxy.embedding.shipped_model import minilm
from proxy.learning.fit import fit_policy
from proxy.reload.source import ConfigSource
from proxy.routing.policy import Policy
from proxy.routing.policy_file import pack
from proxy.routing.shape import shape_of
from tests.learning.made import MODELS, made
from tests.serving import serving

FILE = """\
version: 1
policy: learned/policy.npz
upstreams: {one: {base_url: "http://127.0.0.1:9/v1"}}
models:
  small: {target: {upstream: one, name: s}, supports: []}
  large: {target: {upstream: one, name: l}}
  coder: {target: {upstream: one, name: c}}
default: small
routes: [{name: all, use: {learned: [small, large, coder], prefer: quality}}]
"""


@dataclass
class Served:
    """A server that watches its file, and the file of its policy."""

    policy: Path
    http: httpx.Client

    def route(self, text: str = "hello", **headers: str) -> httpx.Response:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/v1/route", json=body, headers=told)

    def versions(self) -> list[str]:
        lines = self.http.get("/metrics").text.splitlines()
        return [line.split('"')[1] for line in lines if line.startswith("pointsman_policy_info{")]

    def config(self) -> Any:
        return self.http.get("/readyz").json()["config"]

    def reloads(self, result: str) -> str:
        return self._metric(f'pointsman_config_reloads_total{{result="{result}"}}')

    def runs_on_its_files(self) -> bool:
        return self._metric("pointsman_config_last_reload_successful") == "1.0"

    def _metric(self, series: str) -> str:
        lines = self.http.get("/metrics").text.splitlines()
        (line,) = (line for line in lines if line.startswith(f"{series} "))
        return line.split()[-1]

    def put(self, content: bytes) -> None:
        """As `train` does: a new file in place of the old one."""
        put(self.policy, content)

    def write(self, text: str) -> None:
        """Another routes.yaml."""
        put(self.policy.parents[1] / "routes.yaml", text.encode())


BLOCKED = FILE.replace("routes: [", "routes: [{name: urgent, when: {text: {contains: secret}}, block: {}}, ")


@pytest.fixture(scope="module")
def learned() -> Policy:
    return fit_policy(made(), embedder=minilm(128).name())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    path = tmp_path / "routes.yaml"
    path.write_text(FILE)
    (tmp_path / "learned").mkdir()
    source = ConfigSource(path, {})
    with (
        serving(build_app(source.load(), source=source, poll_s=0.02)) as server,
        httpx.Client(base_url=server.url, timeout=10) as http,
    ):
        yield Served(tmp_path / "learned" / "policy.npz", http)


def put(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def until(holds: Callable[[], bool]) -> None:
    """The reload has its own thread; nobody tells when it is done but the metrics."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_policy_that_comes_later_decides_from_then_on(served: Served, learned: Policy) -> None:
    first: dict[str, Any] = served.route().json()
    assert (first["model"], first["reason"], served.versions()) == ("small", "rule", ["none"])
    assert "there is no policy yet" in first["note"]
    assert {each["quality"] for each in first["candidates"]} == {None}

    before = served.config()
    served.put(pack(learned))
    until(lambda: "none" not in served.versions())
    assert served.config() == before, "which says the same as it did"
    told = served.route().json()
    assert (told["reason"], told["note"]) == ("learned", None)
    assert told["candidates"][0]["model"] == told["model"]
    assert {each["model"] for each in told["candidates"]} == set(MODELS)
    best = max(told["candidates"], key=lambda each: each["score"])
    assert best["model"] == told["model"]
    assert all(0 <= each["quality"] <= 1 and each["cost_usd"] > 0 for each in told["candidates"])

    thought = learned.choose(MODELS, 1.0, minilm(128).embed("hello"), told["tokens"], shape=shape_of("hello"))
    exactly = {each.model: (each.quality, each.score) for each in thought.candidates}
    for each in told["candidates"]:
        assert (each["quality"], each["score"]) == pytest.approx(exactly[each["model"]], abs=1e-6)

    cheapest = served.route(x_pointsman_prefer="0").json()
    assert cheapest["model"] == MODELS[made().cheapest]
    refused = served.route(x_pointsman_prefer="most")
    assert refused.status_code == 400
    assert "x-pointsman-prefer" in refused.json()["error"]["message"]


def test_the_log_says_that_there_is_no_policy_at_a_start_and_after_a_reload(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    def told(phase: Literal["setup", "call"]) -> list[str | None]:
        records = [record for record in caplog.get_records(phase) if record.getMessage() == "no policy yet"]
        return [record.__dict__.get("path") for record in records]

    assert told("setup") == [str(served.policy)]
    served.write(FILE.replace("policy: learned/policy.npz\n", ""))
    until(lambda: told("call") == [None])
    served.write(FILE.replace("policy.npz", "next.npz"))
    until(lambda: told("call") == [None, str(served.policy.with_name("next.npz"))])


def test_a_file_that_cannot_be_used_leaves_the_policy_as_it_is(served: Served, learned: Policy) -> None:
    served.put(pack(learned))
    until(lambda: served.versions() != ["none"])
    in_use = served.versions()
    for number, content in enumerate((pack(learned)[:1000], pack(replace(learned, embedder="another"))), start=1):
        served.put(content)
        until(lambda number=number: served.reloads("invalid") == f"{number}.0")  # type: ignore[misc]
        assert served.versions() == in_use
        assert served.route().json()["reason"] == "learned"
    served.policy.unlink()
    until(lambda: served.reloads("invalid") == "3.0")
    assert served.versions() == in_use, "that it is gone is an accident: routes.yaml still names it"


def test_while_its_file_is_gone_the_policy_serves_on_and_other_changes_are_taken_up(
    served: Served, learned: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    served.put(pack(learned))
    until(lambda: served.versions() != ["none"])
    in_use = served.versions()
    served.policy.unlink()
    until(lambda: served.reloads("invalid") == "1.0")

    served.write(BLOCKED)
    until(lambda: served.reloads("ok") == "2.0")
    assert served.route("a secret").json()["route"] == "urgent"
    assert not served.runs_on_its_files(), "a process that starts now has no policy"
    assert (served.versions(), served.route().json()["reason"]) == (in_use, "learned")
    (said,) = [record for record in caplog.records if record.getMessage().startswith("policy file is gone")]
    assert (said.__dict__["path"], said.__dict__["version"]) == (str(served.policy), in_use[0])

    served.write(FILE.replace("large, coder]", "large, other]").replace("  coder:", "  other:"))
    until(lambda: served.reloads("invalid") == "2.0")
    served.write(FILE.replace("policy.npz", "next.npz"))
    until(lambda: served.reloads("invalid") == "3.0")
    failed = [record.__dict__["problems"] for record in caplog.records if "reload failed" in record.getMessage()]
    assert "'other'" in failed[1][0], "it does not know that model"
    assert "next.npz: is not there" in failed[2][0], "the policy in use is of another file"
    assert served.versions() == in_use

    served.put(pack(learned))
    served.write(BLOCKED)
    until(lambda: served.reloads("unchanged") == "1.0")
    assert served.runs_on_its_files()
