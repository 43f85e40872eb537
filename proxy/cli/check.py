"""`pointsman check`: is this routes.yaml right, and does it route as its tests say?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from proxy.cli import topic_advice
from proxy.cli.advice import advice
from proxy.cli.options import cache_dir_option, config_option, load_or_exit
from proxy.cli.prompt import PromptRouter
from proxy.cli.showing import console, table
from proxy.config import Config


@click.command(short_help="Validate routes.yaml, run its tests, and give advice.")
@config_option
@cache_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@click.option("--thorough", is_flag=True, help="Look for overlapping topics in a file of very many examples too.")
def check(config_path: Path, cache_dir: Path | None, as_json: bool, thorough: bool) -> None:
    """
    Validate routes.yaml, run its tests, and say what could be better.

    Exit code 0: right. 1: a test took another route. 2: the file has errors.
    """
    config = load_or_exit(config_path)
    skips = topic_advice.is_long(config) and not thorough
    # A folder for vectors is filled even where nothing is to be looked at: an image is built with one.
    has_work = bool(config.tests) or cache_dir is not None or (len(config.topics) > 1 and not skips)
    router = PromptRouter(config, cache_dir, tests=True) if has_work else None
    results = [] if router is None else _run_tests(config, router)
    failed = [result for result in results if result["route"] != result["expected"]]
    findings = None if skips else topic_advice.look(router.prepared if router else None)
    found = [topic_advice.too_long(config)] if findings is None else topic_advice.lines(findings, config.topics)
    advised = [*advice(config), *found]
    if as_json:
        told = {"valid": True, "tests": results, "failed": len(failed), "advice": advised}
        told |= topic_advice.as_json(findings, config.topics)
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        counts = f"{len(config.models)} models, {len(config.topics)} topics, {len(config.routes)} routes"
        click.echo(f"{config_path}: valid; {counts}")
        for result in failed:
            why = f" ({result['topic']} {result['score']:.2f})" if result["topic"] else ""
            click.echo(f"  wrong: {result['prompt']!r}: expected {result['expected']}, got {result['route']}{why}")
        if failed:
            _show_confusion(results)
        if results:
            click.echo(f"{len(results) - len(failed)} of {len(results)} tests pass")
        for line in advised:
            click.echo(f"  advice: {line}")
    sys.exit(1 if failed else 0)


def _show_confusion(results: list[dict[str, Any]]) -> None:
    """Expected routes down, taken routes across, how many tests in each cell."""
    expected = list(dict.fromkeys(result["expected"] for result in results))
    taken = list(dict.fromkeys([*expected, *(result["route"] for result in results)]))
    counts = Counter((result["expected"], result["route"]) for result in results)
    shown = table("expected, got:", *taken)
    for row in expected:
        cells = [Text(str(counts[row, route] or "·"), "green" if row == route else "red") for route in taken]
        shown.add_row(row, *cells)
    console().print(shown)


def _run_tests(config: Config, router: PromptRouter) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for test in config.tests:
        outcome = router.explain(test.prompt)
        topic = outcome["topic"] or {"name": None, "score": None}
        results.append(
            {
                "prompt": test.prompt,
                "expected": test.route,
                "route": outcome["route"],
                "topic": topic["name"],
                "score": topic["score"],
            }
        )
    return results
