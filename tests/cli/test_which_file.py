"""Which routing file a command takes: `-c`, POINTSMAN_CONFIG, or the one in the working folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.embedding.shipped_model import minilm_name
from proxy.learning.fit import fit_policy
from proxy.routing.policy_file import pack
from tests.cli.test_commands import pointsman
from tests.learning.made import made
from tests.routing.requests import BASE


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files, each with a store that is not there, and a policy."""
    monkeypatch.chdir(tmp_path)
    for name in ("routes", "named", "given"):
        Path(f"{name}.yaml").write_text(f"{BASE}store: sqlite:///of-{name}.db\n")
    Path("policy.npz").write_bytes(pack(fit_policy(made(60), embedder=minilm_name(128))))


@pytest.mark.parametrize(
    "command",
    [
        ["report"],
        ["reset-corrections"],
        ["train", "--store", "--out", "new.npz"],
        ["evaluate", "policy.npz", "--store"],
        ["replay", "--policy", "policy.npz"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_needs_one_finds_it_in_one_way(command: list[str]) -> None:
    environ = {"POINTSMAN_CONFIG": "named.yaml"}
    ways = {
        "of-routes.db": pointsman(*command),
        "of-named.db": pointsman(*command, environ=environ),
        "of-given.db": pointsman(*command, "-c", "given.yaml", environ=environ),
    }
    for store, told in ways.items():
        assert told.exit_code in (1, 2)
        assert store in told.stderr, told.output


def test_a_command_that_can_do_without_does_not_take_the_one_that_happens_to_be_here() -> None:
    Path("routes.yaml").write_text("rutes: []\n")
    Path("rated.jsonl").write_text('{"prompt": "hi", "scores": {"small": 1, "large": 0}}\n')
    of_store = ["train", "--store", "sqlite:///x.db", "--out", "new.npz"]
    for command in (["train", "rated.jsonl", "--out", "new.npz"], of_store, ["evaluate", "policy.npz", "rated.jsonl"]):
        assert "rutes" not in pointsman(*command).output
        told = pointsman(*command, environ={"POINTSMAN_CONFIG": "routes.yaml"})
        assert (told.exit_code, "routes.yaml:1:1 rutes: unknown key" in told.stderr) == (2, True), told.output


def test_a_whole_file_is_evaluated_without_another() -> None:
    environ = {"POINTSMAN_CONFIG": "none.yaml"}
    assert pointsman("evaluate", "given.yaml", "rated.jsonl", environ=environ).stderr.startswith("rated.jsonl: ")
    of_url = pointsman("evaluate", "given.yaml", "--store", "sqlite:///of-url.db", environ=environ)
    assert of_url.stderr.startswith("store: sqlite:///of-url.db: no such file")
    assert "of-given.db" in pointsman("evaluate", "given.yaml", "--store").stderr, "its own"
    assert "none.yaml: no such file" in pointsman("evaluate", "given.yaml", "--store", environ=environ).stderr
