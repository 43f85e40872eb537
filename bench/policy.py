"""
`python -m bench.policy FOLDER`: how well learned policies choose, on public evaluations whose answers were scored.

FOLDER holds `mmlupro.jsonl.gz` (MMLU-Pro), `zeroeval.jsonl.gz` (ZeroEval), `routerbench_subset.jsonl.gz` (RouterBench),
`mmlu.jsonl.gz` and `gsm8k.jsonl.gz` (MMLU and GSM8K, two models each), or some of them, with rows of `{"prompt",
"scores": {model: 0..1}, "costs"?: {model: USD}, "domain"?}`, the models named as in bench/policy.py. Rated requests of
your own are measured by `pointsman train`.

Every figure is cross-validated, with everything about a policy chosen inside the training folds and the best single
model too. On the same folds stand two controls. One is the plain method, ridge and the hundred nearest texts averaged
over the vectors of the last layer, costs at their means; it gets whichever weight of a dollar turns out best, which a
policy has to know beforehand. The other knows the true domain of each request and nothing else (where the file has
domains). Pairs are measured as RouteLLM does (Ong et al., 2024), beside the same two, the length of the prompt, and a
shuffled prediction.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from proxy.cli.progress import loading_bar
from proxy.embedding import LAST_LAYER, MiniLM, Vector
from proxy.learning.domains import by_domain
from proxy.learning.held_out import Decided, HeldOut, by_folds, cross_fit
from proxy.learning.linear import apply, fit_ridges
from proxy.learning.measures import bootstrap, calibration_error, figures, interval, outcomes, pair
from proxy.learning.prefer import pick, weights_of
from proxy.learning.preparing import rows_of
from proxy.learning.reading import read_rated
from proxy.learning.training_rows import Rows
from proxy.reload.loading import loaders
from proxy.routing.arrays import Bools, Floats
from proxy.routing.policy import STEPS, Outlook
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


NEAREST = 100
PLAIN_STRENGTH = 30.0
"""Of 1, 3, 10 and 30 the one with which the plain method does best."""


@dataclass(frozen=True)
class Data:
    """One file's requests for one set of models."""

    rows: Rows
    tokens: Floats
    domains: Sequence[str]
    """Empty where the file has none."""


def read(path: Path, models: str, model: MiniLM, cache_dir: Path | None) -> Data:
    """A file, embedded."""
    found = read_rated(path, models=tuple(filter(None, models.split(","))))

    def embed(texts: Sequence[str]) -> Mapping[str, Vector]:
        with loading_bar() as bar:
            return loaders(model, cache_dir, bar)[0].vectors(texts, threads=2).vectors

    rows = rows_of(found.rows, found.models, embed)
    tokens = np.array([one.tokens for one in found.rows])
    domains = [one.domain for one in found.rows]
    return Data(rows, tokens, domains if any(domains) else [])


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
        "plain": _swept(plain(data.rows, seed)),
        "domain": None if (knowing := _knowing(data, seed)) is None else _swept(knowing),
    }


def plain(rows: Rows, seed: int) -> HeldOut:
    """Ridge and the nearest texts, averaged; it knows no steps of `prefer`, and picks the first model at each."""
    vectors = rows.inputs[:, :LAST_LAYER] / np.linalg.norm(rows.inputs[:, :LAST_LAYER], axis=1, keepdims=True)
    scores = np.where(np.isfinite(rows.scores), rows.scores, rows.means)

    def decide(inside: Bools, outside: Bools) -> Decided:
        (ridge,) = fit_ridges(vectors[inside], scores[inside], np.ones_like(scores[inside]), (PLAIN_STRENGTH,))
        near = np.argpartition(-(vectors[outside] @ vectors[inside].T), NEAREST, axis=1)[:, :NEAREST]
        quality = (apply(ridge, vectors[outside]) + scores[inside][near].mean(axis=1)) / 2
        cost = np.broadcast_to(rows.take(inside).mean_costs, quality.shape)
        return quality, cost, np.zeros((STEPS, len(quality)), dtype=np.int64)

    return by_folds(rows, decide, seed=seed)


def _knowing(data: Data, seed: int) -> HeldOut | None:
    return by_domain(data.rows, data.domains, seed=seed) if len(data.domains) else None


def _swept(held: HeldOut) -> dict[str, float]:
    """A control's figures over all weights of a dollar, looked at afterwards."""
    outlook = Outlook(held.quality.astype(np.float32), held.cost.astype(np.float32))
    picks = [pick(outlook, weight, 0.0, 0) for weight in weights_of(outlook).tolist()]
    own = figures(outcomes(replace(held, picks=np.stack(picks))))
    return {
        "best_above_single": float(own.quality.max() - own.single),
        "saved_100": float(own.saved_at(1.0)),
        "saved_95": float(own.saved_at(0.95)),
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
    knowing = _knowing(data, seed)
    by_label = math.nan if knowing is None else pair(knowing, strong, weak).apgr
    shuffled = [pair(held, strong, weak, random.permutation(len(data.rows)).astype(float)).apgr for _ in range(20)]
    return {
        "pair": name,
        "rows": len(data.rows),
        "apgr": own.apgr,
        "interval": interval(np.array(draws)),
        "cpt50": own.cpt50,
        "cpt80": own.cpt80,
        "length": pair(held, strong, weak, data.tokens).apgr,
        "plain": pair(plain(data.rows, seed), strong, weak).apgr,
        "domain": by_label,
        "shuffled": float(np.mean(shuffled)),
        "calibration_error": calibration_error(held.quality, data.rows.scores),
    }


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
        beside = "" if between is None else f" ({100 * np.fmax(between[0], 0):.0f}-{100 * between[1]:.0f})"
        return "never" if np.isnan(value) else f"{100 * value:.1f}{beside}"

    def control(own: Mapping[str, float] | None) -> str:
        if own is None:
            return "-"
        return f"{100 * own['best_above_single']:+.2f}, {percent(own['saved_100'])}, {percent(own['saved_95'])}"

    shown = Table(
        "pool", "best single", "USD/1,000", "best quality, points above", "balanced: quality, saved",
        "saved % at 100%", "at 95%", "plain method", "true domain", "calibration", "s",
        title="Pools; 90% intervals; controls: points above, saved at 100% and at 95%",
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
                *(control(each[name]) for name in ("plain", "domain")),
                f"{each['calibration_error']:.3f}",
                f"{each['seconds']:.0f}",
            )
    yield shown
    shown = Table(
        "pair", "APGR", "CPT(50)", "CPT(80)", "length", "plain method", "true domain", "shuffled", "calibration",
        title="Pairs",
    )  # fmt: skip
    for kind, each in found:
        if kind == "pair":
            low, high = each["interval"]
            shares = (f"{100 * each['cpt50']:.1f}%", f"{100 * each['cpt80']:.1f}%")
            others = [
                "-" if math.isnan(each[name]) else f"{each[name]:.3f}"
                for name in ("length", "plain", "domain", "shuffled", "calibration_error")
            ]
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
    if not found:
        raise click.ClickException(f"none of the files that --help names is in {folder}.")
    if not as_json:
        for table in tables(found):
            Console(width=170).print(table)


if __name__ == "__main__":
    main()
