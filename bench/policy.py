"""
`python -m bench.policy FOLDER`: how well learned policies choose, on rated requests in a folder of your own.

The folder holds `NAME.jsonl.gz` files of `{"prompt", "scores": {model: 0..1}, "costs"?: {model: USD}}`; a file that is
missing is left out. Every figure is cross-validated, with everything about a policy chosen inside the training folds
and the best single model too. Pairs are measured as RouteLLM does (Ong et al., 2024), beside three controls: the
length of the prompt, the mean gain in the prompt's domain on the other folds (where the file has domains), and a
shuffled prediction.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from proxy.cli.progress import loading_bar
from proxy.embedding import MiniLM, Vector
from proxy.learning.held_out import HeldOut, cross_fit
from proxy.learning.measures import bootstrap, calibration_error, figures, interval, outcomes, pair
from proxy.learning.preparing import rows_of
from proxy.learning.rated import Floats, Rows, folds_of
from proxy.learning.reading import read_rated
from proxy.reload.loading import loaders
from proxy.shipped import shipped

POOLS: Mapping[str, tuple[str, str]] = {
    "mmlupro A8": (
        "mmlupro",
        "gemini-1.5-pro-002,gemini-1.5-flash-002,Meta-Llama-3_1-70B-Instruct,Meta-Llama-3_1-8B-Instruct,mathstral-7B,"
        "Mixtral-8x7B-Instruct-v0.1,Qwen1.5-72B-Chat,c4ai-command-r-v01",
    ),
    "mmlupro B8": (
        "mmlupro",
        "Meta-Llama-3_1-8B-Instruct,mathstral-7B,Phi-3-mini-4k-instruct,Mixtral-8x7B-Instruct-v0.1,Qwen1.5-72B-Chat,"
        "Qwen1.5-110B,Yi-34B,jamba-1.5-large",
    ),
    "zeroeval P10": (
        "zeroeval",
        "gpt-4o-2024-08-06,gpt-4o-mini-2024-07-18,gpt-3.5-turbo-0125,claude-3-5-sonnet-20241022,"
        "claude-3-5-haiku-20241022,claude-3-haiku-20240307,gemini-1.5-pro,gemini-1.5-flash,Mistral-Large-2,"
        "Meta-Llama-3.1-8B-Instruct",
    ),
    "routerbench 11": ("routerbench_subset", ""),
}
PAIRS: Mapping[str, tuple[str, str]] = {
    "mmlu": ("mmlu", ""),
    "gsm8k": ("gsm8k", ""),
    "zeroeval gpt-4o/4o-mini": ("zeroeval", "gpt-4o-2024-08-06,gpt-4o-mini-2024-07-18"),
    "mmlupro gemini pro/flash": ("mmlupro", "gemini-1.5-pro-002,gemini-1.5-flash-002"),
    "mmlupro llama 70B/8B": ("mmlupro", "Meta-Llama-3_1-70B-Instruct,Meta-Llama-3_1-8B-Instruct"),
    "routerbench gpt-4/mixtral": ("routerbench_subset", "gpt-4-1106-preview,mistralai/mixtral-8x7b-chat"),
}


@dataclass(frozen=True)
class Data:
    """One file's requests for one set of models."""

    rows: Rows
    tokens: Floats
    domains: Sequence[str]


def read(path: Path, models: str, model: MiniLM, cache_dir: Path | None) -> Data:
    """A file, embedded."""
    found = read_rated(path, models=tuple(filter(None, models.split(","))))

    def embed(texts: Sequence[str]) -> Mapping[str, Vector]:
        with loading_bar() as bar:
            return loaders(model, cache_dir, bar)[0].vectors(texts, threads=2).vectors

    with gzip.open(path, "rt", encoding="utf-8") as lines:
        domains = [str(json.loads(line).get("domain")) for line in lines]
    rows = rows_of(found.rows, found.models, embed)
    tokens = np.array([one.tokens for one in found.rows])
    return Data(rows, tokens, domains if len(domains) == len(rows) else [])


def pool(name: str, data: Data, seed: int) -> dict[str, Any]:
    """The figures of one pool."""
    began = time.perf_counter()
    held = cross_fit(data.rows, embedder="bench", seed=seed)
    seconds = time.perf_counter() - began
    found = outcomes(held)
    own, drawn = figures(found), figures(found, bootstrap(data.rows.groups, seed))
    return {
        "pool": name,
        "rows": len(data.rows),
        "single": data.rows.models[data.rows.single],
        "single_quality": float(own.single),
        "single_cost": 1000 * float(own.single_cost),
        "above_single": float(own.quality[-1] - own.single),
        "above_single_interval": interval(drawn.quality[-1] - drawn.single),
        "best_above_single": float(own.quality.max() - own.single),
        "balanced": [float(own.quality[50] / own.single), float(1 - own.cost[50] / own.single_cost)],
        "saved_100": float(own.saved_at(1.0)),
        "saved_100_interval": interval(drawn.saved_at(1.0)),
        "saved_95": float(own.saved_at(0.95)),
        "saved_95_interval": interval(drawn.saved_at(0.95)),
        "gain": float(own.gain),
        "calibration_error": calibration_error(held.quality, data.rows.scores),
        "seconds": seconds,
    }


