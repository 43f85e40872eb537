"""
`python -m bench.complexity FOLDER`: how well complexity tells complex requests from simple ones.

FOLDER holds `complexity.jsonl.gz` with rows of `{"text", "label", "source"}`: the label is `simple`, `medium` or
`complex`, and each source, by whatever name, is a column of figures. Its texts are only scored: nothing is fitted on
them or kept. The figure is the area under the ROC curve: how often a complex text scores above a simple one.
`--write` fits the built-in references anew and writes the file that comes with the package.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from proxy.embedding import MiniLM, Vectors, last_layer
from proxy.routing.complexity import Complexity
from proxy.routing.complexity_references import (
    FITTED,
    MAX_TOKENS,
    built_in_complexity,
    built_in_references,
    fitted_file,
)
from proxy.routing.probe import fit_probe
from proxy.shipped import shipped

Floats = NDArray[np.float64]

FILE = "complexity.jsonl.gz"
LABELS = ("simple", "medium", "complex")
SAMPLES = 20
"""How often a few references are drawn from all; the rows that show what fewer do are the means."""


@dataclass(frozen=True)
class Texts:
    """One source's texts."""

    vectors: Vectors
    lengths: Floats
    """In characters."""
    labels: Sequence[str]

    def auc(self, scores: Floats) -> float:
        """Complex against simple; what is in between stays out."""
        labels = np.array(self.labels)
        return area(scores[labels == "simple"], scores[labels == "complex"])


@dataclass(frozen=True)
class References:
    """The built-in references, embedded."""

    simple: Vectors
    complex: Vectors
    lengths: Sequence[int]

    @classmethod
    def built_in(cls, model: MiniLM) -> References:
        simple, complex_ = built_in_references()
        lengths = [len(text) for text in simple + complex_]
        return cls(model.embed_all(simple), model.embed_all(complex_), lengths)

    def fit(self) -> Complexity:
        """As they come with the package."""
        return Complexity.fit(self.simple, self.complex, self.lengths)

    def few(self, count: int, seed: int) -> References:
        """So many of each kind."""
        draw = np.random.default_rng(seed)
        a, b = (draw.permutation(len(rows))[:count] for rows in (self.simple, self.complex))
        lengths = [self.lengths[row] for row in (*a, *(b + len(self.simple)))]
        return References(self.simple[a], self.complex[b], lengths)


def area(simple: Floats, complex_: Floats) -> float:
    """The share of pairs in which the complex text has the higher score; a tie counts half."""
    ordered = np.sort(simple)
    below = np.searchsorted(ordered, complex_, side="left")
    not_above = np.searchsorted(ordered, complex_, side="right")
    return float((below + not_above).mean() / (2 * len(simple)))


Scorer = Callable[[Vectors], Floats]


def along(complexity: Complexity) -> Scorer:
    """Scores as the product gives them."""
    return lambda vectors: np.array([complexity.score(vector) for vector in vectors])


def variants(references: References) -> dict[str, Scorer]:
    """What else was tried, by its name; none of them sees the texts that are scored."""
    both = references.complex.mean(axis=0) - references.simple.mean(axis=0)
    simple, complex_ = (last_layer(rows.astype(np.float64)) for rows in (references.simple, references.complex))
    vectors = np.concatenate([simple, complex_])
    labels = np.repeat([0, 1], [len(simple), len(complex_)])
    weights = fit_probe(vectors, labels, 2).weights
    logistic = weights[:, 1] - weights[:, 0]
    means = complex_.mean(axis=0) - simple.mean(axis=0)

    def nearest(texts: Vectors) -> Floats:
        best = [np.sort(last_layer(texts) @ rows.T, axis=1)[:, -10:].mean(axis=1) for rows in (simple, complex_)]
        return np.asarray(best[1] - best[0])

    return {
        "length left in": along(Complexity.fit(references.simple, references.complex)),
        "difference of the means": lambda texts: np.asarray(last_layer(texts) @ means),
        "difference of the means, third layer too": lambda texts: np.asarray(texts @ both),
        "logistic regression": lambda texts: np.asarray(last_layer(texts) @ logistic),
        "ten nearest references": nearest,
    }


def areas(sources: dict[str, Texts], references: References) -> dict[str, dict[str, float]]:
    """By what scored, then by source."""
    scored = {"as shipped": along(built_in_complexity()), **variants(references)}
    rows = {"length": {name: texts.auc(texts.lengths) for name, texts in sources.items()}}
    rows |= {
        row: {name: texts.auc(score(texts.vectors)) for name, texts in sources.items()} for row, score in scored.items()
    }
    for count in (100, 40, 10, 2):
        drawn = [along(references.few(count, seed).fit()) for seed in range(SAMPLES)]
        rows[f"{count} of each kind"] = {
            name: float(np.mean([texts.auc(score(texts.vectors)) for score in drawn]))
            for name, texts in sources.items()
        }
    return rows


def medians(sources: dict[str, Texts]) -> dict[str, dict[str, float]]:
    """The shipped score in the middle of each label, by label, then by source."""
    score = along(built_in_complexity())
    scores = {name: score(texts.vectors) for name, texts in sources.items()}
    return {
        label: {
            name: float(np.median(scores[name][np.array(texts.labels) == label])) for name, texts in sources.items()
        }
        for label in LABELS
    }


def read(folder: Path, model: MiniLM) -> dict[str, Texts]:
    """The texts by source."""
    with gzip.open(folder / FILE, "rt", encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    by_source: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    return {
        source: Texts(
            model.embed_all(row["text"] for row in own),
            np.array([len(row["text"]) for row in own], dtype=np.float64),
            [row["label"] for row in own],
        )
        for source, own in by_source.items()
    }


def table(title: str, rows: dict[str, dict[str, float]]) -> Table:
    """One line for each row, one column for each source."""
    shown = Table("", *next(iter(rows.values())), title=title)
    for name, values in rows.items():
        shown.add_row(name, *(f"{value:.3f}" for value in values.values()))
    return shown


def show(result: dict[str, dict[str, dict[str, float]]], console: Console) -> None:
    """What `--json` prints, as tables."""
    console.print(table("Complex against simple, area under the curve", result["auc"]))
    console.print(table("Median score", result["median_score"]))


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--write", is_flag=True, help="Fit the built-in references anew and write their file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(folder: Path | None, write: bool, as_json: bool) -> None:
    if folder is None and not write:
        raise click.UsageError("name the folder of the evaluation data, or give --write")
    if folder is not None and not (folder / FILE).is_file():
        raise click.ClickException(f"{folder / FILE} is not there.")
    home = shipped("models/all-MiniLM-L6-v2")
    model = MiniLM(home, max_tokens=MAX_TOKENS)
    references = References.built_in(model)
    if write:
        FITTED.write_text(fitted_file(references.fit(), home / "model.onnx"), encoding="utf-8")
    if folder is None:
        return
    sources = read(folder, model)
    result = {"auc": areas(sources, references), "median_score": medians(sources)}
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        show(result, Console())


if __name__ == "__main__":
    main()
