"""
`python -m bench.deciding`: what a decision costs beside the embedding, with every signal and many rules.

A file of 100 topics with 15 examples each and 50 rules, each on several conditions, is decided for one new request
after the other. No rule but the last holds, so all are asked, and all signals are computed. It is measured twice, in
turns: right after a run of the embedding model on the same core, untimed, which leaves nothing in the processor's
caches (cold), and without one (warm). A server that has little to do finds them cold as well. A policy's choice among
five models, which no rule here asks for, is timed beside that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from itertools import islice
from time import perf_counter
from typing import Any

import click
import msgspec
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from bench.client import percentile
from bench.prompts import texts
from proxy.cli.serve import tame_the_process
from proxy.config import parse_config
from proxy.embedding import DIMENSIONS, Vector
from proxy.embedding.shipped_model import minilm
from proxy.learning.condense import DIRECTIONS, MOST_CENTRES, MOST_REGIONS, PRIOR, SHARPNESS
from proxy.learning.grow import MOST_ROWS, grow
from proxy.reload.prepare import Prepared, prepare
from proxy.routing.arrays import Floats32
from proxy.routing.chat import read_chat
from proxy.routing.forest import Forest
from proxy.routing.inputs import LINEAR
from proxy.routing.neighbours import Neighbours
from proxy.routing.policy import STEPS, Policy, Regions
from proxy.routing.shape import SIZE, shape_of
from proxy.routing.signals import Signals

HEADERS = {"content-type": "application/json", "x-team": "search", "authorization": "Bearer nobody"}
Taken = dict[str, list[float]]
IN_A_TURN = 50
SETTLING = 5
STAGES = ("read", "rules without the text", "signals", "rules with the text", "all")
POLICY = "policy of 5 models"
MODELS = ("a", "b", "c", "d", "e")


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


def largest_policy(seed: int = 0) -> Policy:
    """A policy of five models as large as a training makes them, of chance numbers: they cost what others do."""
    random = np.random.default_rng(seed)

    def numbers(*shape: int) -> Floats32:
        return random.normal(0, 0.05, shape).astype(np.float32)

    count, near = len(MODELS), (numbers(DIMENSIONS, DIRECTIONS), numbers(DIRECTIONS), numbers(MOST_CENTRES, DIRECTIONS))
    neighbours = Neighbours(
        *near,
        sums=numbers(MOST_CENTRES, count),
        counts=np.full((MOST_CENTRES, count), 4.0, dtype=np.float32),
        sharpness=SHARPNESS,
        prior=PRIOR,
    )
    return Policy(
        models=MODELS,
        means=np.full(count, 0.5, dtype=np.float32),
        mean_costs=np.full(count, 0.001, dtype=np.float32),
        linear=numbers(LINEAR + 1, count),
        cost=numbers(LINEAR + 1, count),
        neighbours=neighbours,
        forest=_largest_forest(count, random),
        regions=Regions(numbers(MOST_REGIONS, DIRECTIONS), numbers(MOST_REGIONS, count), numbers(MOST_REGIONS, count)),
        blends=np.full((len(SHARPNESS) + 1, 2), 0.2, dtype=np.float32),
        prefer=np.tile(np.array([100.0, 0.0], dtype=np.float32), (STEPS, 1)),
        embedder="bench",
        seen=np.empty(0, dtype=np.int64),
        about={},
    )


def _largest_forest(models: int, random: np.random.Generator) -> Forest:
    numbers = random.normal(size=(MOST_ROWS, SIZE + DIRECTIONS + 1)).astype(np.float32)
    return grow(numbers, random.normal(0, 0.3, (MOST_ROWS, models)), np.ones((MOST_ROWS, models)), 0)


def choose(policy: Policy, embed: Callable[[str], Vector], prompts: Sequence[str], *, cold: bool) -> list[float]:
    """Seconds that the policy takes to choose, one for each prompt."""
    taken = []
    vectors = [embed(prompt) for prompt in prompts]
    for prompt, vector in zip(prompts, vectors, strict=True):
        if cold:
            embed(prompt)
        began = perf_counter()
        policy.choose(MODELS, 0.5, vector, 100, shape=shape_of(prompt))
        taken.append(perf_counter() - began)
    return taken


def decide(prepared: Prepared, embed: Callable[[str], Vector], prompts: Sequence[str], *, cold: bool) -> Taken:
    """Seconds by stage, one for each prompt."""
    taken = _nothing()
    vectors = [embed(prompt) for prompt in prompts]
    for prompt, vector in zip(prompts, vectors, strict=True):
        body = msgspec.json.encode({"model": "auto", "user": "u", "messages": [{"role": "user", "content": prompt}]})
        if cold:
            embed(prompt)
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
    config = parse_config(routes_file(topics, examples, rules), source="routes.yaml", environ=os.environ)
    embed = minilm(config.text.max_tokens).embed
    prepared, policy = prepare(config, embed), largest_policy()
    prompts = list(islice(texts(1), requests))
    taken = {"cold": _nothing(), "warm": _nothing()}
    for start in range(0, requests, IN_A_TURN):
        for name, times in taken.items():
            now = decide(prepared, embed, prompts[start : start + IN_A_TURN], cold=name == "cold")
            for stage in STAGES:
                # The first of each turn finds the caches as the other kind left them.
                times[stage] += now[stage][SETTLING:]
            chosen = choose(policy, embed, prompts[start : start + IN_A_TURN], cold=name == "cold")
            times[POLICY] += chosen[SETTLING:]
    found = {
        name: {stage: {f"p{p}": percentile(each, p) * 1000 for p in (50, 90, 99)} for stage, each in times.items()}
        for name, times in taken.items()
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table(title=f"{topics} topics of {examples} examples, {rules} rules; milliseconds")
    for heading in ("", "cold p50", "p90", "p99", "warm p50", "p90", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    for stage in (*STAGES, POLICY):
        table.add_row(stage, *(f"{figure:.3f}" for kind in found.values() for figure in kind[stage].values()))
    Console().print(table)


def _nothing() -> Taken:
    return {stage: [] for stage in (*STAGES, POLICY)}


if __name__ == "__main__":
    tame_the_process()  # not in `main`, which a test may call in a process that does other things as well
    main()
