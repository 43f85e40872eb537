"""The topics' measurement reads labelled rows, keeps what is shown apart from what is measured, and prints both ways."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench import policy
from bench.topics import Measured, main, read, small_files, table
from proxy.embedding import MiniLM
from proxy.shipped import shipped

TEXTS = {
    "code": ["Write a Python function", "Fix this bug", "Refactor this class", "My loop crashes", "Sort a list in C"],
    "weather": ["Will it rain?", "How hot is Madrid?", "Is a storm coming?", "Do I need a coat?", "Snow tomorrow?"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    rows = [
        {
            "text": text,
            "label": label,
            "split": "valid" if number > 2 else "train",
            "few5": number < 2,
            "few10": number < 3,
        }
        for label, texts in TEXTS.items()
        for number, text in enumerate(texts)
    ]
    rows.append({"text": "Who was the first emperor of Rome?", "label": "oos", "split": "train"})
    with gzip.open(folder / "clinc150.jsonl.gz", "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path) -> list[dict[str, Any]]:
    """What the command prints as JSON."""
    result = CliRunner().invoke(main, [str(folder), "--json"], catch_exceptions=False)
    found: list[dict[str, Any]] = json.loads(result.output)
    return found


def test_each_fit_is_measured_on_the_rest(measured: list[dict[str, Any]]) -> None:
    found = {one["name"]: one for one in measured}
    assert [one["examples"] for one in found.values()][:2] == [4, 6]
    assert found["clinc150 train"]["examples"] == 6
    assert found["clinc150 few10"]["accuracy"] == 1.0
    assert all(0 <= one["accepted"] <= one["accuracy"] <= 1 for one in found.values())
    assert all(set(one["fallen"]) <= {"oos", "other topics"} for one in found.values())


def test_the_table_has_a_line_for_each(measured: list[dict[str, Any]]) -> None:
    console = Console(record=True, file=io.StringIO(), width=150)
    console.print(table([Measured(**one) for one in measured]))
    shown = console.export_text()
    for words in ("clinc150 few5", "clinc150 train", "oos"):
        assert words in shown


@pytest.mark.parametrize("command", [main, policy.main], ids=["topics", "policy"])
def test_a_folder_without_a_file_is_a_mistake(command: click.Command, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(tmp_path)])
    assert (done.exit_code, done.output) == (1, f"Error: none of the files that --help names is in {tmp_path}.\n")


def test_small_files_are_the_same_for_the_same_seed(folder: Path) -> None:
    data = read(folder / "clinc150.jsonl.gz", MiniLM(shipped("models/all-MiniLM-L6-v2")))
    once, again = (small_files("x", data, (2, 2), count=3, seed=4) for _ in range(2))
    assert (once.accuracy, once.passes, once.fallen["oos"]) == (again.accuracy, again.passes, again.fallen["oos"])
