"""What somebody else wrote into a store, whatever it is, is told in words, and the rest is looked at."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.config import Text
from proxy.embedding.shipped_model import minilm_name
from proxy.learning.fit import fit_policy
from proxy.learning.logged import DAMAGED
from proxy.learning.replay import DAMAGED as UNTOLD
from proxy.routing.policy_file import pack
from tests.learning.logs import log, write
from tests.learning.made import made

ROUTES = """
version: 1
upstreams: {up: {base_url: "http://127.0.0.1:1/v1"}}
models:
  small: {target: {upstream: up, name: s}, price: {input: 1, output: 2}}
  large: {target: {upstream: up, name: l}, price: {input: 5, output: 9}}
default: small
"""
COMMANDS = (
    ("train", "--out", "new.npz"),
    ("evaluate", "policy.npz"),
    ("replay", "--routes", "new.yaml"),
    ("report",),
    ("report", "--by", "day"),
)
FEEDBACK = "UPDATE feedback SET rating = "


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, a policy and a routes.yaml."""
    folder = tmp_path_factory.mktemp("sound")
    write(folder / "store.db", log(200))
    (folder / "policy.npz").write_bytes(pack(fit_policy(made(seed=50), embedder=minilm_name(Text().max_tokens))))
    (folder / "new.yaml").write_text(ROUTES)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        "propensity = 'much'", "propensity = 1e-300", "propensity = 0", "propensity = -1", "cost_usd = 'dear'",
        "cost_usd = 9e999", "prompt_tokens = 'many'", "vector = 'text'", "vector = 5", "time = 'noon'",
        "time = x'00'", "seconds = 'x'", "seconds = x'00'", "first_token_s = 'x'", "route = 5", "model = x'00'", "facts = x'ff'", "outcome = 3",
        "retry_of = 7", "predicted = 'x'", f"{FEEDBACK} 'good'", f"{FEEDBACK} 7",
    ],
)  # fmt: skip
def test_it_ends_no_command_without_a_word(
    change: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    statement = change if change.startswith(FEEDBACK) else f"UPDATE decisions SET {change}"
    with closing(sqlite3.connect("store.db")) as store, store:
        store.execute(f"{statement} WHERE rowid % 3 = 0")
    for command in COMMANDS:
        told = CliRunner().invoke(main, [*command, "--store", "sqlite:///store.db"])
        assert told.exception is None or isinstance(told.exception, SystemExit), (command, told.exception)
        assert told.exit_code in (0, 1, 2), command
        assert told.exit_code < 2 or told.stderr.strip(), command


@pytest.mark.parametrize("value", ["'up'", "x'01'", "7"])
def test_a_damaged_rating_is_left_out_and_counted_and_not_taken_for_a_bad_one(
    value: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def told(*command: str) -> dict[str, Any]:
        result = CliRunner().invoke(main, [*command, "--store", "sqlite:///store.db", "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    with closing(sqlite3.connect("store.db")) as store, store:
        third = "decision_id IN (SELECT id FROM decisions WHERE rowid % 3 = 0)"
        ((damaged, good),) = store.execute(f"SELECT count(*), sum(rating) FROM feedback WHERE {third}")
        ((count, best),) = store.execute("SELECT count(*), sum(rating) FROM feedback")
        store.execute(f"{FEEDBACK} {value} WHERE {third}")
        # A decision with a rating beside a damaged one keeps that.
        store.execute(f"INSERT INTO feedback SELECT id, 'judge', {value}, NULL, 0 FROM decisions WHERE rowid % 3 = 1")
        beside = store.execute("SELECT changes()").fetchone()[0]

    report = told("report")
    assert report["damaged_ratings"] == damaged + beside
    rating = report["total"]["rating"]
    assert (rating["rated"], rating["value"]) == (count - damaged, pytest.approx((best - good) / (count - damaged)))
    assert (
        f"left out: {damaged + beside} ratings, damaged"
        in CliRunner().invoke(main, ["report", "--store", "sqlite:///store.db"]).stdout
    )
    for command in (("evaluate", "policy.npz"), ("evaluate", "policy.npz", "--implicit")):
        found = told(*command)
        assert (found["rows"], found["left_out"]) == (count - damaged, {DAMAGED: damaged})
    assert told("replay", "--routes", "new.yaml")["untold"][UNTOLD] == damaged
