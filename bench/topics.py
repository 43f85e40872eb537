"""
`python -m bench.topics FOLDER`: how well topics are recognised, on public sets of labelled texts.

FOLDER holds `banking77.jsonl.gz`, `clinc150.jsonl.gz`, `hwu64.jsonl.gz` and `banking77_oos.jsonl.gz`, or some of them,
with rows of `{"text", "label"}`. In the first three `"few5": true` and `"few10": true` mark the few-shot samples of the
literature (Zhang et al., Few-shot intent detection via contrastive pre-training, EMNLP 2021). `oos` is the label of
what is out of scope (Larson et al., EMNLP 2019), of an `"oos_kind"` where there are several; a file that has such texts
says by `"split"` which others are for the fit (`train`) and which for measuring (`valid`). Nothing is tuned here, and
no out-of-scope text is shown to a fit.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.client import percentile
from proxy.embedding import MiniLM, Vectors
from proxy.routing.topics import Topics, spoken
from proxy.shipped import shipped

__all__ = ["Data", "Measured", "few_shot", "main", "measure", "out_of_scope", "read", "small_files"]

Ints = NDArray[np.int64]
FEW_SHOT = ("banking77", "clinc150", "hwu64")
SMALL_FILES = 60
FOREIGN = 100


@dataclass(frozen=True)
class Data:
    """One file, embedded. The label of a row out of scope is -1."""

    rows: Sequence[dict[str, Any]]
    vectors: Vectors
    labels: Ints
    names: Vectors

    def marked(self, key: str) -> NDArray[np.bool_]:
        """In-scope rows where `key` is true."""
        return self.where(key, True)

    def where(self, key: str, value: object) -> NDArray[np.bool_]:
        """In-scope rows of that value."""
        return np.array([row.get(key) == value for row in self.rows]) & (self.labels >= 0)

    @cached_property
    def in_scope(self) -> NDArray[np.bool_]:
        return np.asarray(self.labels >= 0)


@dataclass(frozen=True)
class Measured:
    """One fit. Shares are 0 to 1, None where there was nothing to measure on."""

    name: str
    topics: int
    examples: int
    accuracy: float
    """Of in-scope texts, those whose best topic is theirs."""
    accepted: float
    """Of in-scope texts, those whose best topic is theirs and passes."""
    passes: float
    fallen: dict[str, float]
    """By kind of foreign text: the share that passes no topic."""
    fit_s: float
    decision_ms: float
    """The median of `Topics.scores`."""


def read(path: Path, model: MiniLM) -> Data:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    names = sorted({row["label"] for row in rows} - {"oos"})
    index = {name: number for number, name in enumerate(names)}
    labels = np.array([index.get(row["label"], -1) for row in rows])
    vectors = model.embed_all(row["text"] for row in rows)
    return Data(rows, vectors, labels, model.embed_all(spoken(name) for name in names))


def measure(
    name: str, examples: dict[str, Vectors], names: Vectors, texts: Vectors, labels: Ints, foreign: dict[str, Vectors]
) -> Measured:
    """Fit on `examples`; look at `texts`, whose topics are `labels`, and at `foreign` ones by kind."""
    began = time.perf_counter()
    topics = Topics.fit(examples, names)
    fit_s = time.perf_counter() - began
    taken: list[float] = []
    right = passed = accepted = 0
    for vector, label in zip(texts, labels.tolist(), strict=True):
        began = time.perf_counter()
        found = topics.scores(vector)
        taken.append(time.perf_counter() - began)
        right += found.best_index == label
        passed += found.passes
        accepted += found.best_index == label and found.passes
    fallen = {
        kind: float(np.mean([not topics.scores(one).passes for one in rows]))
        for kind, rows in foreign.items()
        if len(rows)
    }
    shown, count = sum(len(rows) for rows in examples.values()), len(texts)
    median_ms = percentile(taken, 50) * 1000
    return Measured(name, len(names), shown, right / count, accepted / count, passed / count, fallen, fit_s, median_ms)


def by_topic(data: Data, chosen: NDArray[np.bool_]) -> dict[str, Vectors]:
    return {str(index): data.vectors[chosen & (data.labels == index)] for index in range(len(data.names))}


def few_shot(name: str, data: Data) -> Iterator[Measured]:
    """Fit on the few-shot samples; measure on all other in-scope rows."""
    for key in ("few5", "few10"):
        chosen = data.marked(key)
        rest = data.in_scope & ~chosen
        foreign = {} if data.in_scope.all() else {"oos": data.vectors[~data.in_scope]}
        yield measure(
            f"{name} {key}", by_topic(data, chosen), data.names, data.vectors[rest], data.labels[rest], foreign
        )


def out_of_scope(name: str, data: Data) -> Measured:
    """Fit on the training part; measure on the validation part and on what is out of scope, of either part."""
    kinds = np.array([row.get("oos_kind") or "oos" for row in data.rows])
    foreign = {str(kind): data.vectors[~data.in_scope & (kinds == kind)] for kind in np.unique(kinds[~data.in_scope])}
    rest = data.where("split", "valid")
    examples = by_topic(data, data.where("split", "train"))
    return measure(f"{name} train", examples, data.names, data.vectors[rest], data.labels[rest], foreign)


def small_files(name: str, data: Data, topics: tuple[int, int], count: int = SMALL_FILES, seed: int = 0) -> Measured:
    """The mean over files as people write them: a few topics, 3 to 8 examples each; all other topics are foreign."""
    random = np.random.default_rng(seed)
    each: list[Measured] = []
    for _ in range(count):
        chosen = random.permutation(len(data.names))[: random.integers(topics[0], topics[1] + 1)]
        examples: dict[str, Vectors] = {}
        texts: list[int] = []
        labels: list[int] = []
        for index, label in enumerate(chosen):
            rows = random.permutation(np.flatnonzero(data.labels == label))
            shown = min(int(random.integers(3, 9)), len(rows) // 2)
            examples[str(index)] = data.vectors[rows[:shown]]
            texts += rows[shown : shown + 20].tolist()
            labels += [index] * len(rows[shown : shown + 20])
        other = random.permutation(np.flatnonzero(~np.isin(data.labels, chosen) & data.in_scope))[:FOREIGN]
        foreign = {"other topics": data.vectors[other]}
        if not data.in_scope.all():
            foreign["oos"] = data.vectors[random.permutation(np.flatnonzero(~data.in_scope))[:FOREIGN]]
        each.append(measure("", examples, data.names[chosen], data.vectors[texts], np.array(labels), foreign))

    def mean(key: str) -> float:
        return float(np.mean([getattr(one, key) for one in each]))

    return Measured(
        f"{name}, files of {topics[0]} to {topics[1]} topics",
        round(mean("topics")),
        round(mean("examples")),
        mean("accuracy"),
        mean("accepted"),
        mean("passes"),
        {kind: float(np.mean([one.fallen[kind] for one in each])) for kind in each[0].fallen},
        mean("fit_s"),
        mean("decision_ms"),
    )


def measure_all(folder: Path, model: MiniLM) -> Iterator[Measured]:
    for name in (*FEW_SHOT, "banking77_oos"):
        path = folder / f"{name}.jsonl.gz"
        if not path.is_file():
            continue
        data = read(path, model)
        if name in FEW_SHOT:
            yield from few_shot(name, data)
            yield small_files(name, data, (2, 6))
            yield small_files(name, data, (7, 12))
        if not data.in_scope.all():
            yield out_of_scope(name, data)


def table(measured: Sequence[Measured]) -> Table:
    columns = ("", "topics", "examples", "accuracy %", "right and passes %", "passes %", "falls through %")
    shown = Table(*columns, "fit, s", "decision, ms")
    for one in measured:
        shares = [f"{100 * share:.2f}" for share in (one.accuracy, one.accepted, one.passes)]
        fallen = ", ".join(f"{kind} {100 * share:.1f}" for kind, share in one.fallen.items())
        times = (f"{one.fit_s:.2f}", f"{one.decision_ms:.3f}")
        shown.add_row(one.name, str(one.topics), str(one.examples), *shares, fallen, *times)
    return shown


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(folder: Path, as_json: bool) -> None:
    measured = list(measure_all(folder, MiniLM(shipped("models/all-MiniLM-L6-v2"))))
    if not measured:
        raise click.ClickException(f"none of the files that --help names is in {folder}.")
    if as_json:
        click.echo(json.dumps([asdict(one) for one in measured], indent=2))
    else:
        Console(width=150).print(table(measured))


if __name__ == "__main__":
    main()
