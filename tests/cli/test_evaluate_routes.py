"""`pointsman evaluate routes.yaml`: a whole file on rated requests, and on decisions that another one made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proxy.config import Text
from proxy.learning.stored_facts import kept
from proxy.routing.asks import Asks
from proxy.routing.chat import prompt_body, read_chat
from tests.cli.test_train import lines, run
from tests.cli.test_train import write as write_lines
from tests.learning.logs import changed, log, write

BEGIN = """
version: 1
upstreams: {sim: {base_url: "http://127.0.0.1:1/v1"}}
models:
  small: {target: {upstream: sim, name: s}}
  large: {target: {upstream: sim, name: l}, context: 1000}
  coder: {target: {upstream: sim, name: c}}
  other: {target: {upstream: sim, name: o}}
default: large
routes:
"""
BY_WORD = """
  - {name: zero, when: {text: {contains: kind zero}}, use: small}
  - {name: one, when: {text: {contains: kind one}}, use: coder}
  - {name: strange, when: {text: {contains: strange}}, use: other}
  - {name: never, when: {text: {contains: forbidden}}, block: {status: 403, message: no}}
"""
BY_HEADER = "  - {name: inside, when: {header: {x-inside: 'yes'}}, use: small}\n"


def routes(folder: Path, rules: str, more: str = "") -> Path:
    file = folder / "routes.yaml"
    file.write_text(BEGIN + rules + more)
    return file


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Requests whose words tell their kind, of which `made` says who is good at it."""
    rows: list[Any] = lines(200)
    for number, row in enumerate(rows):
        row["prompt"] = f"{number}: kind {'one' if row['vector'][0] > 0 else 'zero'}"
    told = [
        row | {"prompt": f"{number} {word}"}
        for number, (row, word) in enumerate(
            zip(rows[:6], ["strange"] * 3 + ["forbidden"] * 2 + ["x " * 9000], strict=True)
        )
    ]
    told.append({name: value for name, value in rows[7].items() if name != "prompt"})
    return write_lines(tmp_path / "rated.jsonl", [*rows, *told])