def two(name: str, data: Data, seed: int) -> dict[str, Any]:
    """The figures of one pair, with its controls."""
    held = cross_fit(data.rows, embedder="bench", seed=seed)
    strong = data.rows.single
    weak = 1 - strong
    own = pair(held, strong, weak)
    draws = []
    random = np.random.default_rng(seed)
    for _ in range(100):
        which = random.integers(0, len(data.rows), len(data.rows))
        draws.append(pair(held.take(which), strong, weak).apgr)
    shuffled = [pair(held, strong, weak, random.permutation(len(data.rows)).astype(float)).apgr for _ in range(20)]
    return {
        "pair": name,
        "rows": len(data.rows),
        "apgr": own.apgr,
        "interval": interval(np.array(draws)),
        "cpt50": own.cpt50,
        "cpt80": own.cpt80,
        "length": pair(held, strong, weak, data.tokens).apgr,
        "domain": pair(held, strong, weak, _by_domain(held, data.domains, strong, weak, seed)).apgr,
        "shuffled": float(np.mean(shuffled)),
        "calibration_error": calibration_error(held.quality, data.rows.scores),
    }


def _by_domain(held: HeldOut, domains: Sequence[str], strong: int, weak: int, seed: int) -> Floats:
    """The mean gain in a row's domain on the other folds: what a router gains that knows the true domain."""
    gains = held.rows.scores[:, strong] - held.rows.scores[:, weak]
    if not domains:
        return np.zeros(len(gains))
    names = np.array(domains)
    folds = folds_of(held.rows.groups, 5, seed + 1)
    found = np.full(len(gains), float(gains.mean()))
    for fold in range(5):
        for name in np.unique(names):
            others = gains[(folds != fold) & (names == name)]
            if len(others):
                found[(folds == fold) & (names == name)] = others.mean()
    return found


def measure(folder: Path, seeds: int, cache_dir: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    model = MiniLM(shipped("models/all-MiniLM-L6-v2"))
    for kind, wanted in (("pool", POOLS), ("pair", PAIRS)):
        for name, (file, models) in wanted.items():
            path = folder / f"{file}.jsonl.gz"
            if path.is_file():
                data = read(path, models, model, cache_dir)
                for seed in range(seeds):
                    yield kind, (pool if kind == "pool" else two)(name, data, seed)


def tables(found: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[Table]:
    def percent(value: float, between: Sequence[float] | None = None) -> str:
        beside = "" if between is None else f" ({100 * max(between[0], 0):.0f}-{100 * between[1]:.0f})"
        return "never" if np.isnan(value) else f"{100 * value:.1f}{beside}"

    shown = Table(
        "pool", "best single", "USD/1,000", "best quality, points above", "balanced: quality, saved",
        "saved % at 100%", "at 95%", "gain", "calibration", "s", title="Pools; 90% intervals",
    )  # fmt: skip
    for kind, each in found:
        if kind == "pool":
            low, high = each["above_single_interval"]
            shown.add_row(
                each["pool"],
                f"{each['single_quality']:.4f}",
                f"{each['single_cost']:.3f}",
                f"{100 * each['above_single']:+.2f} ({100 * low:+.1f} to {100 * high:+.1f})",
                f"{100 * each['balanced'][0]:.1f}%, {100 * each['balanced'][1]:.0f}%",
                percent(each["saved_100"], each["saved_100_interval"]),
                percent(each["saved_95"], each["saved_95_interval"]),
                f"{100 * each['gain']:.2f}",
                f"{each['calibration_error']:.3f}",
                f"{each['seconds']:.0f}",
            )
    yield shown
    shown = Table(
        "pair", "APGR", "CPT(50)", "CPT(80)", "length", "true domain", "shuffled", "calibration", title="Pairs"
    )
    for kind, each in found:
        if kind == "pair":
            low, high = each["interval"]
            shares = (f"{100 * each['cpt50']:.1f}%", f"{100 * each['cpt80']:.1f}%")
            others = [f"{each[name]:.3f}" for name in ("length", "domain", "shuffled", "calibration_error")]
            shown.add_row(each["pair"], f"{each['apgr']:.3f} ({low:.3f} to {high:.3f})", *shares, *others)
    yield shown


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How often, each on new folds.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Keep the prompts' vectors here.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, as they come.")
def main(folder: Path, seeds: int, cache_dir: Path | None, as_json: bool) -> None:
    found = []
    with threadpool_limits(limits=1, user_api="blas"):
        for kind, each in measure(folder, seeds, cache_dir):
            found.append((kind, each))
            if as_json:
                click.echo(json.dumps(each))
    if not as_json:
        for table in tables(found):
            Console(width=170).print(table)


if __name__ == "__main__":
    main()
