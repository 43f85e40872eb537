"""`pointsman check`: is this routes.yaml right, and does it route as its tests say?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import config_option, load_or_exit
from proxy.cli.prompt import PromptRouter
from proxy.config import Config


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def check(config_path: Path, as_json: bool) -> None:
    """
    Validate routes.yaml and run its tests.

    Exit code 0: right. 1: a test took another route. 2: the file has errors.
    """
    config = load_or_exit(config_path)
    results = _run_tests(config)
    failed = [result for result in results if result["route"] != result["expected"]]
    if as_json:
        click.echo(json.dumps({"valid": True, "tests": results, "failed": len(failed)}, ensure_ascii=False))
    else:
        counts = f"{len(config.models)} models, {len(config.topics)} topics, {len(config.routes)} routes"
        click.echo(f"{config_path}: valid; {counts}")
        for result in failed:
            why = f" ({result['topic']} {result['score']:.2f})" if result["topic"] else ""
            click.echo(f"  wrong: {result['prompt']!r}: expected {result['expected']}, got {result['route']}{why}")
        if results:
            click.echo(f"{len(results) - len(failed)} of {len(results)} tests pass")
    sys.exit(1 if failed else 0)


def _run_tests(config: Config) -> list[dict[str, Any]]:
    if not config.tests:
        return []
    router = PromptRouter(config)
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