def test_a_whole_file_is_measured_on_rated_requests(rated: Path, tmp_path: Path) -> None:
    told = run("evaluate", routes(tmp_path, BY_WORD), rated, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    rows = [json.loads(line) for line in rated.read_text().splitlines()]
    own = [row["scores"]["coder" if row["vector"][0] > 0 else "small"] for row in rows[:200]]
    assert (found["rows"], found["not_rated"]) == (200, 3)
    assert found["untold"] == {"a route blocks it": 2, "no model can serve it": 1, "no prompt, only a vector": 1}
    assert found["quality"] == pytest.approx(np.mean(own), abs=1e-4)
    assert found["interval"][0] < found["quality"] < found["interval"][1]
    assert found["single"] == "large"
    assert found["single_quality"] == pytest.approx(np.mean([row["scores"]["large"] for row in rows[:200]]), abs=1e-4)
    assert found["cost"] < found["single_cost"] / 5
    assert found["above_random_mix"] > 0.1
    assert {(each["route"], *each["models"]) for each in found["routes"]} == {("zero", "small"), ("one", "coder")}
    assert sum(each["rows"] for each in found["routes"]) == 200
    shown = run("evaluate", routes(tmp_path, BY_WORD), rated).stdout
    assert "large alone" in shown
    assert "left out: 2, a route blocks it" in shown


def test_models_that_nobody_rated(rated: Path, tmp_path: Path) -> None:
    told = run("evaluate", routes(tmp_path, "  - {name: all, use: other}\n"), rated)
    assert told.exit_code == 2
    assert "they go to 'other', and it rates 'small', 'large', 'coder'" in told.stderr


@pytest.mark.parametrize(
    ("names", "rules", "said"),
    [
        pytest.param(
            ("small", "coder"),
            "  - {name: even, when: {text: {matches: '[02468]:'}}, use: small}\n  - {name: odd, use: coder}\n",
            "scores of the model that it goes to, of 'coder', the best single one, and of 'small', the cheapest",
            id="one-model-each",
        ),
        pytest.param(
            ("small", "large"), "  - {name: even, when: {text: {matches: '[13579]:'}}, use: small}\n",
            "a score of the model that it goes to", id="never-that-one",
        ),
    ],
)  # fmt: skip
def test_scores_of_one_model_each_compare_nothing(
    names: tuple[str, str], rules: str, said: str, tmp_path: Path
) -> None:
    """As an export of what a server decided has them."""
    rows = [
        {"prompt": f"{number}: which?", "scores": {name: number % 2}, "costs": {name: usd}, "propensity": 0.5}
        for number in range(30)
        for name, usd in [(names[number % 2], 0.001 + 0.004 * (number % 2))]
    ]
    told = run("evaluate", routes(tmp_path, rules), write_lines(tmp_path / "rated.jsonl", rows))
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"rated.jsonl: no request has {said}" in told.stderr
    assert told.stderr.endswith("so there is nothing to compare\n")


def stored(folder: Path, *, text: bool) -> str:
    """Decisions with what rules could ask for; those of a header that a rule asks about in a part of them only."""
    decisions = []
    for at, (one, rating) in enumerate(log(180)):
        assert one.vector is not None
        said = f"kind {'one' if one.vector[0] > 0 else 'zero'}"
        facts = read_chat(prompt_body(said), {})
        asks = Asks(headers=("x-inside",)) if at >= 60 else Asks()
        kept_facts = kept(facts, asks, Text())
        decisions += changed([(one, rating)], facts=kept_facts, text=said if text else None)
    return write(folder / "store.db", decisions)


def test_a_whole_file_is_measured_on_what_another_decided(tmp_path: Path) -> None:
    url = stored(tmp_path, text=True)
    told = run("evaluate", routes(tmp_path, BY_WORD), "--store", url, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    assert (found["rows"], found["untold"], found["enough"]) == (180, {}, True)
    assert found["quality"]["low"] < 0.9 < found["quality"]["high"]
    assert found["over_logged"]["low"] > 0
    assert found["cost"] < found["logged"]["cost"]
    assert {(each["route"], *each["models"]) for each in found["routes"]} == {("zero", "small"), ("one", "coder")}
    for each in found["routes"]:
        own = [rating for one, rating in log(180) if (one.vector[0] > 0) == (each["route"] == "one")]  # type: ignore[index]
        assert each["logged"]["quality"]["value"] == pytest.approx(np.mean(own), abs=1e-4), "of its own requests"
    assert found["explores"] is False
    curious = BY_WORD + "  - {name: rest, use: {learned: [small, large], explore: 0.1}}\n"
    told = run("evaluate", routes(tmp_path, curious), "--store", url)
    assert "what it would explore is left out" in told.stdout


def test_the_store_may_be_that_of_another_file(tmp_path: Path) -> None:
    url = stored(tmp_path, text=True)
    new, in_use = routes(tmp_path, BY_WORD), tmp_path / "in_use.yaml"
    in_use.write_text(BEGIN + BY_HEADER + f"store: '{url}'\n")
    told = [run("evaluate", new, *of_store, "--json") for of_store in (("--store", "-c", in_use), ("--store", url))]
    assert (told[0].exit_code, told[0].stderr) == (0, "")
    assert told[0].stdout == told[1].stdout
    told = [run("evaluate", new, *options) for options in (("--store",), ("--store", "-c", new))]
    assert [each.exit_code for each in told] == [2, 2]
    assert all("names no 'store'" in each.stderr for each in told)
    assert "--store without a URL" in run("evaluate", new, "--store", url, "-c", in_use).stderr
    # Its texts and vectors are those of the last words alone.
    new.write_text(new.read_text() + "text: {turns: 4}\n")
    told_off = run("evaluate", new, "--store", "-c", in_use)
    assert (told_off.exit_code, told_off.stdout) == (2, "")
    assert "its `text` is not that of" in told_off.stderr


def test_what_is_not_stored_is_not_guessed(tmp_path: Path) -> None:
    url = stored(tmp_path, text=False)
    told = run("evaluate", routes(tmp_path, BY_HEADER), "--store", url)
    assert (told.exit_code, told.stderr) == (0, "")
    assert "left out: 60, not stored: header x-inside" in told.stdout
    found = json.loads(run("evaluate", routes(tmp_path, BY_HEADER), "--store", url, "--json").stdout)
    of_those = [rating for _, rating in log(180)[60:]]
    assert found["logged"]["quality"]["value"] == pytest.approx(np.mean(of_those), abs=1e-4), "of the others' ratings"
    told = run("evaluate", routes(tmp_path, BY_WORD, "policy: p.npz\n"), "--store", url)
    assert told.exit_code == 2
    assert "p.npz: no such file; learned routes take the first of their models" in told.stderr
    assert "none of its decisions can be decided anew: not stored: the text (180)" in told.stderr


def test_a_model_that_was_never_drawn_is_not_guessed_either(tmp_path: Path) -> None:
    url = stored(tmp_path, text=True)
    told = run("evaluate", routes(tmp_path, "  - {name: all, use: other}\n"), "--store", url)
    assert told.exit_code == 2
    assert "goes to a model that was never drawn in its route ('other')" in told.stderr
