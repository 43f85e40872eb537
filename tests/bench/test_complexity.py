"""The figures of complexity: right areas, from a folder of labelled texts."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.complexity import LABELS, area, main, show


@pytest.mark.parametrize(
    ("simple", "complex_", "expected"),
    [
        pytest.param([1, 2], [3, 4], 1.0, id="apart"),
        pytest.param([3, 4], [1, 2], 0.0, id="the-wrong-way-round"),
        pytest.param([1, 1], [1], 0.5, id="a-tie-counts-half"),
        pytest.param([1, 3], [2, 4], 0.75, id="three-pairs-of-four"),
    ],
)
def test_the_area_is_the_share_of_pairs_in_order(simple: list[int], complex_: list[int], expected: float) -> None:
    assert area(np.array(simple, dtype=float), np.array(complex_, dtype=float)) == expected


def test_a_folder_of_labelled_texts_gives_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.complexity.SAMPLES", 2)  # fits for each row of means, which are not looked at
    texts = {"simple": "Name a colour", "medium": "Explain how a fridge works", "complex": "Prove Fermat's theorem"}
    lines = [json.dumps({"text": texts[label], "label": label, "source": "own"}) for label in LABELS]
    (tmp_path / "complexity.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))

    done = CliRunner().invoke(main, [str(tmp_path), "--json"], catch_exceptions=False)
    result = json.loads(done.output)
    assert result["auc"]["as shipped"] == {"own": 1.0}
    assert result["auc"]["length"] == {"own": 1.0}
    assert result["median_score"]["simple"]["own"] < 0.5 < result["median_score"]["complex"]["own"]

    console = Console(record=True, file=io.StringIO())
    show(result, console)
    assert "as shipped" in console.export_text()


def test_a_folder_without_the_file_is_a_mistake(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert (done.exit_code, done.output) == (1, f"Error: {tmp_path / 'complexity.jsonl.gz'} is not there.\n")


def test_without_a_folder_there_is_nothing_to_do() -> None:
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 2
    assert "--write" in done.output
