"""
`python -m bench.deciding`: what a decision costs beside the embedding, with every signal and many rules.

A file of 100 topics with 15 examples each and 50 rules, each on several conditions, is decided for one new request
after the other. No rule but the last holds, so all are asked, and all signals are computed. Before each decision the
embedding model runs on the text, untimed: that is what leaves the processor's caches as a server finds them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import islice
from time import perf_counter
from typing import Any

import click
import msgspec
import yaml
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench.client import percentile
from bench.prompts import texts
from proxy.app import load_minilm
from proxy.config import parse_config
from proxy.reload.prepare import Prepared, prepare
from proxy.routing.facts import read_chat
from proxy.routing.signals import Signals

HEADERS = {"content-type": "application/json", "x-team": "search", "authorization": "Bearer nobody"}
STAGES = ("read", "rules without the text", "signals", "rules with the text", "all")


def routes_file(topics: int, examples: int, rules: int) -> str:
    """A routes.yaml of that size; the last rule holds for every request."""
    words = texts(0)
    routes = [{"name": f"rule-{n}", "use": "large", "when": _when(n, topics)} for n in range(rules - 1)]
    file: dict[str, Any] = {
        "version": 1,
        "upstreams": {"one": {"base_url": "http://127.0.0.1:9/v1"}},
        "models": {
            name: {"target": {"upstream": "one", "name": name}, "context": 128000, "fallbacks": fallbacks}
            for name, fallbacks in (("small", ["large"]), ("large", []))
        },
        "default": "small",
        "topics": {f"topic-{n}": {"examples": list(islice(words, examples))} for n in range(topics)},
        "routes": [*routes, {"name": "last", "when": {"complexity": {"min": 0, "max": 1}}, "use": "small"}],
    }
    return yaml.safe_dump(file, sort_keys=False)


def _when(n: int, topics: int) -> dict[str, Any]:
    """Conditions of six kinds in turn, which no request here meets, but only the whole of each says so."""
    kinds: tuple[dict[str, Any], ...] = (
        {"topic": [f"topic-{n % topics}", f"topic-{(n + 7) % topics}"], "complexity": {"min": 0.999}},
        {"text": {"matches": f"(?i)\\bnever-{n}\\b"}, "has": ["stream"]},
        {"header": {"x-team": f"other-{n}*"}, "tokens": {"max": 100_000}},
        {"any": [{"metadata": {"tier": f"t{n}"}}, {"user": f"u{n}-*"}, {"model": f"m{n}-*"}]},
        {"not": {"complexity": {"min": 0}}, "turns": {"min": 1}, "user": ["u", f"u{n}"]},
        {"all": [{"text": {"contains": [f"nowhere {n}", f"never {n}"]}}, {"topic": f"topic-{n % topics}"}]},
    )
    return kinds[n % len(kinds)]


def decide(prepared: Prepared, prompts: Sequence[str]) -> dict[str, list[float]]:
    """Seconds by stage, one for each prompt."""
    taken: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for prompt in prompts:
        body = msgspec.json.encode({"model": "auto", "user": "u", "messages": [{"role": "user", "content": prompt}]})
        vector = prepared.texts.embed(prompt)
        times = [perf_counter()]
        facts = read_chat(body, HEADERS)
        times.append(perf_counter())
        undecided = prepared.router.decide(facts, Signals())
        times.append(perf_counter())
        signals = Signals.of(vector, prepared.topics, prepared.complexity)
        times.append(perf_counter())
        decision = prepared.router.decide(facts, signals)
        times.append(perf_counter())
        assert undecided is None
        assert decision is not None
        assert decision.route == "last"
        for stage, begin, end in zip(STAGES, [*times[:-1], times[0]], [*times[1:], times[-1]], strict=True):
            taken[stage].append(end - begin)
    return taken


@click.command(help=__doc__)
@click.option("--topics", type=click.IntRange(min=8), default=100, show_default=True)
@click.option("--examples", type=click.IntRange(min=1), default=15, show_default=True, help="Of each topic.")
@click.option("--rules", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--requests", type=click.IntRange(min=10), default=1000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, in milliseconds.")
def main(topics: int, examples: int, rules: int, requests: int, as_json: bool) -> None:
    threadpool_limits(limits=1, user_api="blas")  # as `pointsman serve` does
    config = parse_config(routes_file(topics, examples, rules), source="routes.yaml", environ=os.environ)
    prepared = prepare(config, load_minilm(config).embed)
    prompts = list(islice(texts(1), requests))
    decide(prepared, prompts[: requests // 10])  # the first ones load code
    taken = decide(prepared, prompts[requests // 10 :])
    found = {stage: {f"p{p}": percentile(times, p) * 1000 for p in (50, 90, 99)} for stage, times in taken.items()}
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table(title=f"{topics} topics of {examples} examples, {rules} rules; milliseconds")
    for heading in ("", "p50", "p90", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    for stage, figures in found.items():
        table.add_row(stage, *(f"{figure:.3f}" for figure in figures.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
